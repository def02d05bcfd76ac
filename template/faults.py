"""How a run fails: soon, on all ranks, and with the first cause as its last word."""

import errno
import faulthandler
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from itertools import takewhile
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist

import checkpoint
import rundir
from config import Config
from errors import is_first, this_rank

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
HINTS = {
    "pickle": "with --workers, data.py must keep what it builds at the top level of a module; or "
    "set --workers 0",
    "out of memory": "lower --micro_batch_size: the result stays the same",
    "exited unexpectedly": "a worker of the loader died, perhaps of too little memory; "
    "set --workers 0 to see",
}
Main = Callable[[Config], None]  # the training of one rank
GO_ON = "mend the cause and start again: the run goes on from its last checkpoint"


def guarded(main: Main) -> Main:
    """The same, alone in its run directory; a rank that fails tells the others and the user why."""

    @wraps(main)
    def run(config: Config) -> None:
        if is_first():
            rundir.take(config.run_dir)
        try:
            main(config)
        except KeyboardInterrupt:  # before the first step: nothing is lost
            leave(130)
        except SystemExit as error:
            if not error.code:
                left = RuntimeError("it left in the midst of the run")
                fail(left.with_traceback(error.__traceback__), config)
            if is_first():
                rundir.tell_failure(config.run_dir, getattr(error, "fact", "left"))
            leave(error.code if isinstance(error.code, int) else 1)
        except Exception as error:
            fail(error, config)

    return run


def fail(error: Exception, config: Config) -> NoReturn:
    """End this rank. The first that failed speaks, and speaks last; all others wait for it."""
    mine = f"rank {this_rank()} failed: {type(error).__name__}: {summary(error)}"
    lost = is_loss(error)
    why = first_cause(mine, wait=lost)
    if why == mine:
        time.sleep(1)
        # of a full disk there is no more to know
        if not (lost or is_disk(error)):
            traceback.print_exception(error)
        print(f"error: {why}\nhint: {hint(error)}", file=sys.stderr)
    else:
        if not lost:
            print(f"{mine}, too", file=sys.stderr, flush=True)
        time.sleep(3)  # a launcher ends all when one leaves
    rundir.tell_failure(config.run_dir, why)
    leave(1)


def leave(status: int) -> NoReturn:
    """End this process: it waits for no worker, and not for long for what else has to be closed."""
    with suppress(OSError):
        checkpoint.finish_writing()
    for worker in multiprocessing.active_children():
        worker.kill()
    # torch's connections to ranks that are gone may keep the interpreter from its end
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115  # it has to outlive this function
    faulthandler.dump_traceback_later(8, exit=True, file=nowhere)
    sys.exit(status)


def first_cause(mine: str, wait: bool) -> str:
    """What the first rank to fail told the store of this run; `mine`, where nobody else has.

    wait: whether this failure is only what the failure of another rank looks like from here.
    """
    if os.environ.get("MASTER_PORT", "0") == "0":
        return mine  # the only rank
    key = f"first-cause-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ["MASTER_PORT"])
    try:
        store = dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=3))
        end = time.monotonic() + (2 if wait else 0)
        while time.monotonic() < end and not store.check([key]):
            time.sleep(0.1)
        return store.compare_set(key, "", mine).decode()
    except (RuntimeError, OSError):  # the rank that held the store is gone
        return mine


def is_loss(error: Exception) -> bool:
    """Whether the error says no more than that another rank is gone."""
    known = isinstance(error, RuntimeError) and any(word in str(error) for word in LOST)
    return known or isinstance(error, dist.DistError)


def is_disk(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in DISK


def summary(error: Exception) -> str:
    """The error on one line, with where it arose as far as somebody noted that.

    A worker of the loader sends its traceback as text, of which the unindented end is the error.
    """
    lines = str(error).strip().splitlines() or ["no reason given"]
    said = list(takewhile(lambda line: line[:1].strip(), reversed(lines)))[::-1]
    return ", ".join([*said, *getattr(error, "__notes__", ())])


def hint(error: Exception) -> str:
    """What the reader can do."""
    if is_loss(error):
        return "see what the launcher says about the rank that is gone; was the memory full?"
    if isinstance(error, torch.OutOfMemoryError):
        return HINTS["out of memory"]
    text = f"{type(error).__name__} {error}"
    return next((remedy for word, remedy in HINTS.items() if word in text.lower()), GO_ON)
