"""What the tests share: projects of each method, and processes that never outlive a test."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from scaffold import project
from scaffold.methods import METHODS

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "template"
BIN = Path(sys.executable).parent

# the template's own modules (config, data, model, ...), as a project's tests see them
sys.path.insert(0, str(TEMPLATE))


def environment(**more: str) -> dict[str, str]:
    """The environment of a test's processes: this virtual environment, one thread per rank."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    # `make test` tells a `make` below it that it is one of its own
    inherited = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    variables = inherited | {"PATH": path, "OMP_NUM_THREADS": "1", "NVIDIA_TF32_OVERRIDE": "0"}
    if torch.cuda.device_count() < 2:  # two processes need two GPUs, or none
        variables["CUDA_VISIBLE_DEVICES"] = ""
    return variables | more


@dataclass
class Result:
    """How a program ended and what it printed."""

    status: int
    out: str
    err: str


def run(
    command: list[str] | str,
    folder: Path | None = None,
    seconds: float = 120,
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


def scaffold(*words: object, folder: Path | None = None, **env: str) -> Result:
    """Run the command line."""
    return run([str(BIN / "scaffold"), *map(str, words)], folder, env=environment(**env))


def launch(folder: Path, *flags: object, program: str = "train.py", processes: int = 2) -> Result:
    """Start a project's program as its third line says, on this number of processes."""
    line = (folder / program).read_text().splitlines()[2]
    line = re.sub(r" 2( |$)", rf" {processes}\1", line)
    return run([*shlex.split(line), *map(str, flags)], folder)


def train(folder: Path, run_dir: Path, *flags: object, processes: int = 2) -> Path:
    """Train a project into the run directory, to the end."""
    result = launch(folder, "--run_dir", run_dir, *flags, processes=processes)
    assert result.status == 0, result.out + result.err
    return run_dir


def metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def weights(run_dir: Path, step: int) -> dict[str, torch.Tensor]:
    """The weights in the checkpoint of a step."""
    path = run_dir / "checkpoints" / f"step-{step:09d}" / "state.pt"
    model: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["model"]
    return model


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest absolute difference of any two weights."""
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A fresh project of each method; tests must not change them."""
    parent = tmp_path_factory.mktemp("projects")
    for name in METHODS:
        project.new(parent / name, {"project_name": "digits", "method": name}, git=False)
    return {name: parent / name for name in METHODS}
