"""Metrics of one's own: what is made of sums, and what is told where one cannot be logged."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from config import Config
from engine.errors import Refusal
from engine.hints import hint, summary
from engine.measures import TAKEN, measure
from engine.metrics import Log
from engine.sums import Totals
from tracker import Tracker

LOW = "loss", "low"


pytestmark = pytest.mark.usefixtures("alone")


def totals(loss: float = 32.0, **more: Any) -> Totals:
    found = Totals(torch.device("cpu"))
    sums = {"loss": torch.tensor(loss, requires_grad=True), "targets": 64, "correct": 48}
    found.add(sums | more, 64)
    return found


def test_a_metric_may_be_any_kind_of_one_number() -> None:
    def metrics(sums: dict[str, Tensor]) -> dict[str, Any]:
        hits, extra, missed = sums["counts"]
        return {
            "f1": 2 * hits / (2 * hits + extra + missed),
            "perplexity": math.exp(sums["loss"] / sums["targets"]),
            "one": torch.ones(1, 1),
            "integer": 3,
            "yes": True,
            "numpy": np.float32(0.5),
            "none": sums["counts"][0] * 0 / 0,
            "top/5": sums["table"].diagonal().sum(),
        }

    given = totals(counts=torch.tensor([6, 2, 2]), table=torch.ones(3, 3))
    found = measure(metrics, LOW, given.named())
    assert {type(value) for value in found.values()} == {float}
    assert math.isnan(found.pop("none"))
    assert found == {
        **{"loss": 0.5, "f1": 0.75, "perplexity": math.exp(0.5), "one": 1.0, "integer": 3.0},
        **{"yes": 1.0, "numpy": 0.5, "top/5": 3.0},
    }


@pytest.mark.parametrize(
    ("found", "fact"),
    [
        *[({name: 1.0}, f"gives `{name}`, a name that a line has") for name in sorted(TAKEN)],
        ({"val_f1": 1.0}, "gives `val_f1`, a name that a line has or may have already"),
        ({"two words": 1.0}, "gives a `two words`"),
        ({"": 1.0}, "gives a ``"),
        ({3: 1.0}, "gives a `3`"),
        ({"x": torch.ones(2)}, "gives as `x` a Tensor [2], and not one number"),
        ({"x": np.ones(2)}, "gives as `x` a ndarray [2], and not one number"),
        ({"x": "0.5"}, "gives as `x` a str, and not one number"),
        ({"x": None}, "gives as `x` a NoneType, and not one number"),
        ({"x": 1j}, "gives as `x` a complex, and not one number"),
        ({"x": torch.tensor(1j)}, "gives as `x` a Tensor, and not one number"),
        (0.5, "gives float, and no dict"),
        (None, "gives NoneType, and no dict"),
    ],
)
def test_what_cannot_be_logged_is_refused_on_all_ranks_in_the_first_step(
    found: Any, fact: str, tmp_path: Path
) -> None:
    for rank in (0, 1):
        config = replace(Config(), run_dir=tmp_path / str(rank))
        config.run_dir.mkdir()
        log = Log(Tracker, lambda _: found, LOW, config, rank, 0, math.inf)
        with pytest.raises(Refusal) as caught:
            log.train(1, totals(), 0.1, torch.tensor(1.0))
        assert caught.value.fact.startswith(f"metrics in model.py {fact}")
        assert not (config.run_dir / "metrics.jsonl").exists() or rank == 0


def test_a_best_that_names_no_metric_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(Refusal) as caught:
        measure(lambda _: {"f1": 1.0}, ("val_f1", "high"), totals().named())
    assert caught.value.fact.startswith("BEST in model.py names `val_f1`, and metrics gives none")
    assert caught.value.remedy == "name one of loss, f1 there, without val_"


def test_an_error_in_metrics_names_them() -> None:
    def metrics(sums: dict[str, Tensor]) -> dict[str, Any]:
        return {"x": 1 / int(sums["targets"] - 64)}

    with pytest.raises(ZeroDivisionError) as caught:
        measure(metrics, LOW, totals().named())
    assert summary(caught.value) == "division by zero, in metrics of model.py"
    assert hint(caught.value).startswith("mend it there: it gets the sums of all ranks")


def test_where_the_first_loss_is_no_number_that_is_told_and_not_what_metrics_makes_of_it(
    tmp_path: Path,
) -> None:
    def metrics(sums: dict[str, Tensor]) -> dict[str, Any]:
        return {"x": int(sums["loss"])}

    log = Log(Tracker, metrics, LOW, Config(run_dir=tmp_path), 0, 0, math.inf)
    log.train(1, totals(math.nan), 0.1, torch.tensor(math.nan))
    log.close()


def test_the_best_validation_is_that_of_the_metric_that_best_names(tmp_path: Path) -> None:
    """Lines and tracker have each metric; what is no number is null, and never the best."""
    told: list[dict[str, float]] = []

    class Told(Tracker):
        def log(self, step: int, values: dict[str, float]) -> None:  # noqa: ARG002
            told.append(values)

    def metrics(sums: dict[str, Tensor]) -> dict[str, Any]:
        return {"accuracy": sums["correct"] / sums["targets"]}

    high = "accuracy", "high"
    log = Log(Told, metrics, high, Config(run_dir=tmp_path, log_every=1), 0, 0, lowest=-0.25)
    improved = []
    for step, (loss, correct) in enumerate(
        [(64.0, 16), (32.0, 32), (128.0, 48), (16.0, 32), (1.0, math.nan), (math.nan, 64)], 1
    ):
        log.train(step, totals(correct=correct), 0.1, torch.tensor(1.0))
        log.validation(step, totals(loss, correct=correct))
        improved.append(log.improved)
        good = {"loss": loss / 64, "accuracy": correct / 64}
        bad = {} if math.isnan(loss) else {"loss": 1 / 64}
        assert log.validated == (good if math.isfinite(loss * correct) else bad)
    log.close()
    assert improved == [False, True, True, False, False, False]
    assert log.lowest == -0.75
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["accuracy"] for line in lines[::2]] == [0.25, 0.5, 0.75, 0.5, None, 1.0]
    assert [line["val_accuracy"] for line in lines[1::2]] == [0.25, 0.5, 0.75, 0.5, None, 1.0]
    assert list(lines[0])[:4] == ["step", "loss", "accuracy", "lr"]
    assert told[0]["accuracy"] == told[1]["val_accuracy"] == 0.25
    assert "accuracy" not in told[8]
