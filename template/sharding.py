"""Which samples each rank reads, and when: a function of the seed and the step alone."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from config import Config
from data import augment
from runtime import mix
from signals import start_forkserver

Key = tuple[int, int]  # (epoch, sample)
CHUNK = 4096  # samples whose order is computed at once; one by one takes a hundred times as long


class ShardedBatches(Sampler[list[Key]]):
    """The samples that one rank reads, batch after batch, without end.

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
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.start, self.shuffle = start, shuffle

    def __iter__(self) -> Iterator[list[Key]]:
        size = self.batch_size
        at_once = max(1, CHUNK // size)  # micro-batches
        for first in count(self.start, at_once):
            mine = torch.arange(first * size, (first + at_once) * size)
            keys = self.keys(mine * self.world_size + self.rank)
            yield from (keys[begin : begin + size] for begin in range(0, len(keys), size))

    def keys(self, positions: Tensor) -> list[Key]:
        """What stands at positions of the endless row: int64[N] -> N keys."""
        epochs, indices = positions // self.samples, positions % self.samples
        if self.shuffle:
            indices = shuffled(indices, self.samples, scramble(epochs + mix(self.seed)))
        return list(zip(epochs.tolist(), indices.tolist(), strict=True))


def shuffled(indices: Tensor, samples: int, seeds: Tensor) -> Tensor:
    """The samples at indices 0..samples - 1 of the orders that belong to the seeds: int64[N] each.

    Computed and never stored: start, memory and resume cost the same for any number of samples.
    A Feistel network (Luby and Rackoff, 1988) permutes the numbers of as many bits as needed; who
    falls outside walks on until inside (Black and Rogaway, 2002). With fewer than 6 rounds, orders
    of a handful of samples are not equally likely.
    """
    bits = max(2, (samples - 1).bit_length())
    low_bits = bits // 2
    low_mask, high_mask = (1 << low_bits) - 1, (1 << bits - low_bits) - 1
    found, walking = indices.clone(), torch.arange(len(indices))
    while len(walking):
        low, high, key = indices & low_mask, indices >> low_bits, seeds
        for _ in range(6):
            key = scramble(key + 1)
            high = high ^ scramble(low ^ key) & high_mask
            key = scramble(key + 1)
            low = low ^ scramble(high ^ key) & low_mask
        indices = high << low_bits | low
        inside = indices < samples
        found[walking[inside]] = indices[inside]
        walking, indices, seeds = walking[~inside], indices[~inside], seeds[~inside]
    return found


def scramble(numbers: Tensor) -> Tensor:
    """Numbers in which every bit depends on all bits of the given ones: int64[N] -> int64[N].

    Shifts and odd multipliers in turn, as in splitmix64 (Steele, Lea and Flood, 2014).
    """
    numbers = (numbers ^ numbers >> 31) * 0x2545F4914F6CDD1D
    numbers = (numbers ^ numbers >> 29) * 0x369DEA0F31A53F85
    return numbers ^ numbers >> 32


class Reader(Dataset[Any]):
    """The training data as it is read: a sample of an epoch, augmented."""

    def __init__(self, dataset: Any, config: Config) -> None:
        self.dataset, self.config = dataset, config
        self.read: list[int] = []  # by --check alone

    def __getitem__(self, key: Key) -> Any:
        epoch, sample = key
        if self.config.check:
            self.read.append(sample)
        return augment(self.dataset[sample], mix(self.config.seed, epoch, sample), self.config)


def build_loader(
    dataset: Any, batches: Sampler[list[Key]], config: Config, stream: tuple[int, int]
) -> DataLoader[Any]:
    """The loader of the training data: batches of Tensor[batch_size, ...].

    stream tells the workers' random numbers apart: (rank, first micro-batch).
    """
    if config.workers:
        start_forkserver()
    return DataLoader(
        Reader(dataset, config),
        batch_sampler=batches,
        num_workers=config.workers,
        # a worker forked from a process with CUDA and threads can hang
        multiprocessing_context="forkserver" if config.workers else None,
        persistent_workers=config.workers > 0,
        pin_memory=torch.cuda.is_available(),
        # its own: the loader would draw from the global one, and a resumed dropout would differ
        generator=torch.Generator().manual_seed(mix(config.seed, *stream)),
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
