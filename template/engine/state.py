"""A state as a checkpoint holds it: tensors, numbers and texts in lists, tuples and dicts."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

# what stands for itself, and is read without running code
PLAIN = {str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device}


def simple(state: Any) -> bool:
    """Whether a checkpoint may hold it: it is read without running code."""
    if type(state) in (dict, OrderedDict, Counter):  # the last in schedulers of torch
        return all(map(simple, (*state.keys(), *state.values())))
    if type(state) in (list, tuple, torch.Size):
        return all(map(simple, state))
    return isinstance(state, Tensor) or type(state) in PLAIN


def tensors(state: Any) -> Iterator[Tensor]:
    """All tensors in it."""
    if isinstance(state, Tensor):
        yield state
    inside = state.values() if isinstance(state, dict) else state
    for part in inside if isinstance(state, (dict, list, tuple)) else ():
        yield from tensors(part)


def copied(state: Any) -> Any:
    """The state as it is now, in the memory of the CPU: training goes on changing the tensors."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return type(state)({name: copied(part) for name, part in state.items()})
    if isinstance(state, (list, tuple)):
        return type(state)(map(copied, state))
    return state


def beside(here: Any, saved: Any) -> Any:
    """A saved state with its tensors on the devices of those in their places here."""
    if isinstance(saved, Tensor):
        return saved.to(here.device) if isinstance(here, Tensor) else saved
    if isinstance(saved, dict):
        places = here if isinstance(here, dict) else {}
        return type(saved)({name: beside(places.get(name), part) for name, part in saved.items()})
    if isinstance(saved, (list, tuple)):
        now = [*(here if isinstance(here, (list, tuple)) else ()), *[None] * len(saved)]
        return type(saved)(beside(*pair) for pair in zip(now, saved, strict=False))
    return saved


def comparable(value: Any) -> Any:
    """A value to be compared and told: no tensors, no tuples, six digits of a float."""
    if isinstance(value, Tensor):
        return comparable(value.tolist())
    if isinstance(value, (list, tuple)):
        return [comparable(part) for part in value]
    if isinstance(value, dict):
        return {name: comparable(part) for name, part in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value
