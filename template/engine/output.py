"""What a run prints, which never ends it: a reader may leave, and a log may be full.

`python train.py | head -3`, a terminal that was closed, `> /dev/full`.
"""

import io
import os
import sys
from pathlib import Path
from typing import Any

STREAMS = (1, "stdout"), (2, "stderr")


class Lasting(io.FileIO):
    """A stream that is given up where it cannot be written, which the other one tells."""

    def __init__(self, handle: int, name: str) -> None:
        super().__init__(handle, "w", closefd=False)
        self.name = name

    def write(self, block: Any) -> int:
        try:
            return super().write(block)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # for what is not Python, and for what is started, too
            os.close(nowhere)
            if self.name == "stdout":
                fact = f"stdout cannot be written any more ({error.strerror})"
                print(f"warning: {fact}; the run goes on", file=sys.stderr, flush=True)
            return len(block)


def guard() -> None:
    """Let nothing that is printed raise from now on."""
    for handle, name in STREAMS:
        stream = getattr(sys, name)
        if stream is None:  # closed by who started this
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  # as long as all
        elif isinstance(stream, io.TextIOWrapper) and stream.fileno() == handle:
            stream.flush()
            text = io.TextIOWrapper(
                io.BufferedWriter(Lasting(handle, name)),
                stream.encoding,
                stream.errors,
                line_buffering=stream.line_buffering or name == "stderr",
            )
            setattr(sys, name, text)
