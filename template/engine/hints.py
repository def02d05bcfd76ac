"""What an error means to the reader: its line, what to do, and whether it is a consequence."""

import errno
from itertools import takewhile

import torch
import torch.distributed as dist

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# how gloo, NCCL and their store see that another rank is gone
LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Socket closed",
    "remote process exited",
    "Failed to recv",
)
HINTS = {
    "pickle": "with --workers, data.py must keep what it builds at the top level of a module; or "
    "set --workers 0",
    "out of memory": "lower --micro_batch_size: the result stays the same",
    "exited unexpectedly": "a worker of the loader died, perhaps of too little memory; "
    "set --workers 0 to see",
}
GO_ON = "mend the cause and start again: a run goes on from its last checkpoint"


def is_loss(error: Exception) -> bool:
    """Whether the error says no more than that another rank is gone."""
    return isinstance(error, (RuntimeError, dist.DistError)) and any(
        word in str(error) for word in LOST
    )


def is_disk(error: Exception) -> bool:
    """Whether nothing can be written, of which a traceback tells no more."""
    return isinstance(error, OSError) and error.errno in DISK


def summary(error: Exception) -> str:
    """The error on one line, with where it arose as far as somebody noted that."""
    lines = str(error).strip().splitlines() or ["no reason given"]
    # a worker of the loader sends its traceback as text, of which the unindented end is the error
    tail = list(takewhile(lambda line: line[:1].strip(), reversed(lines)))[::-1]
    said = tail if lines[0].startswith("Caught ") and tail else lines[:1]
    return ", ".join([*said, *getattr(error, "__notes__", ())])


def hint(error: Exception) -> str:
    """What the reader can do."""
    if is_loss(error):
        return "see what the launcher says about the rank that is gone; was the memory full?"
    if isinstance(error, torch.OutOfMemoryError):
        return HINTS["out of memory"]
    text = f"{type(error).__name__} {error}".lower()
    return next((remedy for word, remedy in HINTS.items() if word in text), GO_ON)
