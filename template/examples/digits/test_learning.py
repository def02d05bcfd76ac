"""The example learns. Change it with your data."""

from pathlib import Path

from config import Config
from conftest import metrics


def test_it_learns(learned: Path) -> None:
    last = metrics(learned)[-1]
    assert last["step"] == Config.steps
    assert last["val_accuracy"] >= 0.97
    assert last["val_samples"] == 360  # every sample once
