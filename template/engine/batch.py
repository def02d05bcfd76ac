"""What a batch holds, and its way to the device."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

LARGE = 2**20  # bytes, of which a copy takes longer than a stream of its own costs


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch, or what a list or a dict holds, on the device; nobody waits for it.

    A large one is copied to a GPU beside what that still computes, and what is computed next waits.
    """
    parts = tensors(batch) if device.type == "cuda" else []
    if sum(part.nbytes for part in parts) < LARGE:
        return moved(batch, device)
    computing, copying = torch.cuda.current_stream(device), copies(device)
    torch.cuda.set_stream(copying)
    try:
        batch = moved(batch, device)
    finally:
        torch.cuda.set_stream(computing)
    computing.wait_stream(copying)
    for part in tensors(batch):
        part.record_stream(computing)  # or its memory would be written again before it is read
    return batch


@cache
def copies(device: torch.device) -> torch.cuda.Stream:
    """The stream of a device for copies to it."""
    return torch.cuda.Stream(device)


def moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: moved(part, device) for name, part in batch.items()}
    return [moved(part, device) for part in batch] if isinstance(batch, list) else batch


def tensors(batch: Any) -> list[Tensor]:
    """All tensors of a batch."""
    if isinstance(batch, Tensor):
        return [batch]
    parts = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, list) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def count(batch: Any) -> int:
    """The samples of a batch: the first dimension of its first tensor."""
    if isinstance(batch, dict):
        batch = list(batch.values())
    return len(batch) if isinstance(batch, Tensor) else count(batch[0])
