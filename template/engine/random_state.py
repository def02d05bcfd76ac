"""Random numbers: seeds, and the states of Python's, numpy's, torch's and the GPU's generators."""

import random
import zlib
from typing import Any

import numpy as np
import torch


def mix(*parts: object) -> int:
    """A seed made of all parts, 0..2**32 - 1: torch's generator on a CPU takes no more bits."""
    return zlib.crc32(repr(parts).encode())


def seed_everything(*parts: object) -> None:
    """Seed the random generators of this process from all parts together."""
    random.seed(mix(*parts))
    np.random.seed(mix(*parts))
    torch.manual_seed(mix(*parts))


def random_state() -> dict[str, Any]:
    """The states of this rank's random generators, in types that weights_only loads."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    _, keys, *rest = np.random.get_state(legacy=True)  # always of kind MT19937
    numpy = [torch.from_numpy(np.asarray(keys, "int64")), *rest]
    states = {"python": random.getstate(), "numpy": numpy, "torch": torch.get_rng_state()}
    return {**states, "cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    """Go on where `random_state` was taken."""
    random.setstate(state["python"])
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype("uint32"), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
