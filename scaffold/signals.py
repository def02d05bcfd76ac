"""Signals wait while a command works: they end it between two steps, where nothing is half."""

import signal

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


def hear() -> None:
    """Let a program that was started from here hear signals, for it has no steps to end between."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
