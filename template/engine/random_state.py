"""Random numbers: seeds, and the states of Python's, numpy's, torch's and the GPU's generators."""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

ASIDE = np.random.MT19937(0)  # what numpy draws from while data is read


def mix(*parts: object) -> int:
    """A seed made of all parts, 0..2**32 - 1: torch's generator on a CPU takes no more bits."""
    return zlib.crc32(repr(parts).encode())


def seed_everything(*parts: object) -> None:
    """Seed the random generators of this process from all parts together."""
    random.seed(mix(*parts))
    np.random.seed(mix(*parts))
    torch.manual_seed(mix(*parts))


@contextmanager
def own_random_numbers(*parts: object) -> Iterator[None]:
    """Let Python, numpy and torch draw from other streams meanwhile, which all parts together seed.

    Reading data must neither use up the random numbers of training, for some loaders read ahead,
    nor depend on which process reads. The GPU's are as they were: data is read on the host. And
    numpy loses the second of a pair of normal numbers, if it has one in reserve.
    """
    seed, python, torch_state = mix(*parts), random.getstate(), torch.get_rng_state()
    numpy = np.random.mtrand.get_bit_generator()  # to change it takes microseconds, its state fifty
    np.random.mtrand.set_bit_generator(ASIDE)
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.mtrand.set_bit_generator(numpy)
        torch.set_rng_state(torch_state)


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
