"""Ends a run in which nothing moves any more, and says where each rank is.

A rank that hangs, or that somebody stopped, keeps all others waiting without a word.
"""

import faulthandler
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread, main_thread
from types import FrameType

import rundir
from config import Config
from errors import this_rank

START = 300  # seconds until the first step is done: processes meet, workers start, kernels compile
PATIENCE = 3  # seconds in which all ranks write where they are
PROJECT = Path(__file__).parent


class Watchdog(Thread):
    """Counts the seconds without progress, in ticks: a run that was suspended may go on."""

    def __init__(self, config: Config) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.config = config
        self.limit = self.left = max(START, config.step_timeout)  # seconds

    def progress(self) -> None:
        self.limit = self.left = self.config.step_timeout

    def run(self) -> None:
        before = time.monotonic()
        while self.left > 0:
            time.sleep(0.5)
            now = time.monotonic()
            self.left -= min(now - before, 2)
            before = now
        try:
            give_up(self.config, self.limit)
        finally:  # whatever else fails, this rank keeps nobody waiting
            os._exit(1)


watching: list[Watchdog] = []  # the one of this process


def start(config: Config) -> None:
    """Watch this process from now on."""
    stacks_file(config, this_rank()).unlink(missing_ok=True)
    watching[:] = [Watchdog(config)]
    watching[0].start()


def progress() -> None:
    """Something is done: a step, a batch of a validation, a checkpoint."""
    for watchdog in watching:
        watchdog.progress()


def give_up(config: Config, seconds: float) -> None:
    """Write where this rank is; the first of those that can speak sums up."""
    rank, world_size = this_rank(), config.processes * config.nodes
    path = stacks_file(config, rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        print(f"rank {rank} {place(sys._current_frames()[main_thread().ident or 0])}", file=file)
        file.flush()
        faulthandler.dump_traceback(file, all_threads=True)
    print(path.read_text(), file=sys.stderr, flush=True)
    time.sleep(PATIENCE)
    paths = {other: stacks_file(config, other) for other in range(world_size)}
    told = {
        other: path.read_text().split("\n")[0] for other, path in paths.items() if path.exists()
    }
    silent = [f"rank {other} gives no sign" for other in paths if other not in told]
    if rank == min(told):
        why = f"no progress for {seconds:.0f} s: {'; '.join([*silent, *told.values()])}"
        print(
            f"error: {why}\nhint: see {path.parent}; a new start goes on from the last checkpoint; "
            "where steps take so long, set --step_timeout",
            file=sys.stderr,
            flush=True,
        )
        rundir.tell_failure(config.run_dir, why)
    else:
        time.sleep(1)
    if 0 in paths and 0 not in told:
        kill_rank_0(config)


def stacks_file(config: Config, rank: int) -> Path:
    return config.run_dir / "stacks" / f"rank-{rank}.txt"


def place(frame: FrameType | None) -> str:
    """Where a thread is in this project, and whether it waits there for torch."""
    inside_torch = frame is not None and f"{os.sep}torch{os.sep}" in frame.f_code.co_filename
    while frame is not None and Path(frame.f_code.co_filename).parent != PROJECT:
        frame = frame.f_back
    if frame is None:
        return "is outside the project"
    line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} ({frame.f_code.co_name})"
    return f"waits for torch in {line}" if inside_torch else f"is stuck in {line}"


def kill_rank_0(config: Config) -> None:
    """End a rank 0 of this machine that somebody stopped: as a launcher, it would stay forever."""
    state = rundir.state(config.run_dir)
    if state.get("host") == socket.gethostname() and isinstance(state.get("pid"), int):
        with suppress(ProcessLookupError):
            os.kill(state["pid"], signal.SIGKILL)
