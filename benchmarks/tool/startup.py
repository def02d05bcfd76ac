"""What it costs to start `scaffold`: CPU time of --help, beside Python itself and two others."""

import sys
from pathlib import Path

from measure import Comparison, Pair, compare, cpu_seconds

BIN = Path(sys.executable).parent
ROUNDS = 15


def comparisons() -> list[Comparison]:
    """`scaffold --help` beside an empty Python program, copier and cookiecutter."""
    pairs = [
        Pair("`scaffold --help` / `python -c pass`", scaffold, python, target=5),
        Pair("`scaffold --help` / `copier --help`", scaffold, copier),
        Pair("`scaffold --help` / `cookiecutter --help`", scaffold, cookiecutter),
    ]
    return compare(pairs, ROUNDS, warm_up=True)


def scaffold() -> float:
    return cpu_seconds([str(BIN / "scaffold"), "--help"])


def python() -> float:
    return cpu_seconds([sys.executable, "-c", "pass"])


def copier() -> float:
    return cpu_seconds([str(BIN / "copier"), "--help"])


def cookiecutter() -> float:
    return cpu_seconds([str(BIN / "cookiecutter"), "--help"])
