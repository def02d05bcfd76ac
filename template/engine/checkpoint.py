"""Checkpoints: what a run needs to go on, in one format for all four methods.

    runs/default/checkpoints/step-000000050/
        state.pt         the bare network, the optimizer, your parts, every rank's random states
        manifest.json    format, step, world size, validation, settings; size and CRC32 of it

A folder with this name is complete (storage.py). The newest ones are kept, and the best one.
"""

from pathlib import Path
from typing import Any

import torch.distributed as dist

from config import Config
from engine import async_writer, retention, run_dir, storage, watchdog
from engine.errors import is_first, leave_if
from engine.measures import Best, check_best
from engine.parts import Parts as Parts  # train.py makes them
from engine.plain import texts
from engine.random_state import random_state, seed_everything, set_random_state
from engine.restore import restore
from engine.state import copied


def save(
    step: int,
    parts: Parts,
    config: Config,
    validation: dict[str, float],  # its loss and metrics; empty: this step was not validated
    best: Best,  # of model.py
    last: bool,  # whether the run ends here
) -> None:
    """Save the state after a step. Every rank must call it; rank 0 alone writes.

    Ends the program on all ranks where they differ from each other, or the disk refuses; with
    `async_save` it tells of a disk that refuses when it is next called.
    """
    watchdog.progress(watchdog.START)  # rank 0 may have old ones to read before one goes
    parts.compare(step)
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, random_state())
    problem: list[str | None] = [None]
    if dist.get_rank() == 0:
        state = {**parts.state(), "random": ranks}
        facts = {"step": step, "world_size": len(ranks), "settings": texts(config)}
        # the loss for itself, where earlier versions look for it
        facts |= {"val_loss": validation.get("loss"), "validation": validation}
        try:
            run_dir.check(config.run_dir)
            async_writer.finish()
            state = copied(state) if config.async_save else state
            async_writer.begin(write, step, state, facts, config, best)
            if last or not config.async_save:
                async_writer.finish()
        except OSError as error:
            problem = [f"cannot save {error}"]
    # all go on together, or nobody does
    dist.broadcast_object_list(problem, src=0)
    watchdog.progress()
    if problem[0]:
        leave_if([(problem[0], "mend the cause and start again: the run goes on")], status=1)


def write(
    step: int, state: dict[str, Any], facts: dict[str, Any], config: Config, best: Best
) -> None:
    """Write one checkpoint, and then remove the old ones. Raises OSError that names the step."""
    folder = config.run_dir / "checkpoints"
    try:
        storage.write(folder / f"step-{step:09d}", state, facts)
        retention.prune(folder, step, config.keep, best)
    except OSError as error:
        raise OSError(f"step {step} in {config.run_dir}: {error}") from error


def newest(config: Config, best: Best) -> tuple[int, Path | None, float]:
    """(step, folder, score of the best validation so far) of the newest checkpoint that is whole.

    (0, None, inf) when the run is new. Every rank must call it: rank 0 looks and tells, for file
    systems may show the ranks different folders.
    """
    check_best(best)
    found: list[Any] = [(0, None, float("inf"))]
    if dist.get_rank() == 0:
        found = [retention.newest(config, best)]
    dist.broadcast_object_list(found, src=0)
    step, folder, lowest = found[0]
    return step, folder, lowest


def load(folder: Path | None, parts: Parts, config: Config) -> None:
    """Go on from a checkpoint, if there is one: the parts and the random generators.

    Says what does not go on as it was.
    """
    if folder is None:
        return
    state = storage.read(folder)
    told = restore(parts, state, folder, config)
    for line in told if is_first() else ():
        print(f"{config.run_dir} goes on {line}", flush=True)
    if len(state["random"]) == dist.get_world_size():
        set_random_state(state["random"][dist.get_rank()])
    else:  # as many streams as there are ranks now, none of them used before
        seed_everything(folder.name, dist.get_world_size(), dist.get_rank())
