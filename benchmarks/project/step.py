"""What a project's training step costs: seconds, beside a loop written by hand for the same work.

The project has everything on: metrics and TensorBoard in each turn, augmentation, warm-up,
clipping, the exact division by the targets, agreement on stop requests and on numbers that are
none, and a checkpoint with its comparison of the ranks every 50 steps. The loop has none but
augmentation and clipping. Two processes, on two GPUs over NCCL or on the CPU over gloo with one
thread each.
"""

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import TemporaryDirectory

import torch

from measure import Comparison, Pair, compare, cpu_seconds
from project.turns import Run
from scaffold.catalog.methods import METHODS

BIN = Path(sys.executable).parent
LOOP = Path(__file__).with_name("ddp_loop.py")
GPUS = torch.cuda.device_count() >= 2  # two processes need two GPUs, or none
STARTS = 4  # of each pair of programs: one start is up to 5 % faster than the next
TURNS = 6  # of each program and start
BATCH_SIZE = 64  # samples per optimizer step, over both ranks
NEVER = 10**9  # optimizer steps


@dataclass(frozen=True)
class Size:
    """A network and how it is trained; what is not here is the project's default."""

    name: str
    width: int  # channels of the first layer; time grows with its square
    micro_batch_size: int  # samples per rank and pass
    turn: int  # optimizer steps
    target: float

    def flags(self) -> list[str]:
        """The settings of a run that goes on until it is ended, without validation."""
        values = {
            "width": self.width,
            "micro_batch_size": self.micro_batch_size,
            "global_batch_size": BATCH_SIZE,
            "log_every": self.turn,
            "steps": NEVER,
            "validate_every": NEVER,  # more work of the network, and not what a step costs
            "checkpoint_every": 50,  # the default: once or more in the turns of a start
            "dropout": 0.1,
            "augment": 2,
        }
        return [part for name, value in values.items() for part in (f"--{name}", str(value))]


SIZES = (
    # one pass per step, in which computing dominates
    Size("large network", width=256, micro_batch_size=32, turn=10, target=1.02),
    # the defaults: four passes of 8 samples per step, four milliseconds each
    Size("default network", width=32, micro_batch_size=8, turn=25, target=1.10),
)


def comparisons() -> list[Comparison]:
    """The four methods beside the loop, with both networks."""
    found: dict[str, Comparison] = {}
    with TemporaryDirectory(prefix="scaffold-bench-") as folder:
        projects = {method: make(method, Path(folder, method)) for method in METHODS}
        for size in SIZES:
            for _ in range(STARTS):
                for method, project in projects.items():
                    comparison = alternate(method, project, size)
                    name = comparison.pair.name
                    found[name] = found[name] + comparison if name in found else comparison
    return list(found.values())


def make(method: str, project: Path) -> Path:
    """Make a project with the loop by hand beside its train.py."""
    flags = ["--no-git", "--method", method, "--project-name", "digits"]
    cpu_seconds([str(BIN / "scaffold"), "new", *flags, str(project)])
    copyfile(LOOP, project / LOOP.name)
    return project


def alternate(method: str, project: Path, size: Size) -> Comparison:
    """Start the project and the loop by hand, and give each its turns."""
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    if not GPUS:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    rmtree(project / "runs", ignore_errors=True)  # a run found there would go on
    # the loop's processes start as the method's do: torchrun makes each a session, and on a busy
    # machine Linux gives every session, not every process, the same part of the cores (autogroup)
    launch = METHODS[method].launch
    ours = [*shlex.split(launch), *size.flags()]
    theirs = [*shlex.split(launch.replace("train.py", LOOP.name)), *size.flags()]
    with Run(ours, project, environment) as train, Run(theirs, project, environment) as loop:
        name = f"step of {method}, everything on / by hand, {size.name}"
        pair = Pair(name, train.turn, loop.turn, size.target)
        return compare([pair], TURNS, warm_up=True)[0]
