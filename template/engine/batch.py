"""What a batch holds, and its way to the device."""

import copy
import dataclasses
import inspect
from collections.abc import Callable, MutableMapping
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

LARGE = 2**20  # bytes, of which a copy takes longer than a stream of its own costs


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch on the device, with all that it holds; nobody waits for what the loader has pinned.

    It may be a tensor or anything else with a method `to`, or hold such in lists, tuples, dicts and
    dataclasses, nested; what has none, as a text, stays as it is. Large tensors are copied to a GPU
    beside what that still computes, and what is computed next waits.
    """
    on_device = partial(mapped, partial(moved, device=device))
    found = parts(batch) if device.type == "cuda" else []
    # of anything else nobody knows what memory it has there
    tensors = [part for part in found if getattr(part, "layout", None) is torch.strided]
    if sum(part.nbytes for part in tensors) < LARGE or len(tensors) < len(found):
        return on_device(batch)
    computing, copying = torch.cuda.current_stream(device), copies(device)
    torch.cuda.set_stream(copying)
    try:
        batch = on_device(batch)
    finally:
        torch.cuda.set_stream(computing)
    computing.wait_stream(copying)
    for part in parts(batch):
        part.record_stream(computing)  # or its memory would be written again before it is read
    return batch


@cache
def copies(device: torch.device) -> torch.cuda.Stream:
    """The stream of a device for copies to it."""
    return torch.cuda.Stream(device)


def moved(part: Any, device: torch.device) -> Any:
    """A part of a batch on the device, where it can go there."""
    if isinstance(part, Tensor):
        return part.to(device, non_blocking=True)
    if not can_move(part):
        return part
    found = part.to(device, **({"non_blocking": True} if need_not_wait(type(part)) else {}))
    return part if found is None else found  # some change themselves


def can_move(part: Any) -> bool:
    """Whether it goes to a device as a whole: a tensor, a packed sequence, a graph."""
    return callable(getattr(part, "to", None)) and not isinstance(part, type)


def need_not_wait(kind: type[Any]) -> bool:
    """Whether what is of this type can go to a device while nobody waits for it."""
    try:
        known = inspect.signature(kind.to).parameters.values()
    except (TypeError, ValueError, AttributeError):
        return False
    return any(one.name == "non_blocking" or one.kind is one.VAR_KEYWORD for one in known)


def mapped(change: Callable[[Any], Any], batch: Any) -> Any:
    """The same batch with each of its parts changed: what no list, tuple, dict or dataclass is."""
    each = partial(mapped, change)
    if can_move(batch):
        return change(batch)
    made: Any
    if isinstance(batch, list):
        made = copy.copy(batch)
        made[:] = map(each, batch)
        return made
    if isinstance(batch, MutableMapping):
        made = copy.copy(batch)
        made.update((name, each(part)) for name, part in batch.items())
        return made
    if isinstance(batch, tuple):
        made = getattr(batch, "_make", type(batch))  # with names or without
        return made(map(each, batch))
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        made = copy.copy(batch)
        slots = [field.name for field in dataclasses.fields(batch) if hasattr(batch, field.name)]
        for name in list(getattr(batch, "__dict__", slots)):
            object.__setattr__(made, name, each(getattr(batch, name)))  # frozen or not
        return made
    return change(batch)


def parts(batch: Any) -> list[Any]:
    """All that can move of a batch."""
    found = []

    def note(part: Any) -> Any:
        if can_move(part):
            found.append(part)
        return part

    mapped(note, batch)
    return found
