"""What asks a run to stop: SIGTERM from a cluster, SIGUSR1 from a scheduler, Ctrl-C."""

import os
import signal
import sys
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from types import FrameType

import torch.multiprocessing as mp

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """A signal, kept until the step is done: then that is saved, and the run ends.

    One rank may be asked and the others not: `runtime.is_last` makes them agree.
    """

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
    except mp.ProcessExitedException as error:  # the rank has said why
        sys.exit(error.exit_code if error.exit_code > 0 else 128 - error.exit_code)


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
