"""Starts the programs of this project as their first lines say, on real processes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
import torch

PROJECT = Path(__file__).parents[1]
# from one run to the next
VARYING = {"samples_per_second", "targets_per_second", "peak_memory_mib"}


def launch_line(program: str, processes: int) -> list[str]:
    """The command in the third line of a program, for this number of processes."""
    line = (PROJECT / program).read_text().splitlines()[2]
    words = shlex.split(re.sub(r" 2( |$)", rf" {processes}\1", line))
    starter = {"python": [], "torchrun": ["-m", "torch.distributed.run"]}[words[0]]
    return [sys.executable, *starter, *words[1:]]


def launch(*flags: object, processes: int = 2, stop_at: int | None = None) -> str:
    """What train.py printed; where it says `step STOP_AT`, it is asked to stop by SIGTERM.

    It and all that it started are gone when this returns.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NVIDIA_TF32_OVERRIDE": "0"}
    environment["WANDB_MODE"] = "offline"  # where that is the tracker: tests need no account
    if torch.cuda.device_count() < 2:  # two processes need two GPUs, or none
        environment["CUDA_VISIBLE_DEVICES"] = ""
    process = subprocess.Popen(
        [*launch_line("train.py", processes), *map(str, flags)],
        cwd=PROJECT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    timer = Timer(150, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    output = ""
    for line in process.stdout or ():
        output += line
        if line.startswith(f"step {stop_at} "):
            process.send_signal(signal.SIGTERM)
    status = process.wait()
    timer.cancel()
    assert status == 0 or stop_at, output
    return output


def metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the numbers that differ from run to run."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line.keys() - VARYING} for line in lines]


def state(run_dir: Path, step: int) -> dict[str, Any]:
    """The checkpoint of a step: {"model": ..., "optimizer": ..., "random": ...}."""
    path = run_dir / "checkpoints" / f"step-{step:09d}" / "state.pt"
    loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


def largest_difference(a: dict[str, Any], b: dict[str, Any]) -> float:
    """The largest absolute difference of any two weights."""
    pairs = [(a["model"][name], b["model"][name]) for name in a["model"] | b["model"]]
    return max(float((x - y).abs().max()) for x, y in pairs)


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a run with the default settings on two processes."""
    run_dir = tmp_path_factory.mktemp("learned")
    launch("--run_dir", run_dir, "--keep", 1000)
    return run_dir
