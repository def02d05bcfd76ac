"""Ctrl-C while torch is being loaded, which takes seconds: one line, and not where that was.

To be imported before torch.
"""

import sys
from types import TracebackType


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say how the program ends; of an interrupt without a traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped by SIGINT before the first step: nothing is lost", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = tell
