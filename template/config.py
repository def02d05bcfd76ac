"""Every setting of a run, with its unit: `python train.py --help` lists them."""

import json
import os
import sys
import time
import tomllib
from argparse import ArgumentParser
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import torch
import tyro


@dataclass(frozen=True)
class Config:
    """One run. What changes the result is here and nowhere else; it is saved with the run."""

    config: Path | None = None  # TOML file with defaults for the settings below; flags win
    run_dir: Path = Path("runs/default")  # metrics and checkpoints; a run found here goes on
    devices: int = 0  # processes on this machine; 0: as launched, else one per GPU, or two on a CPU
    steps: int = 200  # optimizer steps
    global_batch_size: int = 64  # samples per optimizer step, over all ranks
    micro_batch_size: int = 8  # samples per rank and pass; more needs more memory
    lr: float = 8e-3  # peak learning rate of AdamW
    warmup_steps: int = 20  # optimizer steps until the learning rate has its peak
    weight_decay: float = 0.01  # of weight matrices, per unit of learning rate
    clip: float = 1.0  # largest L2 norm of the gradient; inf: as it comes
    precision: Literal["fp32", "bf16"] = "fp32"  # of the forward pass; weights stay float32
    width: int = 32  # channels of the network's first layer
    workers: int = 0  # processes per rank that load data; 0: the rank loads its own
    seed: int = 0  # of the initial weights, the order of the samples and dropout
    log_every: int = 10  # optimizer steps between two lines of metrics
    validate_every: int = 50  # optimizer steps between two validations
    checkpoint_every: int = 50  # optimizer steps between two checkpoints

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

    def to_toml(self) -> str:
        """The settings as TOML that `--config` reads, without those of a place or a machine."""
        places = ("config", "run_dir", "devices")
        values = {k: v for k, v in asdict(self).items() if k not in places}
        # TOML writes these as JSON does, but for inf
        text = {k: repr(v) if isinstance(v, float) else json.dumps(v) for k, v in values.items()}
        return "".join(f"{name} = {value}\n" for name, value in text.items())


def parse(sizes: bool = True) -> Config:
    """The settings from the defaults, the TOML file and the flags, in this order.

    Where they are wrong: all problems, and status 2, before the process group exists, so nobody
    waits for a rank that left. `sizes=False` is for a program that does not train.
    """
    flags = sys.argv[1:]
    file = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    file.add_argument("--config", nargs="?")
    path = file.parse_known_args(flags)[0].config
    config = tyro.cli(
        Config,
        description=__doc__,
        args=[*(toml_flags(Path(path)) if path else []), *flags],
        console_outputs=is_first(),
    )
    found = device_problems(config)
    leave_if(found + problems(config, config.processes * config.nodes) if sizes else found)
    return config


def toml_flags(path: Path) -> list[str]:
    """The settings of a TOML file as flags, so that one parser checks both."""
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        leave_if([(f"cannot read `{path}`: {error}", "give --config a TOML file")])
    known = {field.name for field in fields(Config)} - {"config"}
    hint = f"settings are {', '.join(sorted(known))}"
    leave_if([(f"`{key}` in {path} is no setting", hint) for key in values if key not in known])
    return [part for key, value in values.items() for part in (f"--{key}", str(value))]


def device_problems(config: Config) -> list[tuple[str, str]]:
    """Why a run cannot be started here: (fact, remedy) each."""
    if config.run_dir.exists() and not config.run_dir.is_dir():
        return [(f"run_dir `{config.run_dir}` is a file", "set --run_dir runs/new")]
    asked, launched = config.devices, int(os.environ.get("LOCAL_WORLD_SIZE", 0))
    gpus = torch.cuda.device_count()
    if asked < 0:
        return [(f"devices `{asked}` is below 0", "set --devices 0 for one per GPU")]
    if launched and asked not in (0, launched):
        remedy = f"torchrun --standalone --nproc-per-node {asked} train.py"
        return [(f"devices `{asked}`, but processes here: {launched}", remedy)]
    if gpus and config.processes > gpus:
        return [(f"{config.processes} processes, but GPUs: {gpus}", f"start at most {gpus}")]
    return []


def problems(config: Config, world_size: int) -> list[tuple[str, str]]:
    """What is wrong with the settings on this number of ranks: (fact, remedy) each."""
    found = []
    counts = ("steps", "global_batch_size", "micro_batch_size", "width")
    for name, low, high, remedy in (
        *((name, 1, 10**9, "1") for name in counts),
        *((name, 1, 10**9, "10") for name in ("log_every", "validate_every", "checkpoint_every")),
        *((name, 0, 10**9, "0") for name in ("warmup_steps", "workers", "seed")),
        *((name, 0, 1e6, "0.01") for name in ("lr", "weight_decay")),
        ("clip", 1e-9, float("inf"), "1"),
    ):
        value = getattr(config, name)
        if not low <= value <= high:
            found.append((f"{name} `{value}` is not in {low}..{high:g}", f"set --{name} {remedy}"))
    batch, micro = config.global_batch_size, config.micro_batch_size
    if min(batch, micro) >= 1 and batch % (micro * world_size):
        product = f"micro_batch_size `{micro}` x ranks `{world_size}` = {micro * world_size}"
        fitting = [size for size in range(micro, 0, -1) if batch % (size * world_size) == 0]
        nearest = max(1, round(batch / (micro * world_size))) * micro * world_size
        remedy = f"micro_batch_size {fitting[0]}" if fitting else f"global_batch_size {nearest}"
        found.append((f"{product} does not divide global_batch_size `{batch}`", f"set --{remedy}"))
    return found


def is_first() -> bool:
    """Whether this process speaks for all: rank 0, or the only one so far."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def leave_if(found: list[tuple[str, str]]) -> None:
    """End the program with status 2 and all problems, if there are any."""
    if not found:
        return
    for fact, remedy in found if is_first() else ():
        print(f"error: {fact}\nhint: {remedy}", file=sys.stderr)
    if not is_first():
        time.sleep(1)  # a launcher ends all when one leaves: let the first one speak
    sys.exit(2)
