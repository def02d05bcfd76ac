"""What asks a run to stop: a cluster (SIGTERM), a scheduler (SIGUSR1), Ctrl-C, a closed window."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from threading import Thread
from types import FrameType

from engine import watchdog

ALWAYS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# what people, terminals and schedulers send
STOP_SIGNALS = (*ALWAYS, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2, signal.SIGXCPU)
# errors of the program, of which it cannot go on; job control; and what ends nobody
OTHERS = (
    *("KILL", "STOP", "SEGV", "BUS", "FPE", "ILL", "ABRT", "TRAP", "SYS", "EMT"),
    *("CHLD", "CONT", "TSTP", "TTIN", "TTOU", "URG", "WINCH", "PIPE", "XFSZ", "INFO"),
    *("PROF", "VTALRM", "IO", "POLL"),  # of profilers, which answer them in C
)


def watch() -> None:
    """End the run when a rank waits for too long from now on (watchdog.py)."""
    watchdog.progress(watchdog.START)
    # the ranks that Fabric starts now, too; of this one another thread hears
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


class Stopped(KeyboardInterrupt):
    """A signal before the first step, when there is nothing to save."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class StopRequest:
    """A signal, kept until the step is done: then that is saved, and the run ends.

    One rank may be asked and the others not: `agreement.Stop` makes them agree.
    """

    # Made when the processes have met: one that waits for the others is just ended by a signal.

    def __init__(self) -> None:
        self.received = False
        take(self.receive)
        expecting.clear()
        signal.set_wakeup_fd(-1)
        hear()

    def receive(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True


expecting: list[Callable[[int], None]] = []  # how this process ends of a signal, until then


def expect(stop: Callable[[int], None], at_once: bool = True) -> None:
    """Raise Stopped for a signal until a StopRequest is made; or, where nobody hears, call `stop`.

    Python tells a signal when torch comes back, and that may wait for other ranks for long.
    at_once: else nothing is raised, and `stop` ends what is still at work some seconds later: what
    a team does after the training, a tracker or a thread that hangs, and no run that just leaves.
    """
    expecting[:] = [stop]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen() -> None:
        while (number := os.read(reader, 1)[0]) not in taken:
            pass
        time.sleep(2 if at_once else 5)
        for end in expecting:
            end(number)

    with suppress(RuntimeError):  # no thread can be started any more: Python alone hears
        Thread(target=listen, name="signals", daemon=True).start()
    take(interrupt if at_once else lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=forget)
    hear()


def interrupt(number: int, _frame: FrameType | None) -> None:
    ignore()
    raise Stopped(number)


def leave(number: int) -> None:
    print(f"stopped by {name(number)} after the training", file=sys.stderr, flush=True)
    os._exit(128 + number)


taken: set[int] = set()  # the signals that this process answers


def take(answer: Callable[[int, FrameType | None], None]) -> None:
    """Answer all signals that would end this process, whoever sends them.

    What is ignored stays so, as with nohup; and what a library answers is left to it.
    """
    free = (signal.SIG_DFL, signal.default_int_handler)
    others = {getattr(signal, f"SIG{name}", 0) for name in OTHERS}
    ends = {
        number for number in signal.valid_signals() - others if signal.getsignal(number) in free
    }
    taken.update(ends, ALWAYS)
    for number in taken:
        signal.signal(number, answer)


def ignore() -> None:
    """Take no further notice: to be asked once is enough."""
    expecting.clear()
    for number in taken:
        signal.signal(number, signal.SIG_IGN)


def name(number: int) -> str:
    """SIGTERM, or the number of one that has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:  # of those for own purposes (signal(7), real-time signals)
        return f"signal {number}"


def forget() -> None:
    """Let a process that was forked from this one be ended as any other."""
    signal.set_wakeup_fd(-1)
    for number in taken:
        signal.signal(number, signal.SIG_DFL)


def deafen() -> None:
    """Let this process, and those that multiprocessing starts now, hear nothing until `hear`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    # what it removes after a run that was cut short is no news, and no last word
    sys.warnoptions.append("ignore:resource_tracker")
    resource_tracker.ensure_running()  # needed to start processes, and unblocks signals
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def hear() -> None:
    """Answer signals again, those that have come meanwhile first."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
