"""The data of a project under test: texts of different lengths whose batches say what they hold.

It stands for a user's own data.py. What happens to each rank goes into the file PROBE names.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, get_worker_info

from config import Config
from engine.errors import leave_if

Batch = list[Tensor]
SAMPLES, VAL_SAMPLES, LONGEST, BAD = 43, 17, 12, 7  # numbers that no number of ranks divides


def this_rank() -> str:
    """The rank, on one machine; Fabric tells a rank it has started its local rank only."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))


def record(**facts: Any) -> None:
    """Write one line about this rank."""
    if "PROBE" in os.environ:
        with Path(os.environ["PROBE"]).open("a") as file:
            file.write(json.dumps({"rank": int(this_rank()), **facts}) + "\n")


def texts(samples: int, seed: int) -> TensorDataset:
    """(number: int64[], length: int64[], values: float32[12], targets: float32[12]) each."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, LONGEST + 1, (samples,), generator=random)
    values = torch.randn(samples, LONGEST, generator=random)
    return TensorDataset(torch.arange(samples), lengths, values, values.sin())


def build_datasets(config: Config) -> tuple[Dataset[Any], Dataset[Any]]:
    record(pid=os.getpid(), waiting=dist.is_initialized())
    if os.environ.get("PROBE_DATA") == "refuse" and this_rank() == "1":
        leave_if([("no data on this machine", "copy it here")])
    if os.environ.get("PROBE_DATA") == "missing":
        raise FileNotFoundError("no data here")
    if os.environ.get("PROBE_DATA") == "exit" and this_rank() == "0":
        sys.exit("no data at all")
    if os.environ.get("PROBE_DATA") == "stop" and this_rank() == "1":
        time.sleep(2)  # the other one waits for this one
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)
    if os.environ.get("PROBE_DATA") == "fork" and os.fork() == 0:
        time.sleep(60)  # as a tool that prepares data in the background
        os._exit(0)
    if os.environ.get("PROBE_BLIND") == this_rank():
        from engine import retention

        # a file system that shows this rank no checkpoints, or old ones
        retention.steps = lambda _: []  # type: ignore[assignment]
    train, val = texts(SAMPLES, 1), texts(VAL_SAMPLES, 2)
    fault, number = os.environ.get("PROBE_NUMBER", ""), float(os.environ.get("PROBE_VALUE", "nan"))
    if fault == "training":
        train.tensors[2][BAD, 0] = number
    if fault == "validation":
        val.tensors[2][BAD, 0] = number
    if fault == "no target":
        train.tensors[1][:] = 0
    if fault == "no validation target":
        val.tensors[1][:] = 0
    return Faulty(train), val


class Faulty(Dataset[Any]):
    """A dataset in which one sample cannot be read, or which no other process can be given."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset, self.fault = dataset, os.environ.get("PROBE_DATA", "")
        self.read = (lambda: None) if self.fault == "pickle" else None

    def __len__(self) -> int:
        return 0 if self.fault == "empty" else 1 if self.fault == "small" else SAMPLES

    def __getitem__(self, sample: int) -> Any:
        if get_worker_info() is not None:
            record(loader=os.getpid())
        if self.fault == "bad" and sample == BAD:
            raise OSError("the file ends too soon")
        return self.dataset[sample]


def augment(item: Any, seed: int, config: Config) -> Any:
    return item
