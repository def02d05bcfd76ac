"""Writes beside the training: one thing after the other, in a thread of its own."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

WRITER = ThreadPoolExecutor(1)
writing: list[Future[None]] = []  # what is not known to be written yet


def begin(write: Callable[..., None], *arguments: Any) -> None:
    """Let a function write; what it raises is told by `finish`."""
    writing.append(WRITER.submit(write, *arguments))


def finish() -> None:
    """Wait for what is being written. Raises OSError where that failed."""
    while writing:
        writing.pop().result()


def wait() -> None:
    """Wait as `finish` does, beside the thread that is told how it went."""
    WRITER.submit(int).result()
