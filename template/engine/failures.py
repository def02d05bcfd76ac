"""How a run fails: soon, on all ranks, and with the first cause as its last word."""

import atexit
import faulthandler
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from typing import NoReturn

from config import Config
from engine import first_cause, launcher, output, peers, run_dir, run_state, signals, watchdog
from engine.async_writer import finish, wait
from engine.errors import Refusal, is_first, this_rank
from engine.hints import hint, is_disk, is_loss, of_ending, place, summary
from engine.resources import disk
from engine.variables import LAUNCHER

Main = Callable[[Config], None]  # the training of one rank
failing = threading.Event()  # whether this rank is about to end


def guarded(main: Main) -> Main:
    """The same, alone in its run directory; a rank that fails tells the others and the user why."""

    @wraps(main)
    def run(config: Config) -> None:
        try:
            begin(config)
        except signals.Stopped as error:
            stop(error.number, config)
        except OSError as error:  # as when the disk is still full
            fail(error, config)
        try:
            main(config)
        except signals.Stopped as error:
            stop(error.number, config)
        except Refusal as error:
            refuse(error, config)
        except SystemExit as error:
            left = RuntimeError(f"it left in the midst of the run ({error.code or 0})")
            fail(left.with_traceback(error.__traceback__), config)
        except BaseException as error:  # asyncio.CancelledError is no Exception
            fail(error, config)

    return run


def begin(config: Config) -> None:
    """Take the run directory, and watch over this rank; ends the program where a run is at work."""
    signals.expect(partial(stop, config=config, at_once=True))
    atexit.register(signals.ignore)  # then Python takes its answers back, and would die of one
    atexit.register(launcher.sweep)
    output.guard(output.PATIENCE)
    faulthandler.enable(all_threads=False)  # of an error in C: the line that led there
    if is_first():
        run_dir.take(config.run_dir)
    watchdog.start(config)
    peers.start(partial(outlive, config))


def fail(error: BaseException, config: Config) -> NoReturn:
    """End this rank. The first that failed speaks, and speaks last; all others wait for it."""
    failing.set()
    signals.ignore()  # a launcher that ends all now would not let it speak
    if is_loss(error):
        loss = peers.loss(2) or f"rank {this_rank()} lost another rank: {summary(error)}"
        leave(lose(loss, config))
    if is_disk(error):
        error.add_note(disk(place(error, config.run_dir), error))
    mine = f"rank {this_rank()} failed: {type(error).__name__}: {summary(error)}"
    why = first_cause.agree(mine, wait=False)
    if why == mine:
        time.sleep(1)
        if not is_disk(error):
            traceback.print_exception(error)
        print(f"error: {why}\nhint: {hint(error)}", file=sys.stderr, flush=True)
    else:
        print(f"{mine}, too", file=sys.stderr, flush=True)
        time.sleep(3)  # a launcher ends all when one leaves
    first_cause.keep(config.run_dir, why)
    leave(1)


def lose(mine: str, config: Config) -> int:
    """Say which rank was lost, where no launcher of this project does; gives the exit status."""
    if launcher.speaks():
        return launcher.LOST
    # a rank that waited for too long tells the run directory alone
    why = run_state.failure(config.run_dir) or first_cause.agree(mine, wait=True)
    if why == mine:
        print(f"error: {why}\nhint: {of_ending(why)}", file=sys.stderr, flush=True)
    else:
        time.sleep(3)  # a launcher ends all when one leaves
    first_cause.keep(config.run_dir, why)
    return 1


def outlive(config: Config, loss: str) -> None:
    """End this rank when another is gone, and what waits for that one sees nothing of it."""
    time.sleep(3)
    if not failing.is_set() and peers.watching:  # and not all are leaving
        wait()  # a checkpoint that is nearly done
        os._exit(lose(loss, config))


def stop(number: int, config: Config, at_once: bool = False) -> None:
    """End this rank before its first step, as somebody asked: nothing is lost."""
    failing.set()
    asked = f"was stopped by {signals.name(number)}"
    mine = f"rank {this_rank()} {asked} before the first step: nothing is lost"
    if is_first():
        run_state.tell_stop(config.run_dir, mine)
    if (is_first() or LAUNCHER not in os.environ) and first_cause.agree(mine, wait=False) == mine:
        print(mine, file=sys.stderr, flush=True)
    (os._exit if at_once else leave)(128 + number)


def refuse(error: Refusal, config: Config) -> NoReturn:
    """End this rank. Rank 0 has said why, unless others alone refuse: then one of them does."""
    failing.set()
    signals.ignore()
    mine = error.fact if is_first() else f"rank {this_rank()}: {error.fact}"
    why = first_cause.agree(mine, wait=False)
    if why == mine and not is_first():
        print(f"error: {mine}\nhint: {error.remedy}", file=sys.stderr, flush=True)
    run_state.tell_refusal(config.run_dir, why)
    time.sleep(1)  # the store may be in this process: let the others ask it
    leave(error.status)


def leave(status: int) -> NoReturn:
    """End this process; what is gone keeps it for 2 seconds, and rank 0, with its tracker, 3."""
    with suppress(OSError):
        finish()
    for worker in multiprocessing.active_children():
        worker.kill()
    asking = any(thread.name == first_cause.ASKING for thread in threading.enumerate())
    if asking or status == launcher.LOST:  # torch would abort in a call, or hang and change it
        sys.stdout.flush()
        os._exit(status)
    # what is half made, as a loader whose workers cannot start, complains when it goes
    sys.unraisablehook = lambda _: None
    faulthandler.dump_traceback_later(3 if is_first() else 2, exit=True, file=output.nowhere())
    sys.exit(status)
