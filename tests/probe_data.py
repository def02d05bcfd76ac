"""The data of a project under test: texts of different lengths whose batches say what they hold.

It stands for a user's own data.py. What happens to each rank goes into the file PROBE names.
"""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, get_worker_info

from config import Config
from engine.errors import leave_if

SAMPLES, VAL_SAMPLES, LONGEST, BAD = 43, 17, 12, 7  # numbers that no number of ranks divides


class Text(NamedTuple):
    """One text, or with a dimension more many of them."""

    values: Tensor  # float32[T]
    targets: Tensor  # float32[T]
    length: Tensor  # int64[], of the targets that count


@dataclass(frozen=True)
class Batch:
    """Names before all tensors, and one kind in the other, as teams have them."""

    about: list[dict[str, Any]]
    numbers: tuple[Tensor]  # int64[B]
    text: Text


def collate(items: list[tuple[int, Text]]) -> Batch:
    """Texts of different lengths, the shorter ones padded."""
    numbers, texts = zip(*items, strict=True)
    values, targets, lengths = zip(*texts, strict=True)
    text = Text(padded(values), padded(targets), torch.stack(lengths))
    about = [
        {"name": f"text {number}", "length": length}
        for number, length in zip(numbers, lengths, strict=True)
    ]
    return Batch(about, (torch.tensor(numbers),), text)


def padded(rows: tuple[Tensor, ...]) -> Tensor:
    return pad_sequence(list(rows), batch_first=True)


def this_rank() -> str:
    """The rank, on one machine; Fabric tells a rank it has started its local rank only."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))


def record(**facts: Any) -> None:
    """Write one line about this rank."""
    if "PROBE" in os.environ:
        with Path(os.environ["PROBE"]).open("a") as file:
            file.write(json.dumps({"rank": int(this_rank()), **facts}) + "\n")


def texts(samples: int, seed: int) -> list[Text]:
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, LONGEST + 1, (samples,), generator=random)
    values = torch.randn(samples, LONGEST, generator=random)
    return [
        Text(row[:length], row[:length].sin(), length)
        for row, length in zip(values, lengths, strict=True)
    ]


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
        train[BAD].values[0] = number
    if fault == "validation":
        val[BAD].values[0] = number
    for text in train if fault == "no target" else val if fault == "no validation target" else ():
        text.length.zero_()
    return Texts(train, os.environ.get("PROBE_DATA", "")), Texts(val)


class Texts(Dataset[Any]):
    """Texts with their numbers. One may be unreadable, or no other process can be given them."""

    def __init__(self, texts: list[Text], fault: str = "") -> None:
        self.texts, self.fault = texts, fault
        self.read = (lambda: None) if fault == "pickle" else None

    def __len__(self) -> int:
        return {"empty": 0, "small": 1}.get(self.fault, len(self.texts))

    def __getitem__(self, sample: int) -> tuple[int, Text]:
        if get_worker_info() is not None:
            record(loader=os.getpid())
        if self.fault == "bad" and sample == BAD:
            raise OSError("the file ends too soon")
        return sample, self.texts[sample]


def augment(item: Any, seed: int, config: Config) -> Any:
    return item
