"""The checkpoints that a run has: the newest, the best, and which of them go."""

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from config import Config
from engine import storage
from engine.errors import leave_if
from engine.settings import PLACES


def newest(config: Config) -> tuple[int, Path | None, float]:
    """(step, folder, lowest validation loss so far) of the newest checkpoint that is whole.

    Says which ones it skips and why, and in which settings that run was another. Ends the program
    where going on would overwrite what somebody may want to save.
    """
    folders = steps(config.run_dir / "checkpoints")
    for step, folder in reversed(folders):
        manifest = storage.facts(folder)
        if storage.is_newer(manifest):
            fact = f"{folder} is of a newer format than this project reads"
            leave_if([(fact, "go on with the project that wrote it, or set --run_dir runs/new")])
        if problem := storage.damage(folder, manifest):
            print(f"skipped checkpoint {folder}: {problem}", file=sys.stderr, flush=True)
            continue
        for line in changes(manifest["settings"], config):
            print(f"{config.run_dir} goes on with other settings: {line}", flush=True)
        losses = [val_loss(path) for number, path in folders if number <= step]
        return step, folder, min(losses)
    if folders:
        fact = f"all checkpoints in {config.run_dir} are damaged"
        leave_if([(fact, "put a whole one back, or set --run_dir runs/new to begin anew")], 1)
    return 0, None, float("inf")


def changes(before: dict[str, str], config: Config) -> list[str]:
    """The settings that differ from those of a checkpoint, as `name before -> now`."""
    now = {name: str(value) for name, value in asdict(config).items() if name not in PLACES}
    return [
        f"{name} {before[name]} -> {value}"
        for name, value in now.items()
        if before.get(name, value) != value
    ]


def best(run_dir: Path) -> Path:
    """The folder with the lowest validation loss that is whole; without validation, the newest.

    Ends the program where there is none.
    """
    folders = [path for _, path in reversed(steps(run_dir / "checkpoints"))]
    for folder in sorted(folders, key=val_loss):
        manifest = storage.facts(folder)
        if storage.is_newer(manifest):
            continue
        if not (problem := storage.damage(folder, manifest)):
            return folder
        # what a program gives stands on stdout, and this is no part of it
        print(f"skipped checkpoint {folder}: {problem}", file=sys.stderr, flush=True)
    leave_if([(f"{run_dir} has no checkpoint", "give --run_dir a run that has saved one")])
    raise AssertionError("leave_if has ended the program")


def val_loss(folder: Path) -> float:
    """The validation loss of a checkpoint; infinite where it was not validated."""
    loss: Any = storage.facts(folder).get("val_loss")
    return loss if isinstance(loss, float) and loss == loss else float("inf")


def prune(folder: Path, step: int, keep: int) -> None:
    """Remove old checkpoints up to this step, but not the newest nor the best of them.

    Of a later step there can be damaged ones only: they must not push out a good one.
    """
    found = [path for number, path in reversed(steps(folder)) if number <= step]
    # of equals min takes the newest: without any validation, none is kept for it
    for old in set(found[keep:]) - {min(found, key=val_loss)}:
        storage.remove(old)


def steps(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of all checkpoints, whole or not, the newest last."""
    paths = folder.iterdir() if folder.is_dir() else ()
    found = [(re.fullmatch(r"step-(\d{9})", path.name), path) for path in paths]
    return sorted((int(match[1]), path) for match, path in found if match)
