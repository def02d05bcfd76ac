"""The order of the samples is a function of the seed and the step, and nothing else."""

import random
from collections import Counter
from itertools import islice, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, Sampler, Subset

from config import Config
from data import augment, build_datasets, collate
from engine.batch import to_device
from engine.dataloader import build_loader, build_val_loader
from engine.random_state import random_state
from engine.reader import Reader, batched
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
    config = Config(micro_batch_size=32)
    ranks = [build_val_loader(val_set, config, rank, world_size) for rank in range(world_size)]
    batches = [batch for loader in ranks for batch in loader.batch_sampler or ()]
    read = Counter(sample for batch in batches for sample in batch)
    assert read == Counter(range(360))
    assert sum(len(batch[0]) for loader in ranks for batch in loader) == 360


def test_loading_draws_nothing_from_the_random_numbers_of_training() -> None:
    """Else a model with dropout would differ after a resume, or with another validate_every."""
    train_set, val_set = build_datasets(Config())
    order = ShardedBatches(len(train_set), 8, 0, 1, seed=0)
    before = torch.get_rng_state()
    next(iter(build_loader(Reader(train_set, augment, Config()), order, Config(), (0, 0))))
    assert len(list(build_val_loader(val_set, Config(), 0, 1))) == 45
    assert torch.equal(torch.get_rng_state(), before)


def test_loader_workers_draw_other_numbers_on_each_rank_and_after_a_resume() -> None:
    train_set, _ = build_datasets(Config())
    order = ShardedBatches(len(train_set), 8, 0, 1, seed=0)
    streams = list(product((0, 1), repeat=3))
    loaders = [
        build_loader(
            Reader(train_set, augment, Config()),
            order,
            Config(seed=seed),
            (rank, start),
        )
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


class Drawing(Dataset[Any]):
    """Data that draws from the generators that all of a process share."""

    def __len__(self) -> int:
        return 43

    def __getitem__(self, sample: int) -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def drawn(workers: int, start: int, count: int) -> list[Any]:
    """What batches from a micro-batch on have drawn."""
    config = Config(workers=workers)
    order = ShardedBatches(43, 8, 0, 1, seed=0, start=start)
    loader = build_loader(Reader(Drawing(), keep, config), order, config, (0, start))
    return [torch.stack(batch).tolist() for batch in islice(loader, count)]


def copied(item: Any, _seed: int, _config: Config) -> Any:
    return tuple(part.clone() for part in item)


def keep(item: Any, _seed: int, _config: Config) -> Any:
    return item


def test_what_data_draws_depends_on_its_place_and_changes_nothing_else() -> None:
    """Not on workers, a resume or a library that reads ahead; and training's numbers stay."""
    torch.rand(3)
    before = random_state()
    alone = drawn(workers=0, start=0, count=8)
    validation = list(build_val_loader(Drawing(), Config(), 0, 1))
    after = random_state()
    assert torch.equal(after["torch"], before["torch"])
    assert (after["python"], repr(after["numpy"])) == (before["python"], repr(before["numpy"]))
    assert torch.equal(after["numpy"][0], before["numpy"][0])
    assert drawn(workers=0, start=5, count=3) == alone[5:]
    assert drawn(workers=2, start=0, count=8) == alone
    assert len({str(batch) for batch in alone}) == 8
    again = list(build_val_loader(Drawing(), Config(), 0, 1))
    assert str(again) == str(validation)


class Transformed(Subset[Any]):
    """As many write it: a part of some data with a transform; Subset itself can read at once."""

    def __init__(self, dataset: Any) -> None:  # torch 2.13 would want a __getitems__ of its own
        self.dataset, self.indices = dataset, range(8)

    def __getitem__(self, index: Any) -> Any:
        return [-value for value in self.dataset[index]]


def test_a_getitem_of_ones_own_wins_over_an_inherited_getitems() -> None:
    items = Reader(Transformed(Drawing()), keep, Config()).__getitems__([(0, 1), (0, 2)])
    assert all(value < 0 for item in items for value in item)
    at_once = Subset(Drawing(), list(range(8)))
    assert len(Reader(at_once, keep, Config()).__getitems__([(0, 1), (0, 2)])) == 2


def test_each_item_is_changed_as_soon_as_it_is_read() -> None:
    """Whole images of a batch would take too much memory; and some data reuses its buffer."""
    order: list[str] = []

    class Noted(Drawing):
        def __getitem__(self, sample: int) -> list[float]:
            order.append(f"read {sample}")
            return []

    def change(item: Any, _seed: int, _config: Config) -> Any:
        order.append("changed")
        return item

    Reader(Noted(), change, Config()).__getitems__([(0, 7), (0, 3)])
    assert order == ["read 7", "changed", "read 3", "changed"]


def test_parts_of_a_batch_in_the_place_of_its_items_are_refused() -> None:
    class Parts(Drawing):
        def __getitems__(self, samples: list[int]) -> Any:
            return {"x": torch.zeros(len(samples))}

    with pytest.raises(TypeError, match="must give a list of 2 items"):
        Reader(Parts(), keep, Config()).__getitems__([(0, 7), (0, 3)])


@pytest.mark.parametrize("fault", ["alone", "at once", "augment"])
def test_an_error_names_the_samples_that_were_read(fault: str) -> None:
    class Faulty(Drawing):
        def __getitem__(self, sample: int) -> list[float]:
            if fault == "alone" and sample == 7:
                raise OSError("the file ends too soon")
            return super().__getitem__(sample)

    class AtOnce(Faulty):
        def __getitems__(self, samples: list[int]) -> list[Any]:
            raise OSError("the file ends too soon")

    def change(_item: Any, _seed: int, _config: Config) -> Any:
        if fault == "augment":
            raise OSError("the file ends too soon")

    data = AtOnce() if fault == "at once" else Faulty()
    with pytest.raises(OSError, match="ends too soon") as caught:
        Reader(data, change, Config()).__getitems__([(0, 7), (0, 3)])
    named = "samples 7, 3" if fault == "at once" else "sample 7"
    assert caught.value.__notes__ == [f"while reading {named} of the training data"]


def test_tensors_are_read_at_once_as_one_by_one() -> None:
    train_set, _ = build_datasets(Config())
    keys = [(0, 5), (0, 3), (1, 5)]
    at_once = batched(collate, Reader(train_set, augment, Config()).__getitems__(keys))
    alone = batched(collate, Reader(train_set, copied, Config()).__getitems__(keys))
    assert all(map(torch.equal, at_once, alone))
    assert type(at_once) is type(alone) is list
    assert at_once[0].shape == (3, 1, 8, 8)
