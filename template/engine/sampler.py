"""Which samples each rank reads, and when: a function of the seed and the step alone."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from engine.errors import leave_if
from engine.random_state import mix

Key = tuple[int, int]  # (epoch, sample)
# samples whose order is computed at once, few at a start; one by one takes 1000 times as long
FIRST, MOST = 2**12, 2**16


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
        if samples == 0:
            remedy = "return at least one sample from build_datasets in data.py"
            leave_if([("the training data is empty", remedy)])
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.start, self.shuffle = start, shuffle

    def __iter__(self) -> Iterator[list[Key]]:
        size, first = self.batch_size, self.start
        at_once, most = max(1, FIRST // size), max(1, MOST // size)  # micro-batches
        while True:
            mine = torch.arange(first * size, (first + at_once) * size)
            epochs, samples = self.keys(mine * self.world_size + self.rank)
            for pair in zip(epochs.split(size), samples.split(size), strict=True):
                yield list(zip(*(numbers.tolist() for numbers in pair), strict=True))
            first, at_once = first + at_once, min(2 * at_once, most)

    def keys(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """What stands at positions of the endless row: int64[N] -> (epochs, samples: int64[N])."""
        epochs, samples = positions // self.samples, positions % self.samples
        if self.shuffle:
            samples = shuffled(samples, self.samples, scramble(epochs + mix(self.seed)))
        return epochs, samples


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
