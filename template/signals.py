"""What ends a run before its time: SIGTERM from a cluster, SIGUSR1 from a scheduler, Ctrl-C.

And a launcher that is gone, a rank whose workers should go, or waiting for too long.
"""

import os
import signal
import sys
from contextlib import suppress
from multiprocessing import forkserver, parent_process, resource_tracker
from threading import Thread
from types import FrameType

import torch.multiprocessing as mp

import watchdog

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


def watch() -> None:
    """End the run when a rank waits for too long from now on (watchdog.py)."""
    watchdog.progress(watchdog.START)


class StopRequest:
    """A signal, kept until the step is done: then that is saved, and the run ends.

    One rank may be asked and the others not: `runtime.is_last` makes them agree.
    """

    # Made when the processes have met: one that waits for the others is just ended by a signal.

    def __init__(self) -> None:
        self.received = False
        for number in STOP_SIGNALS:
            signal.signal(number, self.receive)

    def receive(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True


def wait_for(ranks: mp.ProcessContext) -> None:
    """Wait for the ranks that this process has started, and tell them what asks it to stop."""

    def forward(number: int, _frame: FrameType | None) -> None:
        for pid in filter(None, ranks.pids()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    for number in STOP_SIGNALS:
        signal.signal(number, forward)
    try:
        while not ranks.join():
            pass
    except mp.ProcessExitedException as error:
        if error.exit_code > 0:  # the rank has said why
            sys.exit(error.exit_code)
        print(
            f"error: rank {error.error_index} was ended by {error.signal_name}\n"
            "hint: was the memory full? start again: the run goes on from its last checkpoint",
            file=sys.stderr,
        )
        sys.exit(128 - error.exit_code)


def end_with_parent(_worker: int) -> None:
    """Let a loader's worker end with its rank, however that ends.

    torch looks at the parent, which is the forkserver here; and that lives as long as its workers.
    """
    rank = parent_process()
    assert rank is not None, "a worker has been started by a rank"

    def end() -> None:
        rank.join()
        os._exit(1)

    Thread(target=end, daemon=True).start()


def start_forkserver() -> None:
    """Start what starts the loader's workers, all deaf to signals: the rank alone is to answer.

    Launchers and terminals signal every process that they find, and a rank without its workers
    cannot finish the step. What is blocked here stays so in the processes that are started.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    resource_tracker.ensure_running()  # needed by the next line but one, and unblocks signals
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
