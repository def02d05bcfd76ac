"""What an error means to the reader: its line, what to do, and whether it is a consequence."""

import errno
import re
from itertools import takewhile
from multiprocessing import synchronize
from pathlib import Path
from traceback import walk_tb

import torch
import torch.distributed as dist
from torch.multiprocessing import reductions

SHARED = Path("/dev/shm")  # Linux
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
# how gloo, NCCL and their store see that another rank is gone
LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Socket closed",
    "remote process exited",
    "Failed to recv",
)
UNMADE = "making a batch of"
METRICS = "in metrics of model.py"
WRAPPED = "`model` is wrapped for training: loss_sums in model.py calls it, and forward gives "
WRAPPED += "whatever else the loss needs"
HINTS = {
    METRICS: "mend it there: it gets the sums of all ranks, float64 on the CPU, and any may be 0; "
    "of tensors 0 / 0 is nan, which is logged as null",
    "build_model() got an unexpected": "in model.py let it take `new: bool = False`: whether a run "
    "begins, which is when it may read pre-trained weights",
    "'distributeddataparallel' object has no": WRAPPED,
    "from outside the model": WRAPPED,  # as Fabric says of a method
    UNMADE: "collate in data.py makes a batch of the items that build_datasets gives: let it pad, "
    "pack or list what does not stack",
    "pickle": "with --workers, data.py must keep what it builds at the top level of a module; or "
    "set --workers 0",
    "out of memory": "lower --micro_batch_size: the result stays the same",
    "shared memory": "make room in /dev/shm (docker run --shm-size 8g, or --ipc host), or lower "
    "--workers",
    "af_unix path": "workers of the loader have sockets in TMPDIR: export TMPDIR=/tmp",
    "new thread": "see ulimit -u, and the limit of processes of the container or the job",
    "memoryerror": "the memory is full: lower --workers or --micro_batch_size",
    "exited unexpectedly": "a worker of the loader died, perhaps of too little memory; "
    "set --workers 0 to see",
}
GO_ON = "mend the cause and start again: a run goes on from its last checkpoint"
AGAIN = "start again: the run goes on from its last checkpoint, if it has one"
ENDINGS = {
    "SIGKILL": f"was the memory full, or did somebody end it? {AGAIN}",
    "SIGABRT": f"did all ranks call the same collectives? C++ says above what went wrong; {AGAIN}",
    "SIGBUS": f"is /dev/shm full, or a file shorter than before? {AGAIN}",
    "SIGSEGV": "an error in compiled code, reached from the line above; unset "
    f"TORCH_DISTRIBUTED_DEBUG if it is DETAIL; {AGAIN}",
    "status": f"did it call os._exit, or a library? {AGAIN}",
    "without a word": f"was the memory full, or did somebody end it? {AGAIN}",
    "lost another rank": "the first error on the other machines is the cause, or the network "
    f"between them; {AGAIN}",
}


def is_loss(error: BaseException) -> bool:
    """Whether the error says no more than that another rank is gone."""
    return isinstance(error, (RuntimeError, dist.DistError)) and any(
        word in str(error) for word in LOST
    )


def is_disk(error: BaseException) -> bool:
    """Whether nothing can be written, of which a traceback tells no more."""
    return isinstance(error, OSError) and error.errno in DISK


def is_shared(error: BaseException) -> bool:
    """Whether the memory is full that processes share, where a lock has no file to name."""
    return is_disk(error) and any(
        frame.f_code.co_filename == synchronize.__file__
        for frame, _ in walk_tb(error.__traceback__)
    )


def place(error: BaseException, run_dir: Path) -> Path:
    """Where nothing can be written."""
    return SHARED if is_shared(error) else Path(getattr(error, "filename", None) or run_dir)


def is_worker(error: BaseException) -> bool:
    """Whether a worker of the loader went before this rank could take what it had sent."""
    return isinstance(error, (EOFError, OSError)) and any(
        frame.f_code.co_filename == reductions.__file__ for frame, _ in walk_tb(error.__traceback__)
    )


def summary(error: BaseException) -> str:
    """The error on one line, with where it arose as far as somebody noted that."""
    lines = str(error).strip().splitlines() or ["no reason given"]
    # a worker of the loader sends its traceback as text, of which the unindented end is the error
    tail = list(takewhile(lambda line: line[:1].strip(), reversed(lines)))[::-1]
    said = tail if lines[0].startswith("Caught ") and tail else lines[:1]
    # gloo names a place in its source, and gives advice
    said = [re.sub(r"^\[/\S+\] |\. This is typically .*", "", line) for line in said]
    if is_worker(error):
        said.append("a worker of the loader is gone")
    return ", ".join([*said, *getattr(error, "__notes__", ())])


def of_ending(what: str) -> str:
    """What the reader can do where a rank has ended or was lost, and could not say why."""
    return next((remedy for word, remedy in ENDINGS.items() if word in what), AGAIN)


def hint(error: BaseException) -> str:
    """What the reader can do."""
    if isinstance(error, torch.OutOfMemoryError):
        return HINTS["out of memory"]
    if is_worker(error):
        return HINTS["exited unexpectedly"]
    if is_shared(error):
        return HINTS["shared memory"]
    if is_disk(error):
        return "make room or set another --run_dir, and start again: the run goes on"
    text = f"{type(error).__name__} {error} {getattr(error, '__notes__', '')}".lower()
    return next((remedy for word, remedy in HINTS.items() if word in text), GO_ON)
