"""What a run prints, which never ends it: a reader may leave or pause, and a log may be full.

`python train.py | head -3`, a terminal that was closed, `> /dev/full`; Ctrl-S, `| less`, a laptop
that sleeps with its ssh.
"""

import io
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

STREAMS = (1, "stdout"), (2, "stderr")
PATIENCE = 5  # seconds that a run waits for its reader
ROOM = 2048  # bytes; where anything can be written there is room for twice as many (pipe(7))


class Lasting(io.FileIO):
    """A stream that is given up where it cannot be written, which the other one tells.

    patience: seconds after which a reader that pauses misses what comes; infinite: it waits.
    """

    def __init__(self, handle: int, name: str, patience: float) -> None:
        super().__init__(handle, "w", closefd=False)
        self.name, self.patience, self.missed = name, patience, 0

    def write(self, block: Any) -> int:
        try:
            return super().write(block) if self.patience == float("inf") else self.offer(block)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # for what is not Python, and for what is started, too
            os.close(nowhere)
            if self.name == "stdout":
                fact = f"stdout cannot be written any more ({error.strerror})"
                print(f"warning: {fact}; the run goes on", file=sys.stderr, flush=True)
            return len(block)

    def offer(self, block: Any) -> int:
        """Write what is read in time; the rest is missed, and told when the reader goes on."""
        note = b"\n(%d bytes were not read in time)\n" % self.missed if self.missed else b""
        text, done = note + bytes(block), 0
        begin = time.monotonic()
        end = begin if self.missed else begin + self.patience
        with never_waiting(self.fileno()) as handle:
            while done < len(text) and is_read(handle, max(0, end - time.monotonic())):
                try:
                    done += os.write(handle, text[done : done + ROOM])
                    end = begin + self.patience
                except BlockingIOError:  # a terminal has room, but not for a line's end
                    if time.monotonic() > end:
                        break
                    time.sleep(0.01)
        self.missed = min(len(block), len(text) - done) + (0 if done else self.missed)
        return len(block)


@contextmanager
def never_waiting(handle: int) -> Iterator[int]:
    """The same pipe or terminal, for writes that take what there is room for and never wait.

    It is opened anew, for others that write there do wait. Where it cannot be, it is the stream
    itself: a file never pauses, and a socket, or macOS, which has no /proc, may keep a long write.
    """
    again = handle
    if stat.S_ISFIFO(os.fstat(handle).st_mode) or os.isatty(handle):
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            again = os.open(f"/proc/self/fd/{handle}", flags)
    try:
        yield again
    finally:
        if again != handle:
            os.close(again)


def is_read(handle: int, seconds: float) -> bool:
    """Whether a stream can be written within so many seconds, or tells why it cannot."""
    poll = select.poll()
    poll.register(handle, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


def guard(patience: float = float("inf")) -> None:
    """Let nothing that is printed raise from now on, nor wait for a reader for longer than this."""
    for handle, name in STREAMS:
        stream = getattr(sys, name)
        if stream is None:  # closed by who started this
            setattr(sys, name, nowhere())
        elif isinstance(stream, io.TextIOWrapper) and stream.fileno() == handle:
            stream.flush()
            text = io.TextIOWrapper(
                io.BufferedWriter(Lasting(handle, name, patience)),
                stream.encoding,
                stream.errors,
                line_buffering=stream.line_buffering or name == "stderr",
            )
            setattr(sys, name, text)


def nowhere() -> IO[str]:
    """A stream of which nothing comes."""
    return Path(os.devnull).open("w")
