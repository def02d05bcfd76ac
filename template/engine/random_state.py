"""The states of the random generators: Python's, numpy's, torch's, and the GPU's."""

import random
from typing import Any

import numpy as np
import torch


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
