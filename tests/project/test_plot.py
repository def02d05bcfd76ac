"""plot.py: the curves of runs in one picture."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

import plot
from conftest import TEMPLATE, Result, environment, run

TITLES = [title for title, _ in plot.PANELS.values()]


def write(run_dir: Path, rate: float, steps: int = 100) -> Path:
    """A run as metrics.py writes it: a line each 10 steps, one more at a validation."""
    run_dir.mkdir(parents=True)
    with (run_dir / "metrics.jsonl").open("w") as file:
        for step in range(10, steps + 1, 10):
            loss = 2.3 * math.exp(-rate * step)
            values = {"loss": loss, "lr": 1e-3, "grad_norm": 1.0, "samples_per_second": 900.0}
            values |= {"targets_per_second": 1800.0, "accuracy": 0.25}
            file.write(json.dumps({"step": step, **values, "peak_memory_mib": 5.0}) + "\n")
            if step % 50 == 0:
                values = {"val_loss": loss, "val_accuracy": 0.5, "val_samples": 360}
                file.write(json.dumps({"step": step, **values}) + "\n")
    return run_dir


def draw(folder: Path, *words: object, **env: str) -> Result:
    command = [sys.executable, str(TEMPLATE / "plot.py"), *map(str, words)]
    return run(command, folder, env=environment(**env))


def curves(panel: Any) -> dict[str, list[tuple[float, float]]]:
    """Legend entry -> its points."""
    return {
        line.get_label(): list(zip(*map(list, line.get_data()), strict=True))
        for line in panel.get_lines()
    }


def test_each_panel_has_the_points_of_each_run(tmp_path: Path) -> None:
    runs = {name: plot.read(write(tmp_path / name, rate)) for name, rate in [("a", 0.01), ("b", 1)]}
    figure = plot.draw(runs)
    assert [panel.get_title("left") for panel in figure.axes] == TITLES
    for name, panel in zip(plot.PANELS, figure.axes, strict=True):
        assert curves(panel) == {
            run: [(line["step"], line[name]) for line in lines if name in line]
            for run, lines in runs.items()
        }
        assert panel.get_xlabel() == "optimizer steps"
        assert panel.get_ylabel()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    colors = [line.get_color() for panel in figure.axes for line in panel.get_lines()]
    assert len(set(colors)) == 2
    assert colors == colors[:2] * len(TITLES)


def test_losses_share_an_axis_that_is_logarithmic_when_they_fall_tenfold(tmp_path: Path) -> None:
    for rate, scale in [(0.01, "linear"), (0.1, "log")]:
        figure = plot.draw({"run": plot.read(write(tmp_path / scale, rate))})
        scales = {panel.get_title("left"): panel.get_yscale() for panel in figure.axes}
        assert scales["training loss"] == scales["validation loss"] == scale
        assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
        heights = [panel.transScale.transform((1, 0.01))[1] for panel in figure.axes[:2]]
        assert heights == [pytest.approx(-2 if scale == "log" else 0.01)] * 2
        assert scales["learning rate"] == scales["throughput"] == "linear"


def test_what_no_run_has_is_no_panel_and_what_one_lacks_no_error(tmp_path: Path) -> None:
    short, empty = write(tmp_path / "short", 0.1, steps=40), tmp_path / "validation"
    empty.mkdir()
    figure = plot.draw({"short": plot.read(short)})
    assert [panel.get_title("left") for panel in figure.axes] == [
        *("training loss", "training accuracy", "learning rate", "gradient norm", "throughput"),
        "throughput in targets",
    ]
    (empty / "metrics.jsonl").write_text('{"step": 50, "val_loss": NaN}\n')
    figure = plot.draw({"short": plot.read(short), "empty": plot.read(empty)})
    assert [panel.get_title("left") for panel in figure.axes] == [
        *(
            "training loss",
            "validation loss",
            "training accuracy",
            "learning rate",
            "gradient norm",
            "throughput",
            "throughput in targets",
        )
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["short", "empty"]


def test_metrics_of_any_name_are_drawn_with_those_of_the_validation_beside_them(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "run", 0.01, steps=50) / "metrics.jsonl"
    with path.open("a") as file:
        for step in (60, 70):
            file.write(f'{{"step": {step}, "val_f1": 0.5, "val_loss": 1.0, "val_mae": 2.0}}\n')
            file.write(f'{{"step": {step}, "f1": 0.75, "loss": 1.0}}\n')
    figure = plot.draw({"run": plot.read(path.parent)})
    titles = [panel.get_title("left") for panel in figure.axes]
    assert titles == [*TITLES[:4], "f1", "val_f1", "val_mae", *TITLES[4:]]
    panels = dict(zip(titles, figure.axes, strict=True))
    assert curves(panels["f1"]) == {"run": [(60, 0.75), (70, 0.75)]}
    assert curves(panels["val_f1"]) == {"run": [(60, 0.5), (70, 0.5)]}
    assert panels["f1"].get_ylim() == panels["val_f1"].get_ylim()
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "metrics.jsonl").write_text('{"step": 1, "val_auc": 0.5, "val_samples": 4}\n')
    (panel,) = plot.draw({"alone": plot.read(alone)}).axes
    assert panel.get_title("left") == "val_auc"


def test_what_was_no_number_is_a_gap(tmp_path: Path) -> None:
    """As null in the file, or NaN as earlier versions wrote it."""
    path = write(tmp_path / "run", 0.01, steps=20) / "metrics.jsonl"
    with path.open("a") as file:
        for step, value in ((30, "null"), (40, "0.5"), (50, "NaN"), (60, "0.25")):
            file.write(f'{{"step": {step}, "val_loss": {value}}}\n')
    lines = plot.read(path.parent)
    losses = [line["val_loss"] for line in lines if "val_loss" in line]
    assert [loss if loss == loss else None for loss in losses] == [None, 0.5, None, 0.25]
    figure = plot.draw({"run": lines})
    (line,) = figure.axes[1].get_lines()
    assert list(line.get_xdata()) == [30, 40, 50, 60]


def test_the_command_writes_a_picture_without_a_display(tmp_path: Path) -> None:
    for number in range(11):  # more than there are named colours
        write(tmp_path / "runs" / str(number), 0.01 * number, steps=100 * (number + 1))
    result = draw(tmp_path, *sorted((tmp_path / "runs").iterdir()), DISPLAY="", MPLBACKEND="TkAgg")
    assert (result.status, result.err) == (0, "")
    head = (tmp_path / "curves.png").read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    assert width > 1500
    assert height > 800
    assert draw(tmp_path, "runs/1", "--out", "one.svg").status == 0
    assert (tmp_path / "one.svg").read_text().count("runs/1") > 0


@pytest.mark.parametrize(
    ("lines", "fact"),
    [
        (None, "`run` is no run: [Errno 2] No such file or directory: 'run/metrics.jsonl'"),
        ('{"step": 1, "loss": 1}\n{"ste', "run/metrics.jsonl line 2 is no step with numbers"),
        ('{"loss": 1}\n', "run/metrics.jsonl line 1 is no step with numbers"),
        ('{"step": 1, "loss": "high"}\n', "run/metrics.jsonl line 1 is no step with numbers"),
        ("[1]\n", "run/metrics.jsonl line 1 is no step with numbers"),
        ('{"step": null, "loss": 1}\n', "run/metrics.jsonl line 1 is no step with numbers"),
    ],
)
def test_bad_input_is_two_lines(lines: str | None, fact: str, tmp_path: Path) -> None:
    if lines is not None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "metrics.jsonl").write_text(lines)
    check_two_lines(draw(tmp_path, "run"), fact)
    assert not (tmp_path / "curves.png").exists()


def test_a_run_that_has_no_numbers_yet_keeps_no_other_from_being_drawn(tmp_path: Path) -> None:
    write(tmp_path / "long", 0.1)
    for name, text in (("early", '{"step": 1}\n'), ("empty", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(text)
    result = draw(tmp_path, "early", "long", "empty")
    assert (result.status, result.out) == (0, "curves.png shows long\n")
    assert result.err == "nothing to draw yet: early, empty\n"
    assert draw(tmp_path, "early", "empty").err.endswith(
        "error: no run holds numbers\nhint: wait until one trains or validates\n"
    )


@pytest.mark.parametrize("bad", ['{"step": 2, "loss": "high"}', '{"step": "two"}', '{"ste'])
def test_what_the_hint_says_about_a_line_helps(bad: str, tmp_path: Path) -> None:
    """A start of the run would not: it keeps each line with a step, whatever else is in it."""
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text(f'{{"step": 1, "loss": 1}}\n{bad}\n')
    result = draw(tmp_path, "run")
    check_two_lines(result, "run/metrics.jsonl line 2 is no step with numbers")
    assert result.err.endswith("hint: delete the line\n")
    path.write_text(path.read_text().replace(f"{bad}\n", ""))
    assert draw(tmp_path, "run").status == 0


def test_a_missing_library_and_an_unwritable_file_are_two_lines(tmp_path: Path) -> None:
    write(tmp_path / "run", 0.1)
    for name in ("nope/curves.png", "curves.nope"):
        check_two_lines(draw(tmp_path, "run", "--out", name), f"cannot write `{name}`: ")
    # a module of this name that cannot be imported stands before the library
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    result = draw(tmp_path, "run", PYTHONPATH=str(tmp_path))
    check_two_lines(result, "matplotlib is not installed")
    assert result.err.endswith("hint: pip install -e '.[plot]'\n")


def check_two_lines(result: Result, fact: str) -> None:
    assert result.status == 1
    first, second = result.err.splitlines()
    assert first.startswith(f"error: {fact}")
    assert second.startswith("hint: ")
