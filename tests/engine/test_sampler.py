"""The order of the samples is computed, and as even as a shuffled deck."""

import math
import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from config import Config
from data import augment, build_datasets
from engine.dataloader import build_loader
from engine.memmap import ArrayFiles, TokenFile
from engine.reader import Reader
from engine.sampler import ShardedBatches, scramble, shuffled

SEEDS = 4000


def orders(samples: int, first: int | None = None) -> Tensor:
    """int64[SEEDS, first]: the first samples of an epoch's order, or all, for many seeds."""
    first = first or samples
    seeds = scramble(torch.arange(SEEDS).repeat_interleave(first))
    return shuffled(torch.arange(first).repeat(SEEDS), samples, seeds).view(SEEDS, first)


def surprise(counts: Tensor) -> float:
    """How far counts are from even, in standard deviations of the chi-squared distribution."""
    expected, freedom = counts.sum() / counts.numel(), counts.numel() - 1
    chi_squared = ((counts - expected) ** 2 / expected).sum().item()
    return (chi_squared - freedom) / math.sqrt(2 * freedom)


@given(st.integers(1, 3000), st.integers(0, 10**9))
def test_an_order_has_every_sample_once(samples: int, seed: int) -> None:
    found = shuffled(torch.arange(samples), samples, torch.full((samples,), seed))
    assert found.sort().values.tolist() == list(range(samples))


@pytest.mark.parametrize("samples", [2, 3, 5, 16, 43, 100])
def test_every_sample_is_equally_often_at_every_position(samples: int) -> None:
    found = orders(samples)
    counts = torch.stack(
        [torch.bincount(found[:, position], minlength=samples) for position in range(samples)]
    )
    # each row and each column sums to SEEDS: as many degrees of freedom are missing
    freedom = (samples - 1) ** 2
    chi_squared = ((counts - SEEDS / samples) ** 2 / (SEEDS / samples)).sum().item()
    assert abs(chi_squared - freedom) / math.sqrt(2 * freedom) < 5


@pytest.mark.parametrize("samples", [3, 5, 16, 43, 100, 10**6])
def test_neighbours_are_at_any_distance(samples: int) -> None:
    """The sample after one is any other, equally often."""
    first = orders(samples, min(samples, 100))
    distances = (first[:, 1:] - first[:, :-1]) % samples
    if samples > 100:
        distances = distances * 100 // samples
        assert surprise(torch.bincount(distances.flatten(), minlength=100).double()) < 5
    else:
        assert surprise(torch.bincount(distances.flatten(), minlength=samples)[1:].double()) < 5


def test_each_order_of_four_samples_is_equally_likely() -> None:
    codes = orders(4) @ torch.tensor([64, 16, 4, 1])
    _, counts = codes.unique(return_counts=True)
    assert len(counts) == 24
    assert surprise(counts.double()) < 5


def test_seeds_and_epochs_that_follow_each_other_have_unlike_orders() -> None:
    """As many samples stay at their place as between any two orders: one, on average."""
    row = [ShardedBatches(1000, 1, 0, 1, seed) for seed in range(40)]
    read = torch.tensor([[key[1] for (key,) in islice(batches, 3000)] for batches in row])
    epochs = read.view(-1, 1000)  # three of each seed
    same = (epochs[1:] == epochs[:-1]).sum(dim=1).double()
    assert abs(same.mean() - 1) < 0.5
    assert same.max() < 8


@pytest.mark.parametrize("samples", [10**6, 10**9, 2**40])
def test_any_number_of_samples_needs_the_memory_of_a_chunk(samples: int) -> None:
    """Also in the middle, and where an epoch ends."""
    start = (samples - 100) // 8  # micro-batch
    tracemalloc.start()
    batches = list(islice(ShardedBatches(samples, 8, 0, 1, seed=0, start=start), 20))
    peak = tracemalloc.get_traced_memory()[1]  # bytes
    tracemalloc.stop()
    assert peak < 2**21
    epochs = [epoch for batch in batches for epoch, _ in batch]
    assert sorted(set(epochs)) == [0, 1]
    assert epochs == sorted(epochs)
    assert all(0 <= sample < samples for batch in batches for _, sample in batch)


def test_augmentation_is_the_same_for_any_number_of_ranks_and_workers() -> None:
    """Row 9: it depends on the seed, the epoch and the sample; ranks and epochs differ in it."""
    config = Config(augment=2, workers=0)
    train_set, _ = build_datasets(config)

    def images(world_size: int, workers: int) -> dict[tuple[int, int], Tensor]:
        found: dict[tuple[int, int], Tensor] = {}
        for rank in range(world_size):
            size = 48 // world_size
            order = ShardedBatches(100, size, rank, world_size, seed=0)
            settings = Config(augment=2, workers=workers)
            loader = build_loader(Reader(train_set, augment, settings), order, settings, (rank, 0))
            for keys, (batch, _) in zip(islice(order, 5), loader, strict=False):
                found |= dict(zip(keys, batch, strict=True))
        return found

    alone = images(1, 0)
    for world_size, workers in ((2, 0), (3, 0), (1, 2)):
        others = images(world_size, workers)
        assert others.keys() == alone.keys()
        assert all(torch.equal(others[key], alone[key]) for key in alone)
    twice = [sample for epoch, sample in alone if epoch == 1]
    assert len(twice) == 100
    moved = [sample for sample in twice if not torch.equal(alone[0, sample], alone[1, sample])]
    assert len(moved) > 80  # 24 of 25 by chance
    assert images(1, 0).keys() == alone.keys()


def test_files_of_any_size_are_read_through_workers(tmp_path: Path) -> None:
    """Mapped into memory, and not copied to the workers."""
    rows = np.arange(400, dtype=np.float32).reshape(100, 4)
    np.save(tmp_path / "images.npy", rows)
    np.save(tmp_path / "labels.npy", np.arange(100))
    arrays = ArrayFiles(tmp_path / "images.npy", tmp_path / "labels.npy")
    (tmp_path / "tokens.bin").write_bytes(bytes(range(101)))
    tokens = TokenFile(tmp_path / "tokens.bin", context=10)
    assert len(tokens) == 10
    assert tokens[9][1].tolist() == list(range(91, 101))
    with pytest.raises(IndexError):
        tokens[10]
    assert len(TokenFile(tmp_path / "tokens.bin", 10, first=50, last=71)) == 2
    config = Config(workers=1)
    batches = ShardedBatches(100, 10, 0, 1, 0)
    loader = build_loader(Reader(arrays, augment, config), batches, config, (0, 0))
    read = [batch for batch, _ in zip(loader, range(10), strict=False)]
    labels = torch.cat([batch[1] for batch in read])
    assert labels.sort().values.tolist() == list(range(100))
    assert torch.equal(torch.cat([batch[0] for batch in read])[:, 0], 4.0 * labels)
    batches = ShardedBatches(10, 5, 0, 1, 0)
    loader = build_loader(Reader(tokens, augment, config), batches, config, (0, 0))
    inputs, targets = next(iter(loader))
    assert torch.equal(inputs + 1, targets)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    np.save(tmp_path / "b.npy", np.zeros(4))
    with pytest.raises(ValueError, match="different numbers of rows"):
        ArrayFiles(tmp_path / "a.npy", tmp_path / "b.npy")
