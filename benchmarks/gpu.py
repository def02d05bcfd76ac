"""Measures training on this machine's GPUs, each method beside the fastest loop by hand.

python benchmarks/gpu.py [--dry]

Prints a table and puts it into README.md with the conditions; with --dry it prints alone.
"""

import os
import platform
import re
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

import torch

from measure import Comparison, Pair, compare
from project.turns import Run
from run import put, table
from scaffold.catalog.methods import METHODS
from scaffold.ops import create

LOOP = Path(__file__).parent / "project" / "gpu_loop.py"
ROUNDS = 6
NEVER = 10**9


@dataclass(frozen=True)
class Work:
    """A network and how it is trained, one pass per step; what is not here is the default."""

    name: str
    example: str
    batch_size: int  # samples per rank
    turn: int  # optimizer steps
    target: float  # the most time that ours may take per that by hand
    settings: dict[str, object] = field(default_factory=dict)

    def flags(self, processes: int, compile_net: bool) -> list[str]:
        values = {
            "micro_batch_size": self.batch_size,
            "global_batch_size": self.batch_size * processes,
            "log_every": self.turn,
            "steps": NEVER,
            "validate_every": NEVER,
            "checkpoint_every": NEVER,
            **self.settings,
        }
        flags = [part for name, value in values.items() for part in (f"--{name}", str(value))]
        return [*flags, *(["--compile"] if compile_net else [])]


GPT = {"layers": 12, "width": 768, "context": 1024, "precision": "bf16"}  # 85 million parameters
WORKS = (
    Work("GPT of 85 M, bf16", "text", batch_size=16, turn=20, target=1 / 0.98, settings=GPT),
    Work("digits, batch 64", "digits", batch_size=64, turn=200, target=1 / 0.85),
)


def main() -> None:
    """Measure everything; the README changes only when all went well."""
    gpus = torch.cuda.device_count()
    if not gpus:
        sys.exit("error: no GPU here\nhint: run this on a machine that has one")
    found: list[Comparison] = []
    with TemporaryDirectory(prefix="scaffold-bench-") as folder:
        for work in WORKS:
            projects = {method: make(Path(folder), work, method) for method in METHODS}
            for processes in sorted({1, gpus}):
                for compile_net in (False, True):
                    found += side_by_side(work, projects, processes, compile_net)
                    print(table(found[-len(METHODS) :]), flush=True)
    results = f"{table(found)}\n\n{conditions()}"
    print(results)
    if "--dry" not in sys.argv:
        put("gpu", results)


def make(parent: Path, work: Work, method: str) -> Path:
    """A project with the loop by hand beside its train.py."""
    folder = parent / f"{work.example}-{method}"
    answers = {"project_name": "measured", "method": method, "example": work.example}
    create.new(folder, {**answers, "tracker": "none"}, git=False)
    copyfile(LOOP, folder / LOOP.name)
    return folder


def side_by_side(
    work: Work, projects: dict[str, Path], processes: int, compile_net: bool
) -> list[Comparison]:
    """All methods and the loop, started at once, each of them in its turns."""
    flags = work.flags(processes, compile_net)
    with ExitStack() as stack:

        def start(method: str, program: str) -> Run:
            command = [*launch_line(method, program, processes), *flags]
            return stack.enter_context(Run(command, projects[method], dict(os.environ)))

        runs = {method: start(method, "train.py") for method in projects}
        loop = start("torchrun", LOOP.name)
        with ThreadPoolExecutor() as pool:  # the first turn: libraries, kernels, compiling
            list(pool.map(Run.turn, [*runs.values(), loop]))
        where = "1 GPU" if processes == 1 else f"{processes} GPUs"
        name = f"{work.name}, {'compiled' if compile_net else 'eager'}, {where}"
        pairs = [
            Pair(f"{method} / by hand, {name}", run.turn, loop.turn, round(work.target, 2))
            for method, run in runs.items()
        ]
        return compare(pairs, ROUNDS, warm_up=True)


def launch_line(method: str, program: str, processes: int) -> list[str]:
    """How a method starts a program on so many processes, by this Python."""
    line = METHODS[method].launch.replace("train.py", program)
    words = shlex.split(re.sub(r" 2\b", f" {processes}", line))
    starter = {"python": [], "torchrun": ["-m", "torch.distributed.run"]}[words[0]]
    return [sys.executable, *starter, *words[1:]]


def conditions() -> str:
    """Where and with what this was measured, in one paragraph."""
    libraries = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "lightning", "accelerate")
    )
    nccl = ".".join(map(str, torch.cuda.nccl.version()))
    return (
        f"`make bench-gpu` on {date.today()}: {torch.cuda.device_count()} x "
        f"{torch.cuda.get_device_name()}, {len(os.sched_getaffinity(0))} cores; "
        f"Python {platform.python_version()}, {libraries}, NCCL {nccl}."
    )


if __name__ == "__main__":
    main()
