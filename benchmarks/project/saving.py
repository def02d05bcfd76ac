"""What a checkpoint costs: seconds, beside torch.save of the same state; and how long one waits.

A process of its own saves when it is told to, through a project's checkpoint.py: it compares the
ranks, sums, brings to the disk, renames and removes old ones. torch.save does none of that. Both
write to the folder of temporary files (TMPDIR); before each turn, all that waits for the disk is
brought there.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Self

from measure import Comparison, Pair, compare
from project.step import make

ROUNDS = 7
SIZES = {"100 MB": 8, "1 GB": 80}  # name: layers of 12 MiB, weights with the moments of AdamW
LIMIT = 240  # seconds on the clock for all turns of a size

PROGRAM = """
import os, sys, time
from dataclasses import replace
from pathlib import Path
import torch
import torch.distributed as dist
from torch import nn
sys.path.insert(0, ".")
from engine import async_writer, checkpoint
from config import Config

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
net = nn.Sequential(*(nn.Linear(1024, 1024, bias=False) for _ in range(int(sys.argv[1]))))
optimizer = torch.optim.AdamW(net.parameters())
for parameter in net.parameters():
    parameter.grad = torch.randn_like(parameter)
optimizer.step()
optimizer.zero_grad()
config = Config(run_dir=Path("runs/saving"))
configs = {"at once": config, "beside": replace(config, async_save=True)}
for step, line in enumerate(sys.stdin, start=1):
    kind = line.strip()
    os.sync()
    begin = time.perf_counter()
    if kind == "plain":
        torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, "plain.pt")
    else:
        parts = checkpoint.Parts(net, optimizer)
        checkpoint.save(step, parts, configs[kind], {}, ("loss", "low"), False)
    seconds = time.perf_counter() - begin
    async_writer.finish()
    print(seconds, flush=True)
"""


class Saver:
    """A process that holds a state and saves it when it is told to."""

    def __init__(self, project: Path, layers: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(layers)],
            cwd=project,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.timer = Timer(LIMIT, self.process.kill)
        self.timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()
        self.process.kill()
        self.process.communicate()

    def turn(self, kind: str) -> Callable[[], float]:
        """A function that has it saved once and gives the seconds that this took its time."""

        def save() -> float:
            assert self.process.stdin is not None, "stdin is a pipe"
            assert self.process.stdout is not None, "stdout is a pipe"
            self.process.stdin.write(f"{kind}\n")
            self.process.stdin.flush()
            return float(self.process.stdout.readline())

        return save


def comparisons() -> list[Comparison]:
    """A checkpoint beside torch.save, and the wait for one written beside the training."""
    found = []
    for name, layers in SIZES.items():
        with TemporaryDirectory(prefix="scaffold-bench-") as folder:
            project = make("torchrun", Path(folder, "torchrun"))
            with Saver(project, layers) as saver:
                plain, at_once, beside = map(saver.turn, ("plain", "at once", "beside"))
                pairs = [
                    Pair(f"checkpoint / torch.save, {name}", at_once, plain, 2.5),
                    Pair(f"wait with --async_save / without, {name}", beside, at_once, 0.5),
                ]
                found += compare(pairs, ROUNDS, warm_up=True)
    return found
