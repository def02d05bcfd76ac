"""The data as it is read: samples, augmented, as batches, and an error that names them."""

from collections.abc import Callable
from operator import is_
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset, default_collate

from config import Config
from engine.errors import leave_if
from engine.hints import UNMADE
from engine.random_state import mix, own_random_numbers
from engine.sampler import Key

Augment = Callable[[Any, int, Config], Any]  # (item, seed, settings) -> the item as it is read
Collate = Callable[[list[Any]], Any]  # items -> a batch
Change = Callable[[Any, int], Any]  # (item, its place in the batch) -> the item


class Reader(Dataset[Any]):
    """The training data as it is read: samples of an epoch, changed by augment of data.py."""

    def __init__(
        self, dataset: Any, augment: Augment, config: Config, collate: Collate = default_collate
    ) -> None:
        refuse_stream(dataset, "training")
        self.dataset, self.augment, self.collate, self.config = dataset, augment, collate, config
        self.read: list[int] = []  # by --check alone

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, keys: list[Key]) -> list[Any]:
        """The items of a batch."""
        augment, config, samples = self.augment, self.config, [sample for _, sample in keys]

        def change(item: Any, place: int) -> Any:
            return augment(item, mix(config.seed, *keys[place]), config)

        if config.check:
            self.read += samples
        with own_random_numbers("batch", config.seed, *keys[0]):
            return read(self.dataset, samples, "training", change)


class ValReader(Dataset[Any]):
    """The validation data as it is read."""

    def __init__(self, dataset: Any, config: Config, collate: Collate) -> None:
        refuse_stream(dataset, "validation")
        self.dataset, self.collate, self.config = dataset, collate, config

    def __getitems__(self, samples: list[int]) -> list[Any]:
        with own_random_numbers("validation", self.config.seed, samples[0]):
            return read(self.dataset, samples, "validation", lambda item, _: item)


def refuse_stream(dataset: Any, data: str) -> None:
    """End the program where the samples of some data have no numbers by which to read them."""
    by_number = {"__getitem__", "__getitems__"} & set(dir(dataset))
    if isinstance(dataset, IterableDataset) or not (by_number and hasattr(dataset, "__len__")):
        fact = f"the {data} data, {type(dataset).__name__}, has no length, or no samples by number"
        leave_if([(fact, "give it __len__ and __getitem__ in data.py, as engine/memmap.py does")])


class Rows(list[Any]):
    """Items that are the rows of these tensors: a batch already."""

    columns: list[Tensor]


def batched(collate: Collate, items: list[Any]) -> Any:
    """The batch of some items, as collate of data.py makes it."""
    if isinstance(items, Rows) and collate is default_collate:
        return items.columns
    try:
        return collate(items)
    except Exception as error:
        error.add_note(f"while {UNMADE} {len(items)} samples")
        raise


def read(dataset: Any, samples: list[int], data: str, change: Change) -> list[Any]:
    """The items of a dataset, each changed as soon as it is read: at once where it can do that."""
    with Naming(data, samples) as naming:
        found = at_once(dataset, samples)
        items = []
        for naming.place, sample in enumerate(samples):
            item = dataset[sample] if found is None else found[naming.place]
            items.append(change(item, naming.place))
    return found if isinstance(found, Rows) and all(map(is_, items, found)) else items


def at_once(dataset: Any, samples: list[int]) -> list[Any] | None:
    """The items of a dataset that can read many; None: it reads one by one.

    Raises TypeError where it gives something else, as the parts of a batch.
    """
    if type(dataset) is TensorDataset:
        places = torch.tensor(samples)
        columns = [tensor[places] for tensor in dataset.tensors]
        found = Rows(zip(*(column.unbind() for column in columns), strict=True))
        found.columns = columns
        return found
    # not one that was inherited by a class with a __getitem__ of its own
    methods = {"__getitem__", "__getitems__"}
    defined = [methods & vars(kind).keys() for kind in type(dataset).__mro__]
    if "__getitems__" not in next(filter(None, defined), ()):
        return None
    items = dataset.__getitems__(samples)
    if not isinstance(items, list) or len(items) != len(samples):
        raise TypeError(f"__getitems__ must give a list of {len(samples)} items")
    return items


class Numbers(Dataset[int]):
    """What shares.py reads instead: each sample is its own number."""

    collate = staticmethod(default_collate)

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, key: Key) -> int:
        return key[1]


class Naming:
    """Lets an error tell which sample was read, or which ones."""

    def __init__(self, data: str, samples: list[int]) -> None:
        self.data, self.samples = data, samples
        self.place: int | None = None  # of the one that is read, where it is one by one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception):
            place, few = self.place, ", ".join(map(str, self.samples[:3]))
            more = ", ..." if len(self.samples) > 3 else ""
            named = f"samples {few}{more}" if place is None else f"sample {self.samples[place]}"
            error.add_note(f"while reading {named} of the {self.data} data")
