"""The example learns. Change it with your data."""

from pathlib import Path

import numpy as np

from config import Config
from conftest import metrics
from data import build_datasets


def test_it_learns(learned: Path) -> None:
    last = metrics(learned)[-1]
    _, val_set = build_datasets(Config())
    targets = len(val_set) * Config.context
    assert last["step"] == Config.steps
    # what one byte tells about the next is learned first; lower is what more of them tell
    assert last["val_loss"] < 0.9 * bigram_entropy(val_set.tokens[: targets + 1])
    assert last["val_samples"] == len(val_set)  # every window once


def bigram_entropy(text: np.ndarray) -> float:
    """The mean loss, in nats, of the best network that sees one byte only: uint8[N] -> 0..ln 256.

    Of all such networks the one made for this very text: none does better on it.
    """
    counts = np.zeros((256, 256))
    np.add.at(counts, (text[:-1], text[1:]), 1)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    return float(-(counts * np.log(shares.clip(1e-300))).sum() / counts.sum())
