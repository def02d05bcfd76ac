"""Ends a run in which nothing moves any more, and says where each rank is.

A rank that hangs, or that somebody stopped, keeps all others waiting without a word.
"""

import faulthandler
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread, main_thread
from types import FrameType

from config import Config
from engine import output, run_state
from engine.errors import this_rank

START = 300  # seconds until the first step is done: processes meet, workers start, kernels compile
PATIENCE = 3  # seconds in which all ranks write where they are
ENGINE = Path(__file__).parent
PROJECT = (ENGINE, ENGINE.parent)
Stack = tuple[Path, int]  # a file, and when it was written, in nanoseconds


class Watchdog(Thread):
    """Counts the seconds without progress, in ticks: a run that was suspended may go on."""

    def __init__(self, config: Config) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.config = config
        self.limit = self.left = float("inf")  # seconds; what comes before START may take long
        self.old = stacks(config)  # of a run that hung

    def progress(self, limit: float) -> None:
        self.limit = self.left = max(limit, self.config.step_timeout)

    def run(self) -> None:
        before = time.monotonic()
        # where one rank gives up, all say where they are
        while self.left > 0 and not stacks(self.config) - self.old:
            time.sleep(1)
            now = time.monotonic()
            self.left -= min(now - before, 2)
            before = now
        # in C: it also ends a rank whose file system does not answer; but a reader that pauses
        # would keep it
        file = sys.stderr if output.is_read(2, 0) else output.nowhere()
        faulthandler.dump_traceback_later(PATIENCE + 10, exit=True, file=file)
        try:
            give_up(self.config, f"{self.limit:g} s" if self.left <= 0 else "too long", self.old)
        except OSError as error:
            print(f"error: no progress, and the stacks cannot be written: {error}", file=sys.stderr)
        finally:  # whatever else fails, this rank keeps nobody waiting
            os._exit(1)


watching: list[Watchdog] = []  # the one of this process


def start(config: Config) -> None:
    """Watch this process from now on; the seconds count from the first call of `progress`."""
    watching[:] = [Watchdog(config)]
    watching[0].start()


def progress(limit: float = 0) -> None:
    """Something is done: a step, a batch of a validation, a checkpoint.

    limit: seconds that the next may take, if more than step_timeout.
    """
    for watchdog in watching:
        watchdog.progress(limit)


def give_up(config: Config, waited: str, old: set[Stack]) -> None:
    """Write where this rank is; the first of those that can speak sums up."""
    rank, world_size = this_rank(), config.processes * config.nodes
    state = run_state.read(config.run_dir)
    if state.get("state") == "running" and not run_state.of_this_run(state):
        # another run is alive there, and would take this for a rank of its own
        config = replace(config, run_dir=Path(tempfile.mkdtemp(prefix="stacks-")))
    rank_0 = state.get("pid") if state.get("host") == socket.gethostname() else None
    path = stacks_file(config, rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        print(f"rank {rank} {place(sys._current_frames()[main_thread().ident or 0])}", file=file)
        file.flush()
        faulthandler.dump_traceback(file, all_threads=True)
    print(path.read_text(), file=sys.stderr, flush=True)
    time.sleep(PATIENCE)
    paths = [path for path, _ in stacks(config) - old]
    told = {int(path.stem[5:]): path.read_text().split("\n")[0] for path in paths}
    # a rehearsal (--check) has a directory for each rank
    others = range(0 if config.check else world_size)
    silent = [f"rank {other} gives no sign" for other in others if other not in told]
    if run_state.failure(config.run_dir):
        pass  # it waited for a rank that has said why
    elif rank == min(told):
        places = [told[other] for other in sorted(told)]
        why = "; ".join([f"no progress for {waited}", *silent, *places])
        print(
            f"error: {why}\nhint: see {path.parent}; a new start goes on from the last checkpoint; "
            f"where steps take so long, set --step_timeout (now {config.step_timeout:g} s)",
            file=sys.stderr,
            flush=True,
        )
        run_state.tell_failure(config.run_dir, why)
    else:
        time.sleep(1)
    if silent:
        kill_unheard(rank_0)


def stacks(config: Config) -> set[Stack]:
    """What ranks that gave up have written; two runs never write the same at the same time."""
    found = set()
    with suppress(OSError):  # rank 0 removes them meanwhile; or the file system does not answer
        for path in (config.run_dir / "stacks").glob("rank-*.txt"):
            found.add((path, path.stat().st_mtime_ns))
    return found


def stacks_file(config: Config, rank: int) -> Path:
    return config.run_dir / "stacks" / f"rank-{rank}.txt"


def place(frame: FrameType | None) -> str:
    """Where a thread is in this project, and whether it waits there for torch."""
    inside_torch = frame is not None and f"{os.sep}torch{os.sep}" in frame.f_code.co_filename
    while frame is not None and Path(frame.f_code.co_filename).parent not in PROJECT:
        frame = frame.f_back
    if frame is None:
        return "is outside the project"
    line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} ({frame.f_code.co_name})"
    return f"waits for torch in {line}" if inside_torch else f"is stuck in {line}"


def kill_unheard(rank_0: int | None) -> None:
    """End what hears no SIGTERM: rank 0 if it started this rank, or the ranks this one started."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")  # Linux
    pids = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    for pid in [*pids, *([rank_0] if rank_0 == os.getppid() else [])]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
