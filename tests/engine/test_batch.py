"""A batch may be anything that a team trains on, and all of it goes to the device."""

import dataclasses
from collections import OrderedDict, UserDict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import Dataset, IterableDataset

from config import Config
from engine.batch import to_device
from engine.dataloader import build_val_loader
from engine.reader import Reader, batched
from engine.sampler import ShardedBatches

META = torch.device("meta")  # a device that is not the CPU, on any machine


class Pair(NamedTuple):
    image: Tensor
    label: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    image: Tensor
    more: Any = None


@dataclasses.dataclass
class Cached:
    image: Tensor
    size: int = dataclasses.field(init=False, default=3)


@dataclasses.dataclass
class Made:
    image: Tensor
    unset: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.mask = self.image > 0


class Named(list[Any]):
    name = "ours"


class Encoding(UserDict[str, Tensor]):
    """As of a tokenizer: it is a dict and goes to a device as a whole."""

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "Encoding":
        assert non_blocking
        return Encoding({name: tensor.to(device) for name, tensor in self.items()})


class Graph:
    """Its `to` knows devices alone, changes the graph and returns nothing."""

    def __init__(self) -> None:
        self.nodes = torch.zeros(2)

    def to(self, device: torch.device) -> None:
        self.nodes = self.nodes.to(device)


def image() -> Tensor:
    return torch.zeros(2, 3)


BATCHES = [
    image(),
    [image(), "a name", 3, None, 0.5],
    (image(), (image(), "a name")),
    Pair(image(), [Pair(image(), "cat")]),
    {"name": "first", "image": image(), "more": {"image": image()}},
    OrderedDict(name=["a", "b"], image=image()),
    UserDict(name=["a", "b"], image=image()),
    Frozen(image(), {"name": Frozen(image())}),
    Cached(image()),
    Made(image()),
    Named([image(), Named([image()])]),
    torch.Size([2, 3]),
    pack_sequence([torch.zeros(3), torch.zeros(2)]),
    [pack_sequence([torch.zeros(3), torch.zeros(2)]), {"text": Encoding(ids=image())}],
    ["only words", {}, (), []],
]


def walk(batch: Any) -> list[Any]:
    """All that a batch holds, tensors and others, found by another way than ours."""
    if isinstance(batch, Tensor):
        return [batch]
    if isinstance(batch, PackedSequence):
        return [batch.data]
    if isinstance(batch, dict | UserDict):
        return [found for part in batch.values() for found in walk(part)]
    if dataclasses.is_dataclass(batch):
        slots = [field.name for field in dataclasses.fields(batch)]
        names = vars(batch) if hasattr(batch, "__dict__") else slots
        return [found for name in names for found in walk(getattr(batch, name))]
    return [f for part in batch for f in walk(part)] if isinstance(batch, list | tuple) else [batch]


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: type(batch).__name__)
def test_all_tensors_of_a_batch_go_to_the_device_and_all_else_stays(batch: Any) -> None:
    before = walk(batch)
    after = to_device(batch, META)
    assert type(after) is type(batch)
    for old, new in zip(before, walk(after), strict=True):
        if isinstance(old, Tensor):
            assert (new.device, new.shape, old.device.type) == (META, old.shape, "cpu")
        else:
            assert new is old


def test_what_moves_as_a_whole_and_returns_nothing_is_the_same() -> None:
    graph = Graph()
    assert to_device({"graph": graph}, META)["graph"] is graph
    assert graph.nodes.device == META


def test_what_has_no_way_to_a_device_stays_as_it_is() -> None:
    thing, kind = SimpleNamespace(to="a word"), torch.Tensor
    assert to_device([thing, kind], META) == [thing, kind]


def test_items_that_do_not_stack_are_told_with_the_place_of_the_remedy() -> None:
    from data import collate
    from engine.hints import hint, summary

    with pytest.raises(RuntimeError) as caught:
        batched(collate, [torch.zeros(2), torch.zeros(3)])
    assert "while making a batch of 2 samples" in summary(caught.value)
    assert "collate in data.py" in hint(caught.value)


class Stream(IterableDataset[int]):
    """Samples that come one after the other."""

    def __iter__(self) -> Iterator[int]:
        return iter((1, 2, 3))


class Sized(Stream):
    """It knows how many, and not how to get one."""

    def __len__(self) -> int:
        return 3


class Unsized(Dataset[int]):
    """It knows how to get one, and not how many."""

    def __getitem__(self, sample: int) -> int:
        return sample


@pytest.mark.parametrize("dataset", [Stream(), Sized(), Unsized(), iter([1])])
def test_a_stream_is_refused_with_the_way_to_go(
    dataset: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_change(item: Any, _seed: int, _config: Config) -> Any:
        return item

    for build in (
        lambda: Reader(dataset, no_change, Config()),
        lambda: build_val_loader(dataset, Config(), 0, 1),
    ):
        with pytest.raises(SystemExit) as caught:
            build()
        assert caught.value.code == 2
        fact, remedy = capsys.readouterr().err.splitlines()
        assert f"{type(dataset).__name__}, has no length, or no samples by number" in fact
        assert "__len__ and __getitem__ in data.py" in remedy


def test_a_list_is_data_enough() -> None:
    reader = Reader([3, 4, 5], lambda item, _seed, _config: item, Config())
    order = ShardedBatches(len(reader), 3, 0, 1, seed=0)
    assert sorted(reader.__getitems__(next(iter(order)))) == [3, 4, 5]
