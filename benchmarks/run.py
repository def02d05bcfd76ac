"""Runs all benchmarks, prints their table, and puts it into README.md with the conditions.

python benchmarks/run.py
"""

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path

from measure import Comparison
from project import sampler, saving, step
from tool import new, startup, switch

README = Path(__file__).with_name("README.md")
HEADER = ["comparison", "ratio", "min", "max", "target", "seconds"]
LIBRARIES = ("torch", "lightning", "accelerate", "copier", "cookiecutter", "click")


def main() -> None:
    """Measure everything; the README changes only when all went well."""
    described = conditions()  # with the load before ours
    parts = (startup, new, switch, sampler, saving, step)
    results = table([comparison for part in parts for comparison in part.comparisons()])
    print(f"{results}\n\n{described}")
    put("results", f"{results}\n\n{described}")


def put(mark: str, text: str) -> None:
    """Write results into README.md, between a mark and its end."""
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    before, rest = README.read_text().split(begin)
    README.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")


def table(comparisons: list[Comparison]) -> str:
    """The results as a Markdown table whose columns are aligned as text, too."""
    rows = [HEADER, *(comparison.row() for comparison in comparisons)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in rows
    )


def conditions() -> str:
    """Where and with what this was measured, in one paragraph."""
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    cores = len(os.sched_getaffinity(0))
    device = "two GPUs, NCCL" if step.GPUS else "CPU, gloo, one thread per process"
    return (
        f"`make bench` on {date.today()}: {platform.system()} {platform.machine()}, {cores} cores, "
        f"load average before {os.getloadavg()[0]:.1f}; steps on {device}; "
        f"Python {platform.python_version()}, {versions}."
    )


if __name__ == "__main__":
    main()
