"""What the tests share: projects of each method, and processes that never outlive a test."""

import atexit
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
import torch.distributed as dist

import cost
import memory
from forked import Forker, led
from scaffold.catalog.methods import METHODS
from scaffold.ops import create

# what a machine may have set beside the tests: a scheduler, a launcher, a tracker, make, git
FOREIGN = re.compile(
    "(SLURM|SRUN|PMI|PMIX|OMPI_COMM|PET|TORCHELASTIC|TORCH|ACCELERATE|FABRIC|WANDB|MLFLOW|GIT|PYTHON)_?.*"
    "|(.*_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)|.*MAKE.*"
)
for name in filter(FOREIGN.fullmatch, list(os.environ)):
    del os.environ[name]
os.environ["GIT_CONFIG_GLOBAL"] = str(Path(__file__).with_name("gitconfig"))
os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1"
# what a shell makes a job in the background deaf to, and nohup: what is started here would be, too
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

memory.use()

# two ranks need two GPUs, or none; test_gpu.py alone shows one to what it starts
GPUS = torch.cuda.device_count()
if GPUS < 2:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

# several tests at once share the cores: threads that wait for each other would only take them away
torch.set_num_threads(1)

# how long an example takes says something about the machine, and nothing about the code; and the
# fixtures that examples share are folders that nobody changes
ALLOWED = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile("full", deadline=None, suppress_health_check=ALLOWED)
hypothesis.settings.register_profile(
    "quick", hypothesis.settings.get_profile("full"), max_examples=15
)

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "template"
BIN = Path(sys.executable).parent
PATIENCE = 300  # seconds until a command is killed: none takes so long, on a busy machine neither
# numbers of metrics.jsonl that are the machine's
VARYING = {"samples_per_second", "targets_per_second", "peak_memory_mib"}


MODULES = Path(tempfile.mkdtemp(prefix="scaffold-tests-"))  # and what is rendered once
atexit.register(shutil.rmtree, MODULES, ignore_errors=True)


def make(folder: Path, method: str, **answers: str) -> Path:
    """A fresh project named digits in a new folder; without further answers the default one."""
    shutil.copytree(rendered(method, frozenset(answers.items())), folder, dirs_exist_ok=True)
    return folder


@cache
def rendered(method: str, answers: frozenset[tuple[str, str]]) -> Path:
    """The project of some answers; a copy of it takes a fiftieth of the time."""
    folder = MODULES / f"rendered-{len(list(MODULES.iterdir()))}"
    create.new(folder, {"project_name": "digits", "method": method, **dict(answers)}, git=False)
    return folder


def make_each(parent: Path, **answers: str) -> dict[str, Path]:
    """A fresh project of each method."""
    return {name: make(parent / name, name, **answers) for name in METHODS}


# the modules of a project (config, data, model, ...), as its own tests see them
sys.path.insert(0, str(make(MODULES / "digits", "torchrun")))


def environment(**more: str) -> dict[str, str]:
    """The environment of a test's processes: this virtual environment, one thread per rank."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    inherited = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    variables = inherited | {"PATH": path, "OMP_NUM_THREADS": "1", "NVIDIA_TF32_OVERRIDE": "0"}
    chosen = variables | cost.COUNTED | more
    return {name: value for name, value in chosen.items() if value}  # an empty one is not set


FORKERS: list[Forker] = []  # the one of this process, where it was needed


@dataclass
class Result:
    """How a program ended and what it printed."""

    status: int
    out: str
    err: str


def run(
    command: list[str] | str,
    folder: Path | None = None,
    seconds: float = PATIENCE,
    env: dict[str, str] | None = None,
    text: str | None = None,
) -> Result:
    """Run a command (a string: by bash); all it started is gone when this returns."""
    words = ["bash", "-euo", "pipefail", "-c", command] if isinstance(command, str) else command
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=env or environment(),
        text=True,
        stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(text, timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return Result(process.returncode, out, err)


def start(command: list[str], folder: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    """Start a command that goes on beside the test."""
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, **streams)


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def scaffold(*words: object, folder: Path | None = None, **env: str) -> Result:
    """Run the command line in a process that has its libraries already.

    In a new one where a variable is for the start of Python.
    """
    command = [str(BIN / "scaffold"), *map(str, words)]
    if any(name.startswith(("LC_", "PYTHON")) for name in env):
        return run(command, folder, env=environment(**env))
    return in_fork(["python", *command], folder or Path.cwd(), env=environment(**env))


def command_of(folder: Path, *flags: object, program: str, processes: int) -> list[str]:
    line = (folder / program).read_text().splitlines()[2]
    return [*shlex.split(re.sub(r" 2( |$)", rf" {processes}\1", line)), *map(str, flags)]


def launch_line(
    folder: Path, *flags: object, program: str = "train.py", processes: int = 2
) -> list[str]:
    """The command in the third line of a project's program, for this number of processes."""
    cost.note(cost.LAUNCHES)
    return command_of(folder, *flags, program=program, processes=processes)


def launch(
    folder: Path,
    *flags: object,
    program: str = "train.py",
    processes: int = 2,
    forked: bool = False,
    **env: str,
) -> Result:
    """Start a project's program as its third line says, on this number of processes.

    forked: by ranks that are forked (forked.py), for what is said of training and of no launcher.
    """
    if not forked:
        command = launch_line(folder, *flags, program=program, processes=processes)
        return run(command, folder, env=environment(**env))
    command = command_of(folder, *flags, program=program, processes=processes)
    return fork(led(command, folder, processes), folder, **env)


def fork(command: list[str], folder: Path, machines: Iterable[Path] = (), /, **env: str) -> Result:
    """Run a program of a project, alone or under torchrun, in a process that has torch already.

    machines: the folder of each rank, where each shall think that it is alone on a machine.
    """
    cost.note(cost.FORKED)
    return in_fork(command, folder, machines, env=environment(**env))


def in_fork(
    command: list[str], folder: Path, machines: Iterable[Path] = (), *, env: dict[str, str]
) -> Result:
    """Run a Python program as forked.py does."""
    if not FORKERS:
        FORKERS.append(Forker(environment()))
    request = {"command": command, "folder": str(folder), "env": env, "seconds": PATIENCE}
    request["machines"] = [str(machine) for machine in machines]
    with tempfile.TemporaryDirectory() as files:
        out, err = Path(files, "out"), Path(files, "err")
        status = FORKERS[0].run(request | {"out": str(out), "err": str(err)})
        return Result(status, out.read_text(), err.read_text())


def train(
    folder: Path,
    run_dir: Path,
    *flags: object,
    processes: int = 2,
    forked: bool = False,
    **env: str,
) -> Path:
    """Train a project into the run directory, to the end."""
    flags = ("--run_dir", run_dir, *flags)
    result = launch(folder, *flags, processes=processes, forked=forked, **env)
    assert result.status == 0, result.out + result.err
    return run_dir


def metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def lasting(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what differs from run to run."""
    return [{name: line[name] for name in line.keys() - VARYING} for line in metrics(run_dir)]


def weights(run_dir: Path, step: int) -> dict[str, torch.Tensor]:
    """The weights in the checkpoint of a step."""
    model: dict[str, torch.Tensor] = state(run_dir, step)["model"]
    return model


def state(run_dir: Path, step: int) -> dict[str, Any]:
    """All that is in the checkpoint of a step."""
    path = run_dir / "checkpoints" / f"step-{step:09d}" / "state.pt"
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest absolute difference of any two weights."""
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def represented(values: Iterable[Any], *by: Any) -> list[Any]:
    """Parameters that `make test-all` takes all; `make test` takes those that stand for them."""
    return [
        value
        if value in by
        else pytest.param(*(value if isinstance(value, tuple) else [value]), marks=pytest.mark.full)
        for value in values
    ]


@pytest.fixture
def alone() -> Iterator[None]:
    """A process group of this process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A fresh project of each method; tests must not change them."""
    parent = tmp_path_factory.mktemp("projects")
    return make_each(parent)


def pytest_configure(config: pytest.Config) -> None:
    """Count what the tests start, and try few examples where `make test` runs."""
    config.pluginmanager.register(cost)
    hypothesis.settings.load_profile("quick" if config.option.markexpr == "not full" else "full")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes long begin first."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def examples(quick: int, full: int, soak: int) -> int:
    """How many examples are tried: by `make test`, by `make test-all`, by `make soak`."""
    if "SOAK" in os.environ:
        return soak
    return quick if hypothesis.settings.get_current_profile_name() == "quick" else full


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests have recorded as properties."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
