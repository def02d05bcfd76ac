"""What a run tells: metrics.jsonl, plain lines, and a bar where somebody watches."""

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from config import Config
from engine.metrics import Log, kept_lines
from engine.sums import Totals
from model import BEST
from model import metrics as model_metrics
from tracker import Tracker

INFINITY = float("inf")


def totals(loss: float = 32.0, targets: float = 64) -> Totals:
    """Sums of 64 samples, 48 of which are correct, as they come from all ranks."""
    found = Totals(torch.device("cpu"))
    value = torch.tensor(loss, requires_grad=True)
    found.add({"loss": value, "targets": targets, "correct": 48}, 64)
    return found


def log_of(tracker: Any, config: Config, rank: int, first_step: int, lowest: float) -> Log:
    return Log(tracker, model_metrics, BEST, config, rank, first_step, lowest)


pytestmark = pytest.mark.usefixtures("alone")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_a_bar_on_a_terminal_and_plain_lines_everywhere(
    stream: io.StringIO,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    log = log_of(Tracker, Config(run_dir=tmp_path), rank=0, first_step=0, lowest=INFINITY)
    log.validation(50, totals())
    log.close()
    assert ("50/200" in stream.getvalue()) == stream.isatty()
    assert capsys.readouterr().out == (
        f"{tmp_path} starts: world size 1, gloo\n"
        "step 50  val_loss 0.5  val_accuracy 0.75  val_samples 64\n"
    )


def test_other_ranks_write_and_print_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_of(Tracker, Config(run_dir=tmp_path / "run"), rank=1, first_step=0, lowest=INFINITY)
    log.train(11, totals(), 0.1, torch.tensor(1.0))
    log.validation(11, totals())
    log.close()
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().out == ""


def test_a_run_that_goes_on_repeats_no_line_and_keeps_its_settings_when_done(
    tmp_path: Path,
) -> None:
    config = Config(run_dir=tmp_path, steps=20)
    log = log_of(Tracker, config, rank=0, first_step=0, lowest=INFINITY)
    for step in (5, 10, 15):
        log.validation(step, totals())
    log.close()
    again = log_of(Tracker, config, rank=0, first_step=10, lowest=INFINITY)
    again.validation(15, totals())
    again.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [5, 10, 15]
    settings = (tmp_path / "config.toml").read_text()
    shorter = Config(run_dir=tmp_path, steps=3)
    log_of(Tracker, shorter, rank=0, first_step=20, lowest=INFINITY).close()
    assert (tmp_path / "config.toml").read_text() == settings


def test_lines_that_a_crash_left_half_written_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 3}\nrubbish}\n{"step": 2}\n{"ste')
    assert kept_lines(path, 2) == ['{"step": 1}\n', '{"step": 2}\n']


@pytest.mark.parametrize("loss", ["nan", "inf", "-inf"])
def test_what_is_no_number_is_null_in_the_file_and_no_point_of_a_tracker(
    loss: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The terminal shows it; the run goes on, and no checkpoint has it."""
    told: list[tuple[int, dict[str, float]]] = []

    class Told(Tracker):
        def log(self, step: int, values: dict[str, float]) -> None:
            told.append((step, values))

    log = log_of(Told, Config(run_dir=tmp_path), rank=0, first_step=0, lowest=0.25)
    log.validation(50, totals(float(loss)))
    log.close()
    assert (log.validated, log.improved, log.lowest) == ({}, False, 0.25)
    assert f"step 50  val_loss {loss}  val_accuracy 0.75  " in capsys.readouterr().out
    line = '{"step": 50, "val_loss": null, "val_accuracy": 0.75, "val_samples": 64}\n'
    assert (tmp_path / "metrics.jsonl").read_text() == line
    assert told == [(50, {"val_accuracy": 0.75, "val_samples": 64})]


def test_a_run_that_goes_on_makes_its_file_json_where_it_was_none(tmp_path: Path) -> None:
    """Earlier versions wrote NaN."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "val_loss": NaN}\n{"step": 2, "own": [-Infinity, 1e-05, "\u00e9"]}\n'
    )
    assert kept_lines(path, 2) == [
        '{"step": 1, "val_loss": null}\n',
        '{"step": 2, "own": [null, 1e-05, "\\u00e9"]}\n',
    ]


def test_the_lowest_validation_loss_is_an_improvement_on_every_rank(tmp_path: Path) -> None:
    """Also when it was reached before an interruption; a loss that is no number never is one."""
    for rank in (0, 1):
        log = log_of(Tracker, Config(run_dir=tmp_path), rank, first_step=0, lowest=0.75)
        found = []
        for loss in (64.0, 40.0, 40.0, float("nan"), 32.0):
            log.train(1, totals(), 0.1, torch.tensor(1.0))  # a new step: nothing is known of it
            assert (log.validated, log.improved) == ({}, False)
            log.validation(1, totals(loss))
            found.append(log.improved)
        log.close()
        assert found == [False, True, False, False, True]


def test_the_speed_is_that_of_the_steps_since_the_line_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In samples, and in the targets that the losses were of, however many each step had."""
    clock = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    log = log_of(Tracker, Config(run_dir=tmp_path), rank=0, first_step=0, lowest=INFINITY)
    for step in range(1, 21):
        log.train(step, totals(targets=100.0 * step), 0.1, torch.tensor(1.0))
    log.close()
    first, second = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    # the first step is left out: workers start in it; a second passes from mark to mark
    assert first["samples_per_second"] == 9 * 64
    assert first["targets_per_second"] == sum(100 * step for step in range(2, 11))
    assert second["samples_per_second"] == 10 * 64
    assert second["targets_per_second"] == sum(100 * step for step in range(11, 21))
