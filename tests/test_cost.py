"""What the tests cost is counted, and too much is red."""

import sys
from pathlib import Path

import pytest

from conftest import ROOT, environment, run

A_TEST = """
import subprocess, sys
import cost

def test_a_launch():
    cost.note(cost.LAUNCHES)
    env = cost.COUNTED | {"PYTHONPATH": f"{cost.COUNTED['PYTHONPATH']}:FOLDER"}
    for module in ("json", "torch", "torch"):
        subprocess.run([sys.executable, "-c", f"import {module}"], env=env, check=True)
"""
A_PLUGIN = """
from cost import *
import cost

cost.BUDGET = {"": {cost.TORCH: MOST}}
"""


@pytest.mark.parametrize(("most", "words"), [(1, ["-n", "1"]), (2, []), (1, ["-k", "launch"])])
def test_a_whole_run_that_costs_more_than_it_may_is_red(
    most: int, words: list[str], tmp_path: Path
) -> None:
    """Over all workers; a part of the tests may cost what it costs."""
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text(A_TEST.replace("FOLDER", str(tmp_path)))
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    (tmp_path / "plugin.py").write_text(A_PLUGIN.replace("MOST", str(most)))
    env = environment(PYTHONPATH=f"{tmp_path}:{ROOT / 'tests'}")
    words = [sys.executable, "-m", "pytest", "-p", "plugin", *words]
    result = run(words, tmp_path, env=env)
    is_red = most < 2 and "-k" not in words
    assert result.status == is_red, result.out + result.err
    assert "1 launches, 2 processes that imported torch, " in result.out
    told = "too many: 2 processes that imported torch, 1 allowed (tests/cost.py)"
    assert (told in result.out) == is_red
