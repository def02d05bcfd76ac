"""What is refused before a run begins: settings out of range, or not for these ranks."""

import os
import re
from dataclasses import fields
from functools import reduce
from typing import Any, get_type_hints

import torch
import tyro

from config import RANGES, Config
from engine import run_dir, variables
from engine.converter import choices
from engine.plain import defaults

# what engine/ and train.py ask of Config
ASKED = "accumulate async_save check checkpoint_every clip compile devices fresh_optimizer "
ASKED += "global_batch_size keep log_every micro_batch_size nodes precision processes profile "
ASKED += "run_dir seed step_timeout steps validate_every workers"


def missing() -> list[tuple[str, str]]:
    """What Config lacks, as one that a team has kept at an update: (fact, remedy) each."""
    there = {field.name for field in fields(Config)} | {*dir(Config)}
    remedy = "add it there, as it stands in a fresh project: scaffold new ../fresh"
    lacks = [name for name in ASKED.split() if name not in there]
    return [(f"Config in config.py has no `{name}`, which engine/ reads", remedy) for name in lacks]


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
    if not launched and config.processes > 1 and (found := variables.profiled()):
        return found
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
    found = out_of_range(config)
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


def out_of_range(config: Config) -> list[tuple[str, str]]:
    """Which settings are not what RANGES says, those of a dataclass as `a.b`; None always is."""
    found = []
    for name, (low, high) in RANGES.items():
        try:
            value = at(config, name)
        except AttributeError:
            # of a choice of dataclasses another one may have it
            if not choices(get_type_hints(Config).get(name.split(".")[0])):
                fact = f"RANGES in config.py has `{name}`, which is no setting"
                found.append((fact, "take its line out there"))
            continue
        several = isinstance(value, (tuple, list, set, frozenset))
        for number in value if several else [value]:
            if number is not None and not isinstance(number, (int, float)):
                fact = f"RANGES in config.py has `{name}`, and `{number}` is no number"
                found.append((fact, "take its line out there"))
            elif number is not None and not low <= number <= high:
                fact = f"{name} `{number}` is not in {low:g}..{high:g}"
                found.append((fact, f"set --{name} {typed(usual(name, low))}"))
    return found


def typed(value: Any) -> str:
    """A value as a command line has it: a word for each of several."""
    several = isinstance(value, (tuple, list, set, frozenset))
    return " ".join(map(str, value)) if several else str(value)


def at(config: Any, name: str) -> Any:
    """A setting by its name, `a.b` for one of a dataclass; None where that one is None.

    Raises AttributeError where there is no such setting.
    """
    return reduce(lambda part, name: part and getattr(part, name), name.split("."), config)


def usual(name: str, otherwise: float) -> Any:
    """What a setting is by default, where it has a default."""
    try:
        value = at(defaults(Config), name)
    except AttributeError:
        return otherwise
    return otherwise if value in (None, tyro.MISSING) else value
