"""Lets a program that trains nothing end without a traceback; imported before what loads slowly.

A Ctrl-C ends it at once, for it has nothing to lose; a reader that leaves does not end it at all.
"""

import os
import signal
import sys

# a program of this project, and not a test that imports it
here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120  # pathlib loads
if os.path.dirname(os.path.realpath(sys.argv[0])) == here:  # noqa: PTH120  # longer than all else
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not so under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from engine import output  # only now, for the same reason

    output.guard()
