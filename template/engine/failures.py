"""How a run fails: soon, on all ranks, and with the first cause as its last word."""

import faulthandler
import multiprocessing
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import NoReturn

import torch.distributed as dist

from config import Config
from engine import async_writer, run_dir, watchdog
from engine.errors import Refusal, is_first, this_rank
from engine.hints import hint, is_disk, is_loss, summary

Main = Callable[[Config], None]  # the training of one rank


def guarded(main: Main) -> Main:
    """The same, alone in its run directory; a rank that fails tells the others and the user why."""

    @wraps(main)
    def run(config: Config) -> None:
        try:
            if is_first():
                run_dir.take(config.run_dir)
            watchdog.start(config)
        except OSError as error:  # as when the disk is still full
            fail(error, config)
        try:
            main(config)
        except KeyboardInterrupt:  # before the first step: nothing is lost
            if is_first():
                run_dir.tell(config.run_dir, "preempted", step=0)
            leave(130)
        except Refusal as error:
            refuse(error, config)
        except SystemExit as error:
            left = RuntimeError(f"it left in the midst of the run ({error.code or 0})")
            fail(left.with_traceback(error.__traceback__), config)
        except Exception as error:
            fail(error, config)

    return run


def fail(error: Exception, config: Config) -> NoReturn:
    """End this rank. The first that failed speaks, and speaks last; all others wait for it."""
    lost = is_loss(error)
    what = "lost another rank" if lost else "failed"
    mine = f"rank {this_rank()} {what}: {type(error).__name__}: {summary(error)}"
    why = first_cause(mine, config, wait=lost)
    if why == mine:
        time.sleep(1)
        if not is_disk(error):
            traceback.print_exception(error)
        print(f"error: {why}\nhint: {hint(error)}", file=sys.stderr)
    else:
        if not lost:
            print(f"{mine}, too", file=sys.stderr, flush=True)
        time.sleep(3)  # a launcher ends all when one leaves
    run_dir.tell_failure(config.run_dir, why)
    leave(1)


def refuse(error: Refusal, config: Config) -> NoReturn:
    """End this rank. Rank 0 has said why, unless others alone refuse: then one of them does."""
    mine = error.fact if is_first() else f"rank {this_rank()}: {error.fact}"
    why = first_cause(mine, config, wait=False)
    if why == mine and not is_first():
        print(f"error: {mine}\nhint: {error.remedy}", file=sys.stderr, flush=True)
    run_dir.tell_refusal(config.run_dir, why)
    time.sleep(1)  # the store may be in this process: let the others ask it
    leave(error.status)


def leave(status: int) -> NoReturn:
    """End this process: it waits for no worker, and not for long for what else has to be closed."""
    with suppress(OSError):
        async_writer.finish()
    for worker in multiprocessing.active_children():
        worker.kill()
    if any(thread.name == "ask_store" for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(status)  # torch would abort where one of its calls is under way
    # torch's connections to ranks that are gone may keep the interpreter from its end; rank 0 has
    # a tracker to close
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115  # it has to outlive this function
    faulthandler.dump_traceback_later(3 if is_first() else 2, exit=True, file=nowhere)
    sys.exit(status)


def first_cause(mine: str, config: Config, wait: bool) -> str:
    """What the first rank to fail told the store of this run; `mine`, where nobody else has.

    wait: whether this failure is only what the failure of another rank looks like from here.
    """
    if wait and (told := run_dir.failure(config.run_dir)):
        return told  # by a rank that waited for too long: it tells the run directory alone
    if os.environ.get("MASTER_PORT", "0") == "0":
        return mine  # the only rank
    first = [mine]
    # a thread, for torch tries for ten seconds to reach a store that goes while it is asked
    asking = threading.Thread(target=ask_store, name="ask_store", args=(first, wait), daemon=True)
    asking.start()
    asking.join(3)
    return first[0]


def ask_store(first: list[str], wait: bool) -> None:
    """Put the first cause where that of this rank stands, unless it is the first itself."""
    key = f"first-cause-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ["MASTER_PORT"])
    # the rank that held the store may be gone
    with suppress(RuntimeError, OSError):
        # refused at once, where torch would try again and again
        socket.create_connection((host, port), timeout=3).close()
        store = dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=3))
        end = time.monotonic() + (1 if wait else 0)
        while time.monotonic() < end and not store.check([key]):
            time.sleep(0.1)
        first[0] = store.compare_set(key, "", first[0]).decode()
