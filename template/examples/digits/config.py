"""Every setting of a run, with its unit: `python train.py --help` lists them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch


@dataclass(frozen=True)
class Config:
    """One run. What changes the result is here and nowhere else; it is saved with the run."""

    config: Path | None = None  # TOML file with defaults for the settings below; flags win
    run_dir: Path = Path("runs/default")  # metrics and checkpoints; a run found here goes on
    devices: int = 0  # processes here; 0: as launched; spawn, fabric: one per GPU, or two on a CPU
    check: bool = False  # make one step in a temporary run directory, say what it did, and leave
    fresh_optimizer: bool = False  # for one start: go on with the weights, and a new optimizer
    step_timeout: float = 100  # seconds that a step, a batch of validation or a save may take
    async_save: bool = False  # write checkpoints beside the training; takes memory for a copy
    profile: str = ""  # FIRST:LAST, the steps that every rank writes a Chrome trace of; empty: none
    steps: int = 200  # optimizer steps
    global_batch_size: int = 64  # samples per optimizer step, over all ranks
    micro_batch_size: int = 8  # samples per rank and pass; more needs more memory
    lr: float = 8e-3  # peak learning rate of AdamW
    warmup_steps: int = 20  # optimizer steps until the learning rate has its peak
    weight_decay: float = 0.01  # of weight matrices, per unit of learning rate
    clip: float = 1.0  # largest L2 norm of the gradient; inf: as it comes
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"  # of products; weights stay float32
    compile: bool = False  # compile the network: a minute at the start, then faster steps
    width: int = 32  # channels of the network's first layer
    dropout: float = 0.0  # share of the last layer's inputs that training sets to zero
    augment: int = 0  # pixels by which a training image is shifted at most
    workers: int = 0  # processes per rank that load data; 0: the rank loads its own
    seed: int = 0  # of the initial weights, the order of the samples, augmentation and dropout
    log_every: int = 10  # optimizer steps between two lines of metrics
    validate_every: int = 50  # optimizer steps between two validations
    checkpoint_every: int = 50  # optimizer steps between two checkpoints
    keep: int = 2  # newest checkpoints that are kept, beside the one of the best validation

    def accumulate(self, world_size: int) -> int:
        """Passes of each rank that make one optimizer step."""
        return self.global_batch_size // (self.micro_batch_size * world_size)

    @property
    def processes(self) -> int:
        """Processes of this run on this machine: as a launcher started, else as `devices` says."""
        launched = int(os.environ.get("LOCAL_WORLD_SIZE", 0))
        return launched or self.devices or torch.cuda.device_count() or 2

    @property
    def nodes(self) -> int:
        """Machines of this run: as torchrun says, else one."""
        return int(os.environ.get("GROUP_WORLD_SIZE", 1))


# the numbers that each setting may have; one without an entry may have any
RANGES = {
    **dict.fromkeys(("steps", "global_batch_size", "micro_batch_size", "width"), (1, 10**9)),
    **dict.fromkeys(("log_every", "validate_every", "checkpoint_every"), (1, 10**9)),
    **dict.fromkeys(("warmup_steps", "workers", "seed"), (0, 10**9)),
    **dict.fromkeys(("lr", "weight_decay"), (0, 10**6)),
    "clip": (1e-9, float("inf")),
    "dropout": (0, 0.99),
    "augment": (0, 4),
    "step_timeout": (1, float("inf")),
    "keep": (2, 10**9),  # the older one is for the day the newest is damaged
}
