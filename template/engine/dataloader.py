"""The loaders of a rank: batches of samples that are read, augmented and brought to the device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from config import Config
from engine.errors import leave_if
from engine.random_state import mix
from engine.sampler import Key
from engine.signals import end_with_parent, start_forkserver

Augment = Callable[[Any, int, Config], Any]  # (item, seed, settings) -> the item as it is read


class Reader(Dataset[Any]):
    """The training data as it is read: a sample of an epoch, augmented (augment in data.py)."""

    def __init__(self, dataset: Any, augment: Augment, config: Config) -> None:
        self.dataset, self.augment, self.config = dataset, augment, config
        self.read: list[int] = []  # by --check alone

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> Any:
        epoch, sample = key
        if self.config.check:
            self.read.append(sample)
        with naming(sample, "training"):
            seed = mix(self.config.seed, epoch, sample)
            return self.augment(self.dataset[sample], seed, self.config)


class ValReader(Dataset[Any]):
    """The validation data as it is read."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, sample: int) -> Any:
        with naming(sample, "validation"):
            return self.dataset[sample]


class Numbers(Dataset[int]):
    """What shares.py reads instead: each sample is its own number."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, key: Key) -> int:
        return key[1]


@contextmanager
def naming(sample: int, data: str) -> Iterator[None]:
    """Let an error tell which sample was read."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while reading sample {sample} of the {data} data")
        raise


def build_loader(
    data: Dataset[Any], batches: Sampler[list[Key]], config: Config, stream: tuple[int, int]
) -> DataLoader[Any]:
    """The loader of the training data: batches of Tensor[batch_size, ...].

    stream tells the workers' random numbers apart: (rank, first micro-batch).
    """
    if config.workers:
        start_forkserver()
    return DataLoader(
        data,
        batch_sampler=batches,
        num_workers=config.workers,
        # a worker forked from a process with CUDA and threads can hang
        multiprocessing_context="forkserver" if config.workers else None,
        worker_init_fn=end_with_parent,
        persistent_workers=config.workers > 0,
        pin_memory=torch.cuda.is_available(),
        # its own: the loader would draw from the global one, and a resumed dropout would differ
        generator=torch.Generator().manual_seed(mix(config.seed, *stream)),
    )


def build_val_loader(dataset: Any, batch_size: int, rank: int, world_size: int) -> DataLoader[Any]:
    """Give this rank's part of the validation data: every sample on one rank, none twice."""
    if len(dataset) == 0:
        remedy = "return at least one sample from build_datasets in data.py"
        leave_if([("the validation data is empty", remedy)])
    mine = range(rank, len(dataset), world_size)
    # a generator of its own here too: validating must not change what training draws next
    return DataLoader(ValReader(dataset), batch_size, sampler=mine, generator=torch.Generator())


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch, or what a list or a dict holds, on the device; copied while that computes."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: to_device(part, device) for name, part in batch.items()}
    return [to_device(part, device) for part in batch] if isinstance(batch, list) else batch
