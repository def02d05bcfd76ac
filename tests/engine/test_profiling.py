"""What --profile says; what it writes is seen in test_traps.py, and so is --check."""

from dataclasses import replace

import pytest

from config import Config
from engine.profiling import profiled


@pytest.mark.parametrize("rank", [0, 1])
def test_a_range_of_steps_that_are_done_is_told_once(
    rank: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that goes on after step 5 makes the steps 6 to 8 and no trace."""
    config = replace(Config(), steps=8, profile="2:5")
    assert list(profiled(range(6, 9), config, rank)) == [6, 7, 8]
    told = "no trace is written: the steps 2:5 of --profile are done\n"
    assert capsys.readouterr().out == ("" if rank else told)


def test_without_a_range_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(profiled(range(6, 9), Config(), 0)) == [6, 7, 8]
    assert capsys.readouterr().out == ""
