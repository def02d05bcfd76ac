"""Where the settings of a run come from: defaults, a TOML file, flags."""

import atexit
import shutil
import sys
import tempfile
import tomllib
from argparse import ArgumentParser
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import tomlkit
import tyro

from config import Config
from engine import launcher, variables
from engine.errors import is_first, leave_if
from engine.limits import device_problems, missing, problems
from engine.plain import UNSET, defaults, made, plain, without_none

# they say where and how a run is done and not what it does, so they are not saved with it
FILE = "config"
PLACES = {FILE, "run_dir", "devices", "check", "profile", "step_timeout", "async_save"}
PLACES |= {"fresh_optimizer"}


def parse(sizes: bool = True) -> Config:
    """The settings from the defaults, the TOML file and the flags, in this order.

    Where they are wrong: all problems, and status 2, before the process group exists, so nobody
    waits for a rank that left. `sizes=False` is for a program that does not train.
    """
    # what starts processes asks for it, and the pdb of Python 3.11 and 3.12 leaves it out
    vars(sys.modules["__main__"]).setdefault("__spec__", None)
    leave_if(variables.problems(), status=1)
    leave_if(missing())
    launcher.leave_old_store()
    flags = sys.argv[1:]
    file = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    file.add_argument(f"--{FILE}", nargs="?")
    path = file.parse_known_args(flags)[0].config
    config = tyro.cli(
        Config,
        description=Config.__doc__,
        default=from_toml(Path(path)) if path else defaults(Config),
        args=flags,
        # flags of a dataclass that may be None, or be another one, need no word before them
        config=(tyro.conf.CascadeSubcommandArgs,),
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


def from_toml(path: Path) -> Config:
    """The settings that a TOML file gives; ends the program where one of them cannot be had."""
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        leave_if([(f"cannot read `{path}`: {error}", "give --config a TOML file")])
    stray = values.pop(FILE, None) is not None
    config, wrong = made(defaults(Config), values)
    wrong += [f"`{FILE}` is no setting"] if stray else []
    known = ", ".join(sorted(field.name for field in fields(Config) if field.name != FILE))
    leave_if([(f"{path}: {what}", f"settings are {known}") for what in wrong])
    return config


def to_toml(config: Config) -> str:
    """The settings as TOML that `--config` reads, without those of a place or a machine."""
    values = {name: value for name, value in plain(config).items() if name not in PLACES}
    kept, unset = without_none(values)
    kept = {name: writable(value) for name, value in kept.items()}
    return tomlkit.dumps(kept | ({UNSET: unset} if unset else {}))


def writable(value: Any) -> Any:
    """A value, or its text where TOML has no such one, as of None in a list."""
    try:
        tomlkit.item(value)
    except (TypeError, ValueError):  # ConvertError is the former
        return str(value)
    return value
