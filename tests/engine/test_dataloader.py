"""The order of the samples is a function of the seed and the step, and nothing else."""

from collections import Counter
from itertools import islice, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Sampler

from config import Config
from data import augment, build_datasets
from engine.dataloader import Reader, build_loader, build_val_loader, to_device
from engine.sampler import ShardedBatches


def global_batches(
    samples: int, size: int, world_size: int, count: int, start: int = 0
) -> list[set[int]]:
    """What all ranks read together in each of `count` steps of `size` samples per rank."""
    ranks = [
        ShardedBatches(samples, size, rank, world_size, 3, start) for rank in range(world_size)
    ]
    return [
        {sample for share in shares for _, sample in share}
        for shares in zip(*(islice(rank, count) for rank in ranks), strict=True)
    ]


@given(st.integers(24, 200), st.integers(0, 30))
def test_ranks_and_passes_do_not_change_a_step_and_a_start_only_skips(
    samples: int, start: int
) -> None:
    alone = global_batches(samples, 12, 1, 40)
    assert global_batches(samples, 4, 3, 40) == alone
    assert global_batches(samples, 6, 2, 10, start) == alone[start : start + 10]
    # two passes of two ranks make the same step
    halves = global_batches(samples, 3, 2, 80)
    assert [halves[2 * k] | halves[2 * k + 1] for k in range(40)] == alone


def test_every_sample_comes_once_per_epoch_in_a_new_order() -> None:
    batches = islice(ShardedBatches(43, 1, 0, 1, seed=0), 3 * 43)
    order = [sample for batch in batches for _, sample in batch]
    epochs = [order[0:43], order[43:86], order[86:]]
    assert all(sorted(epoch) == list(range(43)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3
    other = [key[1] for (key,) in islice(ShardedBatches(43, 1, 0, 1, seed=1), 43)]
    assert other != epochs[0]


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 400])
def test_validation_reads_every_sample_once_on_any_number_of_ranks(world_size: int) -> None:
    _, val_set = build_datasets(Config())
    ranks = [build_val_loader(val_set, 32, rank, world_size) for rank in range(world_size)]
    read = Counter(index for loader in ranks for index in loader.sampler)
    assert read == Counter(range(360))
    assert sum(len(batch[0]) for loader in ranks for batch in loader) == 360


def test_loading_draws_nothing_from_the_random_numbers_of_training() -> None:
    """Else a model with dropout would differ after a resume, or with another validate_every."""
    train_set, val_set = build_datasets(Config())
    order = ShardedBatches(len(train_set), 8, 0, 1, seed=0)
    before = torch.get_rng_state()
    next(iter(build_loader(Reader(train_set, augment, Config()), order, Config(), (0, 0))))
    assert len(list(build_val_loader(val_set, 32, 0, 1))) == 12
    assert torch.equal(torch.get_rng_state(), before)


def test_loader_workers_draw_other_numbers_on_each_rank_and_after_a_resume() -> None:
    train_set, _ = build_datasets(Config())
    order = ShardedBatches(len(train_set), 8, 0, 1, seed=0)
    streams = list(product((0, 1), repeat=3))
    loaders = [
        build_loader(Reader(train_set, augment, Config()), order, Config(seed=seed), (rank, start))
        for seed, rank, start in streams
    ]
    assert len({loader.generator.initial_seed() for loader in loaders}) == len(streams)


def test_libraries_find_no_set_epoch_to_call() -> None:
    assert issubclass(ShardedBatches, Sampler)
    assert not hasattr(ShardedBatches, "set_epoch")


def test_a_batch_of_any_shape_goes_to_the_device() -> None:
    tensor, meta = torch.ones(2), torch.device("meta")
    moved = to_device({"x": [tensor, {"y": tensor}], "name": "a"}, meta)
    assert moved["x"][0].device == moved["x"][1]["y"].device == meta
    assert moved["name"] == "a"


def test_the_digits_are_real() -> None:
    train_set, val_set = build_datasets(Config())
    assert (len(train_set), len(val_set)) == (1437, 360)
    image, digit = train_set[0]
    assert image.shape == (1, 8, 8)
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert int(digit) in range(10)
