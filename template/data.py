"""The data, and which samples each rank reads. Replace the datasets with yours; keep the rest."""

import csv
import gzip
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

from runtime import mix

Batch = list[Tensor]
DIGITS = Path(__file__).with_name("digits.csv.gz")


def build_datasets() -> tuple[TensorDataset, TensorDataset]:
    """(train, val): 1437 and 360 images, the same on every rank.

    An item is (image: float32[1, 8, 8] in 0..1, digit: int64[]). Every fifth image is for
    validation. Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (1998),
    UCI Machine Learning Repository, doi.org/10.24432/C50P49, CC BY 4.0; its test set.
    """
    with gzip.open(DIGITS, "rt") as file:
        table = torch.tensor([[int(cell) for cell in row] for row in csv.reader(file)])
    images, digits = table[:, :64].float().view(-1, 1, 8, 8) / 16, table[:, 64]
    val = torch.arange(len(table)) % 5 == 0
    return TensorDataset(images[~val], digits[~val]), TensorDataset(images[val], digits[val])


class ShardedBatches(Sampler[list[int]]):
    """The indices that one rank reads, batch after batch, without end.

    The run reads one endless row of samples: epoch after epoch, each in an order of its own that
    depends on the seed and the epoch alone. Micro-batch k is the k-th slice of
    batch_size * world_size samples of that row, and rank r takes r, r + world_size, ... of it. So
    a step has the same samples on one rank and on many, every sample comes once per epoch, and a
    run that goes on just starts at a later micro-batch. Nothing is dropped where an epoch ends:
    the slice goes on with the next one.
    """

    # no method may be called set_epoch: libraries look for one and call it with their own counts

    def __init__(
        self,
        samples: int,  # in the dataset
        batch_size: int,  # samples per rank and micro-batch
        rank: int,
        world_size: int,
        seed: int,
        start: int = 0,  # the first micro-batch to give
        shuffle: bool = True,
    ) -> None:
        self.samples, self.batch_size, self.rank, self.world_size = (
            samples,
            batch_size,
            rank,
            world_size,
        )
        self.seed, self.start, self.shuffle = seed, start, shuffle
        self.epoch = -1  # whose order is at hand

    def __iter__(self) -> Iterator[list[int]]:
        size = self.batch_size * self.world_size
        for micro_batch in count(self.start):
            positions = range(
                micro_batch * size + self.rank, (micro_batch + 1) * size, self.world_size
            )
            yield [self.sample(position) for position in positions]

    def sample(self, position: int) -> int:
        """The sample at a position of the endless row."""
        epoch, index = divmod(position, self.samples)
        if not self.shuffle:
            return index
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(mix(self.seed, epoch))
            self.epoch, self.order = epoch, torch.randperm(self.samples, generator=generator)
        return int(self.order[index])


def build_loader(
    dataset: Dataset[Any], batches: Sampler[list[int]], workers: int, seed: tuple[int, int, int]
) -> DataLoader[Any]:
    """The loader of the training data: batches of Tensor[batch_size, ...].

    seed is that of the workers' random numbers: (of the run, rank, first micro-batch).
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        # a worker forked from a process with CUDA and threads can hang
        multiprocessing_context="forkserver" if workers else None,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        # its own: the loader would draw from the global one, and a resumed dropout would differ
        generator=torch.Generator().manual_seed(mix(*seed)),
    )


def build_val_loader(dataset: Any, batch_size: int, rank: int, world_size: int) -> DataLoader[Any]:
    """Give this rank's part of the validation data: every sample on one rank, none twice."""
    mine = range(rank, len(dataset), world_size)
    # a generator of its own here too: validating must not change what training draws next
    return DataLoader(dataset, batch_size, sampler=mine, generator=torch.Generator())


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch, or what a list or a dict holds, on the device; copied while that computes."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: to_device(part, device) for name, part in batch.items()}
    return [to_device(part, device) for part in batch] if isinstance(batch, list) else batch
