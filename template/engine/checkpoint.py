"""Checkpoints: what a run needs to go on, in one format for all four methods.

    runs/default/checkpoints/step-000000050/
        state.pt         the bare network, the optimizer, and every rank's random states
        manifest.json    format, step, world size, validation loss, settings; size and CRC32 of it

A folder with this name is complete (storage.py). The newest ones are kept, and the best one.
"""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from config import Config
from engine import async_writer, retention, run_dir, storage, watchdog
from engine.errors import leave_if
from engine.plain import texts
from engine.random_state import random_state, seed_everything, set_random_state
from engine.replicas import check_replicas, share_buffers

EXECUTION = ("foreach", "fused", "capturable")  # flags of torch's optimizers


def save(
    step: int,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: Config,
    val_loss: float | None,  # None: this step was not validated
    last: bool,  # whether the run ends here
) -> None:
    """Save the state after a step. Every rank must call it; rank 0 alone writes.

    Ends the program on all ranks where they differ from each other, or the disk refuses; with
    `async_save` it tells of a disk that refuses when it is next called.
    """
    watchdog.progress(watchdog.START)  # rank 0 may have old ones to read before one goes
    share_buffers(net)
    check_replicas(net, step)
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, random_state())
    problem: list[str | None] = [None]
    if dist.get_rank() == 0:
        state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "random": ranks}
        settings = texts(config)
        facts = {"step": step, "world_size": len(ranks), "val_loss": val_loss, "settings": settings}
        try:
            run_dir.check(config.run_dir)
            async_writer.finish()
            state = copied(state) if config.async_save else state
            async_writer.begin(write, step, state, facts, config)
            if last or not config.async_save:
                async_writer.finish()
        except OSError as error:
            problem = [f"cannot save {error}"]
    # all go on together, or nobody does
    dist.broadcast_object_list(problem, src=0)
    watchdog.progress()
    if problem[0]:
        leave_if([(problem[0], "mend the cause and start again: the run goes on")], status=1)


def write(step: int, state: dict[str, Any], facts: dict[str, Any], config: Config) -> None:
    """Write one checkpoint, and then remove the old ones. Raises OSError that names the step."""
    folder = config.run_dir / "checkpoints"
    try:
        storage.write(folder / f"step-{step:09d}", state, facts)
        retention.prune(folder, step, config.keep)
    except OSError as error:
        raise OSError(f"step {step} in {config.run_dir}: {error}") from error


def copied(state: Any) -> Any:
    """The state as it is now, in the memory of the CPU: training goes on changing the tensors."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {name: copied(part) for name, part in state.items()}
    copies = [copied(part) for part in state] if isinstance(state, (list, tuple)) else []
    return copies if isinstance(state, list) else tuple(copies) if copies else state


def newest(config: Config) -> tuple[int, Path | None, float]:
    """(step, folder, lowest validation loss so far) of the newest checkpoint that is whole.

    (0, None, inf) when the run is new. Every rank must call it: rank 0 looks and tells, for file
    systems may show the ranks different folders.
    """
    found: list[Any] = [(0, None, float("inf"))]
    if dist.get_rank() == 0:
        found = [retention.newest(config)]
    dist.broadcast_object_list(found, src=0)
    step, folder, best_loss = found[0]
    return step, folder, best_loss


def load(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the state of a checkpoint into the network, the optimizer and the random generators."""
    state = storage.read(folder)
    remedy = "set --run_dir runs/new, or take model.py and the settings back"
    leave_if([(fact, remedy) for fact in differences(folder, state["model"], net.state_dict())])
    net.load_state_dict(state["model"])
    try:
        optimizer.load_state_dict(as_here(state["optimizer"], optimizer))
    except ValueError as error:
        leave_if([(f"{folder} is of another optimizer: {error}", "set --run_dir runs/new")])
    if len(state["random"]) == dist.get_world_size():
        set_random_state(state["random"][dist.get_rank()])
    else:  # as many streams as there are ranks now, none of them used before
        seed_everything(folder.name, dist.get_world_size(), dist.get_rank())


def as_here(saved: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's saved state, to be used as this run computes: with its kernels and layouts."""
    for before, group in zip(saved["param_groups"], optimizer.param_groups, strict=False):
        before |= {flag: group[flag] for flag in EXECUTION if flag in group}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, moments in saved["state"].items():
        for name, value in moments.items():
            # one kernel goes through weights and moments side by side
            if number < len(weights) and getattr(value, "shape", None) == weights[number].shape:
                like = torch.empty_like(weights[number], dtype=value.dtype, device="cpu")
                moments[name] = like.copy_(value)
    return saved


def differences(folder: Path, saved: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """In which tensors a checkpoint is of another network: one fact that names the first ones."""

    def shape(state: dict[str, Any], name: str) -> str:
        found = state.get(name)
        here = "there" if name in state else "missing"
        return str(list(found.shape)) if isinstance(found, Tensor) else here

    pairs = {name: (shape(saved, name), shape(here, name)) for name in saved | here}
    found = [
        f"`{name}` {there}, here {now}" for name, (there, now) in pairs.items() if there != now
    ]
    shown = "; ".join([*found[:3], *(["..."] if len(found) > 3 else [])])
    return [f"{folder} is of another network, {len(found)} tensors: {shown}"] if found else []
