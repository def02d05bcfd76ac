"""Draw the curves of runs from their metrics.jsonl: `python plot.py runs/a runs/b`."""

from engine import begin  # isort: skip  # noqa: F401  # first: for Ctrl-C while the others load
import argparse
import json
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

# name in metrics.jsonl -> (title, unit); metrics of yours have panels of their names before lr
PANELS = {
    "loss": ("training loss", "nats per target"),
    "val_loss": ("validation loss", "nats per target"),
    "accuracy": ("training accuracy", "share of targets"),
    "val_accuracy": ("validation accuracy", "share of targets"),
    "lr": ("learning rate", "lr, no unit"),
    "grad_norm": ("gradient norm", "L2, before clipping"),
    "samples_per_second": ("throughput", "samples per second"),
    "targets_per_second": ("throughput in targets", "targets per second"),
}
NO_CURVE = {"step", "val_samples", "peak_memory_mib"}
SPREAD = ("loss", "val_loss", "grad_norm")  # may need a log scale
Lines = list[dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dirs", nargs="+", type=Path, help="directories of runs")
    parser.add_argument("--out", type=Path, default=Path("curves.png"), help="file to write")
    arguments = parser.parse_args()
    found = {str(run_dir): read(run_dir) for run_dir in arguments.run_dirs}
    runs = {name: lines for name, lines in found.items() if lines}
    if short := [name for name in found if name not in runs]:
        print(f"nothing to draw yet: {', '.join(short)}", file=sys.stderr)
    if not runs:
        leave("no run holds numbers", "wait until one trains or validates")
    try:
        save(draw(runs), arguments.out)
    except ImportError:
        leave("matplotlib is not installed", "pip install -e '.[plot]'")
    except (OSError, ValueError) as error:
        leave(f"cannot write `{arguments.out}`: {error}", "give --out a file such as curves.png")
    print(f"{arguments.out} shows {', '.join(runs)}")


def read(run_dir: Path) -> Lines:
    """The lines of metrics.jsonl, none where no curve is in them.

    Ends the program where they cannot be read.
    """
    path = run_dir / "metrics.jsonl"
    try:
        texts = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        remedy = "name run directories, for example runs/default, or all with runs/*/"
        leave(f"`{run_dir}` is no run: {error}", remedy)
    lines: Lines = []
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
            # null: no number, and the curve has a gap there
            known = {name: math.nan if x is None else float(x) for name, x in line.items()}
            lines.append({**known, "step": float(line["step"])})
        except (ValueError, KeyError, TypeError, AttributeError):
            fact = f"{path} line {number} is no step with numbers: `{text[:40]}`"
            leave(fact, "delete the line")
    return lines if any(line.keys() - NO_CURVE for line in lines) else []


def curves(runs: dict[str, Lines]) -> list[str]:
    """The names of all that any run has, a metric of the validation behind that of the training."""
    found = {name: 0 for lines in runs.values() for line in lines for name in line}
    own = {name.removeprefix("val_"): 0 for name in found if name not in NO_CURVE | PANELS.keys()}
    known = list(PANELS)
    at = known.index("lr")
    pairs = [pair for name in own for pair in (name, f"val_{name}")]
    return [name for name in [*known[:at], *pairs, *known[at:]] if name in found]


def draw(runs: dict[str, Lines]) -> Any:
    """A matplotlib figure: one panel per quantity that any run has, one colour per run."""
    # without pyplot, which would look for a display
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    names = curves(runs)
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(4.2 * columns, 0.6 + 2.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    colors = colormaps["tab10" if len(runs) <= 10 else "turbo"].resampled(max(10, len(runs)))
    for left, right in pairwise(range(len(names))):
        # where they part, the network only learns by heart; before a scale is set, for matplotlib
        # gives that to a panel that shares it later by name alone
        if names[right] == f"val_{names[left]}":
            figure.axes[right].sharey(figure.axes[left])
    for name, panel in zip(names, axes, strict=False):
        fill(panel, name, runs, colors)
    for panel in list(figure.axes)[len(names) :]:
        panel.remove()
    figure.align_ylabels()
    entries = figure.axes[0].get_legend_handles_labels()
    fitting = max(1, 40 * columns // (5 + max(map(len, runs))))  # entries in a row
    figure.legend(*entries, loc="outside upper left", ncols=fitting, frameon=False)
    return figure


def fill(panel: Any, name: str, runs: dict[str, Lines], colors: Callable[[int], Any]) -> None:
    """Put one quantity of all runs into a panel."""
    values: list[float] = []
    for number, (run_dir, lines) in enumerate(runs.items()):
        steps = [line["step"] for line in lines if name in line]
        points = [line[name] for line in lines if name in line]
        values += filter(math.isfinite, points)
        # a few points are seen as such, and one alone is seen at all
        shape = ".-" if len(points) < 40 else "-"
        panel.plot(steps, points, shape, linewidth=1.4, color=colors(number), label=run_dir)
    title, unit = PANELS.get(name, (name, "as metrics in model.py gives it"))
    panel.set_title(title, loc="left", fontsize=11)
    panel.set(xlabel="optimizer steps", ylabel=unit)
    if name in SPREAD and values and min(values) > 0 and max(values) > 10 * min(values):
        panel.set_yscale("log")
    if name.endswith("_per_second"):
        panel.set_ylim(bottom=0)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def save(figure: Any, out: Path) -> None:
    """Write a picture as a whole, or leave what was there."""
    beside = out.parent / f".{out.stem}{out.suffix or '.png'}"
    try:
        figure.savefig(beside, dpi=150)
        beside.replace(out)
    finally:
        with suppress(OSError):
            beside.unlink()


def leave(fact: str, remedy: str) -> NoReturn:
    sys.exit(f"error: {fact}\nhint: {remedy}")


if __name__ == "__main__":
    main()
