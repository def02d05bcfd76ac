"""Checkpoints: whole or not at all, in one format for all four methods.

    runs/default/checkpoints/step-000000050/
        state.pt         the bare network, the optimizer, and every rank's random states
        manifest.json    format, step, world size, settings, and the size and CRC32 of state.pt

A folder is written beside, flushed to disk and renamed, and only then are older ones removed. So
a folder with this name is complete, and one that was damaged later is found by its checksum.
"""

import json
import os
import random
import re
import shutil
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

import runtime
from config import Config, leave_if

FORMAT = 1  # a reader refuses newer ones
KEEP = 2  # checkpoints; the one before the newest is for the day the newest is damaged


def save(step: int, net: nn.Module, optimizer: torch.optim.Optimizer, config: Config) -> None:
    """Save the state after a step. Every rank must call it; rank 0 alone writes."""
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, random_state())
    if dist.get_rank() == 0:
        state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "random": ranks}
        write(config.run_dir / "checkpoints", step, state, config)
    dist.barrier()


def newest(run_dir: Path) -> tuple[int, Path | None]:
    """(step, folder) of the newest checkpoint that is whole; (0, None) when the run is new.

    Every rank must call it: rank 0 looks and tells, for file systems may show the ranks
    different folders.
    """
    found: list[Any] = [(0, None)]
    if dist.get_rank() == 0:
        for step, folder in reversed(steps(run_dir / "checkpoints")):
            if problem := damage(folder):
                print(f"skipped checkpoint {folder}: {problem}", flush=True)
            else:
                found = [(step, folder)]
                break
    dist.broadcast_object_list(found, src=0)
    newest_step, newest_folder = found[0]
    return newest_step, newest_folder


def steps(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of all checkpoints, whole or not, the newest last."""
    paths = folder.iterdir() if folder.is_dir() else ()
    found = [(re.fullmatch(r"step-(\d{9})", path.name), path) for path in paths]
    return sorted((int(match[1]), path) for match, path in found if match)


def load(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the state of a checkpoint into the network, the optimizer and the random generators."""
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    try:
        net.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError):
        remedy = "set --run_dir runs/new, or delete this run"
        leave_if([(f"{folder} is of another network or optimizer", remedy)])
    if len(state["random"]) == dist.get_world_size():
        set_random_state(state["random"][dist.get_rank()])
    else:  # as many streams as there are ranks now, none of them used before
        runtime.seed_everything(folder.name, dist.get_world_size(), dist.get_rank())


def write(folder: Path, step: int, state: dict[str, Any], config: Config) -> None:
    """Write one checkpoint folder, whole or not at all."""
    staging, final = folder / f".step-{step:09d}.tmp", folder / f"step-{step:09d}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    torch.save(state, staging / "state.pt")
    manifest = {
        "format": FORMAT,
        "step": step,
        "world_size": len(state["random"]),
        "settings": {name: str(value) for name, value in asdict(config).items()},
        "files": {"state.pt": size_and_crc32(staging / "state.pt")},
    }
    (staging / "manifest.json").write_text(json.dumps(manifest, indent=1))
    for path in (staging / "state.pt", staging / "manifest.json", staging):
        sync(path)
    shutil.rmtree(final, ignore_errors=True)  # a damaged one that this run has passed again
    staging.rename(final)
    sync(folder)
    # of those up to this one: a damaged one of a later step must not push out a good one
    for _, old in [found for found in steps(folder) if found[0] <= step][:-KEEP]:
        shutil.rmtree(old)


def damage(folder: Path) -> str | None:
    """What makes a checkpoint unusable; None when it is whole."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        if manifest["format"] > FORMAT:
            return f"format {manifest['format']} is newer than this program's {FORMAT}"
        for name in ("state.pt",):
            if size_and_crc32(folder / name) != manifest["files"][name]:
                return f"{name} does not match its checksum"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"not readable ({error})"
    return None


def size_and_crc32(path: Path) -> list[int]:
    """[bytes, CRC32] of a file."""
    crc32 = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            crc32 = zlib.crc32(block, crc32)
    return [path.stat().st_size, crc32]


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk before a rename can reach it."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def random_state() -> dict[str, Any]:
    """The states of this rank's random generators, in types that weights_only loads."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
