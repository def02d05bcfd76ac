"""What can be seen on a GPU alone: `make test-gpu` runs this where there is one.

Most runs have one process; where two must meet over NCCL they share the first GPU, as two machines,
for NCCL refuses two ranks of one machine on one device and tells machines apart by NCCL_HOSTID.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from conftest import (
    GPUS,
    command_of,
    environment,
    free_port,
    largest_difference,
    lasting,
    make_each,
    run,
    weights,
)
from probe import FLAGS as PROBE_FLAGS
from probe import make_probe, marked, wait_until
from scaffold.catalog.methods import METHODS

if not GPUS:
    pytest.skip("no GPU on this machine; tests/engine/test_waits.py stands for it", True)

STEPS = 60
FLAGS = ["--steps", STEPS, "--micro_batch_size", 64, "--checkpoint_every", STEPS]
# all that could make a run differ after an interruption
EVERYTHING = [
    *("--steps", STEPS, "--dropout", 0.1, "--augment", 2, "--workers", 2, "--precision", "bf16"),
    *("--async_save", "--validate_every", 25, "--micro_batch_size", 64),
]
FROM_CPU = 2e-5  # most that a weight may differ from the CPU's after STEPS steps
FROM_ONE = 2e-6  # most that a weight of two ranks may differ from that of one
ACROSS = [method for method in METHODS if method != "spawn"]  # those that know several machines
TIMEOUT = 5  # seconds that a step may take, where one hangs
ON_ONE = pytest.mark.xdist_group("on one")  # they share runs


def on_gpu(**more: str) -> dict[str, str]:
    """The environment of one process on the first GPU, in which nothing forbids TF32."""
    return environment(CUDA_VISIBLE_DEVICES="0", NVIDIA_TF32_OVERRIDE="", **more)


def command(project: Path, *flags: object) -> list[str]:
    return command_of(project, *flags, program="train.py", processes=1)


@contextmanager
def started(
    words: list[str], project: Path, env: dict[str, str]
) -> Iterator["subprocess.Popen[str]"]:
    """A run in its own process group, of which nothing is left afterwards."""
    process = subprocess.Popen(
        words,
        cwd=project,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in marked(env.get("MARK", "no such mark")) | {process.pid}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("projects")
    return make_each(parent, tracker="none")


@pytest.fixture(scope="session")
def on_one(
    projects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, str]]:
    """A run of each method on one GPU, all at once, and what it printed."""
    parent = tmp_path_factory.mktemp("one")
    with ExitStack() as stack:
        runs = {
            method: stack.enter_context(
                started(command(project, *FLAGS, "--run_dir", parent / method), project, on_gpu())
            )
            for method, project in projects.items()
        }
        texts = {method: process.communicate(timeout=240)[0] for method, process in runs.items()}
        for method, process in runs.items():
            assert process.returncode == 0, texts[method]
    return {method: (parent / method, texts[method]) for method in METHODS}


@ON_ONE
@pytest.mark.parametrize("method", METHODS)
def test_a_healthy_run_warns_of_nothing(on_one: dict[str, tuple[Path, str]], method: str) -> None:
    _, text = on_one[method]
    assert "world size 1, nccl" in text
    assert not re.search(r"warn|deprecat|\[W", text, re.IGNORECASE), text


@ON_ONE
def test_the_methods_agree_with_each_other_and_with_the_cpu(
    on_one: dict[str, tuple[Path, str]], projects: dict[str, Path], tmp_path: Path
) -> None:
    """In fp32, so without TF32; nothing is set outside of the project."""
    result = run(
        command(projects["torchrun"], *FLAGS, "--run_dir", tmp_path / "cpu"),
        projects["torchrun"],
        env=environment(CUDA_VISIBLE_DEVICES="-1"),
    )
    assert result.status == 0, result.err
    cpu = weights(tmp_path / "cpu", STEPS)
    found = {method: weights(run_dir, STEPS) for method, (run_dir, _) in on_one.items()}
    on_cpu = {name: {key: w.cpu() for key, w in net.items()} for name, net in found.items()}
    distances = {name: largest_difference(net, cpu) for name, net in on_cpu.items()}
    print(f"largest difference of a weight to the CPU: {distances}")
    assert max(distances.values()) <= FROM_CPU
    assert max(largest_difference(net, on_cpu["spawn"]) for net in on_cpu.values()) <= FROM_ONE


@pytest.mark.parametrize("method", METHODS)
def test_a_run_goes_on_bit_for_bit(projects: dict[str, Path], method: str, tmp_path: Path) -> None:
    """SIGTERM to the launcher, dropout, bf16, augmentation, workers, and saving beside."""
    project, whole, parts = projects[method], tmp_path / "whole", tmp_path / "parts"
    ended = run(command(project, *EVERYTHING, "--run_dir", whole), project, env=on_gpu())
    assert ended.status == 0, ended.err
    words = command(project, *EVERYTHING, "--run_dir", parts)
    with started(words, project, on_gpu(MARK=str(parts))) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step 20 "):
                process.send_signal(signal.SIGTERM)
                break
        text = process.communicate(timeout=60)[0]
    assert "asked to stop: saving step " in text
    ended = run(words, project, env=on_gpu())
    assert ended.status == 0, ended.err
    assert "goes on after step " in ended.out
    assert largest_difference(weights(whole, STEPS), weights(parts, STEPS)) == 0
    assert lasting(whole) == lasting(parts)


SYNCED = """
import sys
import torch
from pathlib import Path
sys.path.insert(0, str(Path.cwd()))
import train
from engine import distributed, settings

class Done(BaseException): ...

real = train.set_learning_rate

def from_the_third(optimizer, step, config):
    torch.cuda.set_sync_debug_mode("error" if 3 <= step < 6 else "default")
    if step == 6:
        print("three steps without a wait")
        raise Done
    return real(optimizer, step, config)

train.set_learning_rate = from_the_third
distributed.join_launcher()
try:
    train.main.__wrapped__(settings.parse())
except Done:
    pass
"""


@pytest.mark.parametrize("method", METHODS)
def test_the_host_waits_for_the_gpu_at_no_place_between_two_lines(
    projects: dict[str, Path], method: str, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "synced.py").write_text(SYNCED)
    rare = ["--log_every", 100, "--validate_every", 100, "--checkpoint_every", 100]
    flags = [*FLAGS[:4], *rare, "--devices", 1, "--run_dir", tmp_path / "run"]
    words = [sys.executable, str(tmp_path / "synced.py"), *map(str, flags)]
    ended = run(words, projects[method], env=on_gpu())
    assert "three steps without a wait" in ended.out, ended.err


# the host is far ahead of the device
AHEAD = """
import sys
import torch
from engine.batch import to_device

if "unguarded" in sys.argv:
    torch.Tensor.record_stream = lambda *_: None
means = []
for number in range(40):
    batch = to_device([torch.full((2**20,), float(number)).pin_memory()], torch.device("cuda", 0))
    torch.cuda._sleep(10**7)  # some milliseconds, in which the next ones come
    means.append(batch[0].mean())
    del batch
print(*map(int, means))
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_a_batch_is_whole_until_it_is_read(guarded: bool, projects: dict[str, Path]) -> None:
    """Without its guard a copy comes too soon, and is seen."""
    words = [sys.executable, "-c", AHEAD, *([] if guarded else ["unguarded"])]
    ended = run(words, projects["torchrun"], env=on_gpu())
    assert ended.status == 0, ended.err
    assert (ended.out.split() == [str(number) for number in range(40)]) == guarded


@contextmanager
def two_machines(
    project: Path, flags: list[object], **more: str
) -> Iterator["list[subprocess.Popen[str]]"]:
    """Two ranks over NCCL on the first GPU, each on a machine of its own as NCCL sees it."""
    port = str(free_port())
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                started(
                    [
                        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
                        *("--node-rank", str(rank), "--nproc-per-node", "1"),
                        *("--master-addr", "127.0.0.1", "--master-port", port, "train.py"),
                        *map(str, flags),
                    ],
                    project,
                    on_gpu(NCCL_HOSTID=f"host{rank}", NCCL_SOCKET_IFNAME="lo", **more),
                )
            )
            for rank in range(2)
        ]


@ON_ONE
@pytest.mark.parametrize("method", ACROSS)
def test_two_ranks_agree_with_one(
    projects: dict[str, Path], on_one: dict[str, tuple[Path, str]], method: str, tmp_path: Path
) -> None:
    flags = [*FLAGS[:2], "--micro_batch_size", 32, *FLAGS[4:], "--run_dir", tmp_path]
    with two_machines(projects[method], flags, MARK=str(tmp_path)) as ranks:
        texts = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], texts
    assert "world size 2, nccl" in texts[0]
    difference = largest_difference(weights(tmp_path, STEPS), weights(on_one[method][0], STEPS))
    print(f"{method}: largest difference of two ranks to one: {difference}")
    assert difference <= FROM_ONE


@pytest.mark.parametrize("fault", ["SIGKILL", "hang", "raise"])
@pytest.mark.parametrize("method", ACROSS)
def test_a_rank_that_is_killed_or_hangs_or_raises_ends_both(
    method: str, fault: str, tmp_path: Path
) -> None:
    project, mark = make_probe(tmp_path / "probe", method), f"MARK {tmp_path}"
    flags = [*PROBE_FLAGS, "--step_timeout", TIMEOUT, "--run_dir", tmp_path / "run"]
    with two_machines(project, flags, PROBE_FAULT=fault, MARK=mark) as ranks:
        texts = [rank.communicate(timeout=120)[0] for rank in ranks]
        assert all(rank.returncode for rank in ranks), texts
        assert wait_until(lambda: not marked(mark), 20)
    said = "".join(texts)
    if fault == "raise":
        assert "error: rank 1 failed: ValueError: a value that nobody expected" in said
    if fault == "hang":
        assert "rank 1 is stuck in model.py:" in said


@pytest.mark.parametrize("method", METHODS)
def test_a_project_passes_its_own_tests(projects: dict[str, Path], method: str) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    env = on_gpu(PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    result = run(words, projects[method], seconds=300, env=env)
    assert result.status == 0, result.out
    assert "5 passed" in result.out
