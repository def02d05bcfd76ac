"""stdin, stdout and stderr as they may be: closed, full, or of a reader who has left (`| head`).

A command writes when its work is done, so what cannot be written is no failure of that work.
"""

import io
import os
import sys
from typing import Any

from scaffold.errors import FAILURE, ScaffoldError


class Outlet(io.FileIO):
    """A stream that outlives its reader, who wants no more, and keeps why it cannot be written."""

    used = False  # whether anything was to be written
    fault = ""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)

    def write(self, data: Any, /) -> int:
        self.used = True
        try:
            return super().write(data)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.fault = error.strerror or str(error)
            return len(data)


def keep() -> Outlet:
    """Let this program's streams outlast what is behind them; stdout is given, to be looked at."""
    _open_closed()
    outlets = [Outlet(1), Outlet(2)]
    for name, outlet in zip(("stdout", "stderr"), outlets, strict=True):
        before = getattr(sys, name)
        before.flush()
        writer = io.BufferedWriter(outlet)
        lines = before.line_buffering
        text = io.TextIOWrapper(writer, before.encoding, before.errors, line_buffering=lines)
        setattr(sys, name, text)
    return outlets[0]


def _open_closed() -> None:
    """Let what is closed be /dev/null, or the next file that is opened would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: its own
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def check(stdout: Outlet, done: bool) -> None:
    """Tell that stdout could not be written, after work that is done; else raise ScaffoldError."""
    if not stdout.fault:
        return
    fact = f"stdout cannot be written: {stdout.fault}"
    if not done:
        raise ScaffoldError(fact, "mend the cause and run it again", FAILURE)
    sys.stderr.write(f"{fact}; what it tells of is done\n")
