"""Where the settings of a run come from, and what is refused before any process waits."""

import atexit
import json
import os
import re
import shutil
import sys
import tempfile
import tomllib
from argparse import ArgumentParser
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from config import RANGES, Config
from engine import launcher, run_dir, variables
from engine.errors import is_first, leave_if

# they say where and how a run is done and not what it does, so they are not saved with it
PLACES = ("config", "run_dir", "devices", "check", "profile", "step_timeout", "async_save")


def parse(sizes: bool = True) -> Config:
    """The settings from the defaults, the TOML file and the flags, in this order.

    Where they are wrong: all problems, and status 2, before the process group exists, so nobody
    waits for a rank that left. `sizes=False` is for a program that does not train.
    """
    # what starts processes asks for it, and the pdb of Python 3.11 and 3.12 leaves it out
    vars(sys.modules["__main__"]).setdefault("__spec__", None)
    leave_if(variables.problems(), status=1)
    launcher.leave_old_store()
    flags = sys.argv[1:]
    file = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    file.add_argument("--config", nargs="?")
    path = file.parse_known_args(flags)[0].config
    config = tyro.cli(
        Config,
        description=Config.__doc__,
        args=[*(toml_flags(Path(path)) if path else []), *flags],
        console_outputs=is_first(),
    )
    found = device_problems(config)
    leave_if(found + problems(config, config.processes * config.nodes) if sizes else found)
    return rehearsal(config) if config.check else config


def rehearsal(config: Config) -> Config:
    """The settings of a run of one step that leaves nothing behind."""
    folder = tempfile.mkdtemp(prefix="check-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return replace(config, run_dir=Path(folder), steps=1, workers=0, profile="")


def toml_flags(path: Path) -> list[str]:
    """The settings of a TOML file as flags, so that one parser checks both."""
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        leave_if([(f"cannot read `{path}`: {error}", "give --config a TOML file")])
    known = {field.name for field in fields(Config)} - {"config"}
    hint = f"settings are {', '.join(sorted(known))}"
    leave_if([(f"`{key}` in {path} is no setting", hint) for key in values if key not in known])
    return [flag for key, value in values.items() for flag in as_flags(key, value)]


def as_flags(key: str, value: Any) -> list[str]:
    """One setting as it stands on a command line."""
    if isinstance(value, bool):
        return [f"--{key}" if value else f"--no-{key}"]
    return [f"--{key}", str(value)]


def to_toml(config: Config) -> str:
    """The settings as TOML that `--config` reads, without those of a place or a machine."""
    lines = []
    for name, value in asdict(config).items():
        if name in PLACES or value is None:
            continue
        # TOML writes these as JSON does, but for inf
        text = (
            repr(value)
            if isinstance(value, float)
            else json.dumps(value, default=str, ensure_ascii=False)
        )
        lines.append(f"{name} = {text}\n")
    return "".join(lines)


def device_problems(config: Config) -> list[tuple[str, str]]:
    """Why a run cannot be started here: (fact, remedy) each."""
    if found := run_dir.problems(config.run_dir):
        return found
    asked, launched = config.devices, int(os.environ.get("LOCAL_WORLD_SIZE", 0))
    gpus = torch.cuda.device_count()
    if asked < 0:
        return [(f"devices `{asked}` is below 0", "set --devices 0 for one per GPU")]
    if launched and asked not in (0, launched):
        remedy = f"torchrun --standalone --nproc-per-node {asked} train.py"
        return [(f"devices `{asked}`, but processes here: {launched}", remedy)]
    total = int(os.environ.get("WORLD_SIZE", config.processes * config.nodes))
    if total != config.processes * config.nodes:
        fact = (
            f"ranks `{total}`, but processes here x machines: {config.processes} x {config.nodes}"
        )
        return [(fact, "start as many on each machine: the same --nproc-per-node")]
    off = [name for name in variables.NO_COMPILER if os.environ.get(name) == "1"]
    if config.compile and off:
        return [(f"compile is set, and `{off[0]}=1` too", f"unset {off[0]}, or set --no-compile")]
    if gpus and config.processes > gpus:
        return [(f"{config.processes} processes, but GPUs: {gpus}", f"start at most {gpus}")]
    return []


def problems(config: Config, world_size: int) -> list[tuple[str, str]]:
    """What is wrong with the settings on this number of ranks: (fact, remedy) each."""
    found = []
    for name, (low, high) in RANGES.items():
        value = getattr(config, name)
        if not low <= value <= high:
            remedy = f"set --{name} {getattr(Config, name)}"
            found.append((f"{name} `{value}` is not in {low:g}..{high:g}", remedy))
    steps = re.fullmatch(r"(\d{1,9}):(\d{1,9})", config.profile)
    if config.profile and not (steps and 1 <= int(steps[1]) <= min(int(steps[2]), config.steps)):
        fact = f"profile `{config.profile}` is no FIRST:LAST of the {config.steps} steps"
        found.append((fact, "set --profile 1:2"))
    batch, micro = config.global_batch_size, config.micro_batch_size
    if min(batch, micro) >= 1 and batch % (micro * world_size):
        product = f"micro_batch_size `{micro}` x ranks `{world_size}` = {micro * world_size}"
        fitting = [size for size in range(micro, 0, -1) if batch % (size * world_size) == 0]
        nearest = max(1, round(batch / (micro * world_size))) * micro * world_size
        remedy = f"micro_batch_size {fitting[0]}" if fitting else f"global_batch_size {nearest}"
        found.append((f"{product} does not divide global_batch_size `{batch}`", f"set --{remedy}"))
    return found
