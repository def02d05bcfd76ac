"""Checkpoints: what a run needs to go on, in one format for all four methods.

    runs/default/checkpoints/step-000000050/
        state.pt         the bare network, the optimizer, and every rank's random states
        manifest.json    format, step, world size, validation loss, settings; size and CRC32 of it

A folder with this name is complete (storage.py). The newest ones are kept, and the best one.
"""

import random
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

import runtime
import storage
from config import Config
from replicas import check_replicas, share_buffers
from settings import leave_if


def save(
    step: int,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: Config,
    val_loss: float | None,  # None: this step was not validated
) -> None:
    """Save the state after a step. Every rank must call it; rank 0 alone writes.

    Ends the program on all ranks where they differ from each other, or the disk refuses.
    """
    share_buffers(net)
    check_replicas(net, step)
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, random_state())
    problem: list[str | None] = [None]
    if dist.get_rank() == 0:
        state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "random": ranks}
        settings = {name: str(value) for name, value in asdict(config).items()}
        facts = {"step": step, "world_size": len(ranks), "val_loss": val_loss, "settings": settings}
        try:
            folder = config.run_dir / "checkpoints"
            storage.write(folder / f"step-{step:09d}", state, facts)
            prune(folder, step, config.keep)
        except OSError as error:
            problem = [f"cannot save step {step} in {config.run_dir}: {error}"]
    # all go on together, or nobody does
    dist.broadcast_object_list(problem, src=0)
    if problem[0]:
        leave_if([(problem[0], "mend the cause and start again: the run goes on")], status=1)


def newest(config: Config) -> tuple[int, Path | None, float]:
    """(step, folder, lowest validation loss so far) of the newest checkpoint that is whole.

    (0, None, inf) when the run is new. Every rank must call it: rank 0 looks and tells, for file
    systems may show the ranks different folders.
    """
    found: list[Any] = [(0, None, float("inf"))]
    if dist.get_rank() == 0:
        folders = steps(config.run_dir / "checkpoints")
        for step, folder in reversed(folders):
            if problem := storage.damage(folder):
                print(f"skipped checkpoint {folder}: {problem}", flush=True)
            else:
                losses = [val_loss(path) for number, path in folders if number <= step]
                found = [(step, folder, min(losses))]
                break
    dist.broadcast_object_list(found, src=0)
    step, folder, best_loss = found[0]
    return step, folder, best_loss


def best(run_dir: Path) -> Path:
    """The folder with the lowest validation loss that is whole; without validation, the newest.

    Ends the program where there is none.
    """
    folders = [path for _, path in reversed(steps(run_dir / "checkpoints"))]
    for folder in sorted(folders, key=val_loss):
        if problem := storage.damage(folder):
            print(f"skipped checkpoint {folder}: {problem}", flush=True)
        else:
            return folder
    leave_if([(f"{run_dir} has no checkpoint", "give --run_dir a run that has saved one")])
    raise AssertionError("leave_if has ended the program")


def steps(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of all checkpoints, whole or not, the newest last."""
    paths = folder.iterdir() if folder.is_dir() else ()
    found = [(re.fullmatch(r"step-(\d{9})", path.name), path) for path in paths]
    return sorted((int(match[1]), path) for match, path in found if match)


def val_loss(folder: Path) -> float:
    """The validation loss of a checkpoint; infinite where it was not validated."""
    loss = storage.facts(folder).get("val_loss")
    return loss if isinstance(loss, float) and loss == loss else float("inf")


def prune(folder: Path, step: int, keep: int) -> None:
    """Remove old checkpoints up to this step, but not the newest nor the best of them.

    Of a later step there can be damaged ones only: they must not push out a good one.
    """
    found = [path for number, path in reversed(steps(folder)) if number <= step]
    # of equals min takes the newest: without any validation, none is kept for it
    for old in set(found[keep:]) - {min(found, key=val_loss)}:
        shutil.rmtree(old)


def load(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the state of a checkpoint into the network, the optimizer and the random generators."""
    state = storage.read(folder)
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


def random_state() -> dict[str, Any]:
    """The states of this rank's random generators, in types that weights_only loads."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
