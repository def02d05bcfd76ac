"""The checkpoints that a run has: the newest, the best, and which of them go."""

import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from config import Config
from engine import plain, storage
from engine.errors import leave_if
from engine.measures import Best, score
from engine.settings import PLACES

# whole checkpoints, and what the disk said of their files: read once, and again when changed
known: dict[Path, list[tuple[int, ...]]] = {}


def newest(config: Config, by: Best) -> tuple[int, Path | None, float]:
    """(step, folder, score of the best validation so far) of the newest checkpoint that is whole.

    Says which ones it skips and why, and in which settings that run was another. Ends the program
    where going on would overwrite what somebody may want to save.
    """
    folders = steps(config.run_dir / "checkpoints")
    for step, folder in reversed(folders):
        manifest = storage.facts(folder)
        if storage.is_newer(manifest):
            fact = f"{folder} is of a newer format than this project reads"
            leave_if([(fact, "go on with the project that wrote it, or set --run_dir runs/new")])
        if problem := damage(folder, manifest):
            skip(folder, problem)
            continue
        for line in changes(manifest["settings"], config):
            print(f"{config.run_dir} goes on with other settings: {line}", flush=True)
        found = lowest([path for number, path in reversed(folders) if number <= step], by)
        return step, folder, validated(found or folder, by)
    if folders:
        fact = f"all checkpoints in {config.run_dir} are damaged"
        leave_if([(fact, "put a whole one back, or set --run_dir runs/new to begin anew")], 1)
    return 0, None, float("inf")


def changes(before: dict[str, str], config: Config) -> list[str]:
    """The settings that differ from those of a checkpoint, as `name before -> now`."""
    old = plain.old_texts(config)
    return [
        line
        for name, now in plain.texts(config).items()
        if name not in PLACES and before.get(name, now) not in (now, old[name])
        for line in plain.changes(name, before[name], now)
    ]


def best(run_dir: Path, by: Best) -> Path:
    """The folder with the best validation that is whole; without validation, the newest.

    Ends the program where there is none.
    """
    found = lowest([path for _, path in reversed(steps(run_dir / "checkpoints"))], by)
    if found is None:
        leave_if([(f"{run_dir} has no checkpoint", "give --run_dir a run that has saved one")])
    assert found is not None, "leave_if has ended the program"
    return found


def lowest(folders: list[Path], by: Best) -> Path | None:
    """The whole one of some checkpoints, the newest first, with the best validation.

    Without validation the newest. Says which ones it skips and why.
    """
    for folder in sorted(folders, key=lambda folder: validated(folder, by)):
        manifest = storage.facts(folder)
        if storage.is_newer(manifest):
            continue
        if not (problem := damage(folder, manifest)):
            return folder
        skip(folder, problem)
    return None


def skip(folder: Path, problem: str) -> None:
    # what a program gives stands on stdout, and this is no part of it
    print(f"skipped checkpoint {folder}: {problem}", file=sys.stderr, flush=True)


def validated(folder: Path, by: Best) -> float:
    """The score of a checkpoint, the lower the better; infinite where it has no such metric."""
    manifest = storage.facts(folder)
    found = manifest.get("validation", {"loss": manifest.get("val_loss")})  # older: the latter
    return score(found.get(by[0]), by)


def damage(folder: Path, manifest: dict[str, Any]) -> str | None:
    """What `storage.damage` says; what this process knows to be whole is not read again."""
    now = seen(folder)
    if now and known.get(folder) == now:
        return None
    problem = storage.damage(folder, manifest)
    if now and not problem:
        known[folder] = now
    return problem


def seen(folder: Path) -> list[tuple[int, ...]]:
    """What the disk says of a checkpoint's files without reading them; empty where one is gone."""
    try:
        found = [(folder / name).stat() for name in (storage.STATE, storage.MANIFEST)]
    except OSError:
        return []
    return [(file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns) for file in found]


def prune(folder: Path, step: int, keep: int, by: Best) -> None:
    """Remove old checkpoints up to this step, which was just written; but not the best of them.

    Only whole ones count, and damaged ones go before them; where none has to go none is read. What
    is not ours to judge stays: one of a newer format, or out of reach. So do those of later steps,
    which can be damaged only.
    """
    written = folder / f"step-{step:09d}"
    known[written] = seen(written)
    found = [path for number, path in reversed(steps(folder)) if number <= step]
    if len(found) <= keep:
        return
    whole, damaged = list[Path](), dict[Path, str]()
    for path in found:
        with suppress(OSError):
            manifest = storage.facts(path)
            if storage.is_newer(manifest):
                continue
            if problem := damage(path, manifest):
                damaged[path] = problem
            else:
                whole.append(path)
    # of equals min takes the newest: without any validation, none is kept for it
    best = min(whole, key=lambda path: validated(path, by), default=None)
    for old in list(damaged)[max(0, keep - len(whole)) :]:
        print(f"removes checkpoint {old}: {damaged[old]}", file=sys.stderr, flush=True)
        storage.remove(old)
    for old in whole[keep:]:
        if old != best:
            storage.remove(old)


def steps(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of all checkpoints, whole or not, the newest last."""
    paths = folder.iterdir() if folder.is_dir() else ()
    found = [(re.fullmatch(r"step-(\d{9})", path.name), path) for path in paths]
    return sorted((int(match[1]), path) for match, path in found if match)
