"""Every setting of a run, with its unit: `python train.py --help` lists them."""

import os
import sys
import tomllib
from argparse import ArgumentParser
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

import torch
import tyro


@dataclass(frozen=True)
class Config:
    """One run. What changes the result is here and nowhere else; it is saved with the run."""

    config: Path | None = None  # TOML file with defaults for the settings below; flags win
    run_dir: Path = Path("runs/default")  # metrics and checkpoints; a run found here goes on
    devices: int = 0  # processes on this machine; 0: one per GPU, or two without a GPU
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
    def nodes(self) -> int:
        """Machines of this run: as torchrun says, else one."""
        return int(os.environ.get("GROUP_WORLD_SIZE", 1))

    def to_toml(self) -> str:
        """The settings as TOML that `--config` reads."""
        values = {name: value for name, value in asdict(self).items() if name != "config"}
        return "".join(f"{name} = {toml_value(value)}\n" for name, value in values.items())


def toml_value(value: object) -> str:
    """One number, truth value or text as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def parse() -> Config:
    """The settings of this run; where they are wrong, all problems and exit status 2.

    Every rank calls it before the process group exists, so nobody waits for a rank that left.
    """
    config = read()
    leave_if(problems(config, int(os.environ.get("WORLD_SIZE", config.devices))))
    return config


def read() -> Config:
    """The settings from the defaults, the TOML file and the flags, in this order."""
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
    launched = int(os.environ.get("LOCAL_WORLD_SIZE", 0))  # processes that a launcher started here
    if launched and config.devices not in (0, launched):
        leave_if([(f"devices `{config.devices}`, but {launched} processes run", "leave it out")])
    return replace(config, devices=launched or config.devices or torch.cuda.device_count() or 2)


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


def problems(config: Config, world_size: int) -> list[tuple[str, str]]:
    """What is wrong with the settings on this number of ranks: (fact, remedy) each."""
    found = []
    counts = ("steps", "global_batch_size", "micro_batch_size", "width", "devices")
    for name in (*counts, "log_every", "validate_every", "checkpoint_every"):
        if getattr(config, name) < 1:
            found.append((f"{name} `{getattr(config, name)}` is below 1", f"set --{name} 1"))
    for name in ("warmup_steps", "weight_decay", "workers", "seed"):
        if not 0 <= getattr(config, name) < float("inf"):
            found.append((f"{name} `{getattr(config, name)}` is below 0", f"set --{name} 0"))
    for name in ("lr", "clip"):
        if not getattr(config, name) > 0:
            found.append((f"{name} `{getattr(config, name)}` is not above 0", f"set --{name} 1e-3"))
    batch, micro = config.global_batch_size, config.micro_batch_size
    if min(batch, micro) >= 1 and batch % (micro * world_size):
        fact = f"global_batch_size {batch} is no multiple of {micro} samples x {world_size} ranks"
        fitting = [size for size in range(micro, 0, -1) if batch % (size * world_size) == 0]
        remedy = f"--micro_batch_size {fitting[0]}" if fitting else ""
        found.append((fact, f"set {remedy or f'--global_batch_size {micro * world_size}'}"))
    gpus = torch.cuda.device_count()
    if gpus and config.devices > gpus:
        found.append((f"devices `{config.devices}`, but {gpus} GPUs", f"set --devices {gpus}"))
    return found


def is_first() -> bool:
    """Whether this process speaks for all: rank 0, or the only one so far."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def leave_if(found: list[tuple[str, str]]) -> None:
    """End the program with status 2 and all problems, if there are any."""
    if found and is_first():
        print(
            "".join(f"error: {fact}\nhint: {remedy}\n" for fact, remedy in found),
            end="",
            file=sys.stderr,
        )
    if found:
        sys.exit(2)
