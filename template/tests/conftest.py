"""Starts the programs of this project as their first lines say, on real processes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

PROJECT = Path(__file__).parents[1]


def launch_line(program: str, processes: int) -> list[str]:
    """The command in the third line of a program, for this number of processes."""
    line = (PROJECT / program).read_text().splitlines()[2]
    words = shlex.split(re.sub(r" 2( |$)", rf" {processes}\1", line))
    starter = {"python": [], "torchrun": ["-m", "torch.distributed.run"]}[words[0]]
    return [sys.executable, *starter, *words[1:]]


def launch(program: str, *flags: object, processes: int = 2, seconds: int = 120) -> str:
    """What the program printed; it and all it started are gone when this returns."""
    command = [*launch_line(program, processes), *map(str, flags)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NVIDIA_TF32_OVERRIDE": "0"}
    if torch.cuda.device_count() < 2:  # two processes need two GPUs, or none
        environment["CUDA_VISIBLE_DEVICES"] = ""
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    return output


def metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the speed, which differs from run to run."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "samples_per_second"} for line in lines]


def state(run_dir: Path, step: int) -> dict[str, Any]:
    """The checkpoint of a step: {"model": ..., "optimizer": ..., "random": ...}."""
    path = run_dir / "checkpoints" / f"step-{step:09d}" / "state.pt"
    loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


def largest_difference(a: dict[str, Any], b: dict[str, Any]) -> float:
    """The largest absolute difference of any two weights."""
    pairs = [(a["model"][name], b["model"][name]) for name in a["model"] | b["model"]]
    return max(float((x - y).abs().max()) for x, y in pairs)
