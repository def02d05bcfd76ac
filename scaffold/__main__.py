"""Starts the command line: `scaffold`, and `python -m scaffold`.

Loading it takes a while, in which a Ctrl-C as an exception would show a traceback, or get lost in
an import that swallows it.
"""

import os
import signal
import sys
from types import FrameType

from scaffold.errors import INTERRUPTED, json_is_asked


def main() -> None:
    """Run the command line and end the program with its exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not so under nohup
        signal.signal(signal.SIGINT, leave)
    from scaffold.cli import main as run

    run()


def leave(_number: int, _frame: FrameType | None) -> None:
    """End the program where it stands: before signals are held (signals.py) nothing has begun.

    In a handler neither json can be loaded nor a stream written that is being written.
    """
    fact, remedy, status = INTERRUPTED
    line_end = "\n" * os.isatty(2)  # after the ^C that a terminal shows
    told = {2: f"{line_end}error: {fact}\nhint: {remedy}\n"}
    outlet = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if json_is_asked() and not getattr(outlet, "used", False):  # the result may be there already
        told[1] = f'{{\n  "error": "{fact}",\n  "hint": "{remedy}",\n  "status": {status}\n}}\n'
    for stream, text in told.items():
        try:  # noqa: SIM105  # contextlib would be one more thing to load before this is heard
            os.write(stream, text.encode())
        except OSError:  # closed, full, or without a reader
            pass
    os._exit(status)


if __name__ == "__main__":
    main()
