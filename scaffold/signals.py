"""Signals wait while a command works: they end it between two steps, where nothing is half."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from scaffold.errors import ScaffoldError

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def hold() -> None:
    """From now on the signals that would end this process wait.

    An exception out of a handler can come anywhere, also while a folder is being removed or within
    an import that swallows it. One that the caller ignores, as nohup does, is left alone.
    """
    heard = {number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)


def waiting() -> signal.Signals | None:
    """The signal that waits, if one does."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return next(map(signal.Signals, sorted(signal.sigpending() & blocked & set(ENDING))), None)


def end_if_signalled() -> None:
    """Raise ScaffoldError if a signal waits; call it where all that was begun can be undone."""
    if number := waiting():
        fact = f"ended by {number.name}"
        raise ScaffoldError(fact, "nothing was changed; run it again", 128 + number)


@contextmanager
def heard_by_child() -> Iterator[None]:
    """Let a program that is started meanwhile hear signals, for it has no steps to end between.

    What comes meanwhile waits as before. A preexec_fn would be shorter, but then Python forks this
    whole process, which takes ten times as long where that is large.
    """
    came: list[int] = []
    heard = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {
        number: signal.signal(number, lambda number, _: came.append(number)) for number in heard
    }
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, answer in before.items():
            signal.signal(number, answer)
        for late in came:
            os.kill(os.getpid(), late)
