"""Sums by name over passes and ranks: what is added, and what is refused in the first step."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from config import Config
from conftest import represented
from engine.dataloader import build_val_loader
from engine.errors import Refusal
from engine.evaluation import evaluate
from engine.sums import Totals
from probe import Run, make_probe
from scaffold.catalog.methods import METHODS

CPU = torch.device("cpu")
RARE = ["--log_every", 100, "--validate_every", 100, "--checkpoint_every", 100]


pytestmark = pytest.mark.usefixtures("alone")


def loss(value: float = 2.0) -> Tensor:
    return torch.tensor(value, requires_grad=True)


def refused(sums: Any, totals: Totals | None = None) -> tuple[str, str]:
    """What is said of sums that cannot be added."""
    with pytest.raises(Refusal) as caught:
        (totals or Totals(CPU)).add(sums, 0)
    assert caught.value.status == 1
    return caught.value.fact, caught.value.remedy


def test_sums_of_any_shape_and_kind_add_up_under_their_names() -> None:
    totals = Totals(CPU)
    for step in (1, 2):
        totals.clear()
        for _ in range(step):
            totals.add(
                {
                    "table": torch.tensor([[1, 2], [3, 4]]),
                    "loss": loss(),
                    "half": torch.tensor([1.0, 1 / 256], dtype=torch.bfloat16),
                    "targets": 5,
                    "yes": torch.tensor([True, False]),
                    "true": True,
                    "numpy": np.float32(0.5),
                    "none": torch.zeros(0, 3),
                },
                more=1,
            )
        found = totals.named()
        assert list(found) == ["table", "loss", "half", "targets", "yes", "true", "numpy", "none"]
        assert {value.dtype for value in found.values()} == {torch.float64}
        assert {name: value.tolist() for name, value in found.items()} == {
            "table": [[step, 2 * step], [3 * step, 4 * step]],
            "loss": 2.0 * step,
            "half": [step, step / 256],
            "targets": 5 * step,
            "yes": [step, 0],
            "true": step,
            "numpy": 0.5 * step,
            "none": [],
        }
        assert (totals.targets.item(), totals.samples.item()) == (5 * step, step)
        assert not totals.flat.requires_grad
    # in float64 a number stays that bfloat16 would lose, and float32 too
    small = Totals(CPU)
    for value in (2.0**30, 1.0):
        small.add({"loss": loss(value), "targets": 1, "half": torch.tensor(value).bfloat16()}, 0)
    assert small.named()["half"] == small.named()["loss"] == 2**30 + 1


def test_what_metrics_does_to_its_sums_changes_no_total() -> None:
    totals = Totals(CPU)
    totals.add({"loss": loss(), "targets": 5}, 0)
    totals.named()["targets"].zero_()
    assert totals.targets == 5


GOOD: dict[str, Any] = {"targets": 2, "loss": loss()}


@pytest.mark.parametrize(
    ("sums", "fact", "remedy"),
    [
        (torch.ones(3), "a Tensor [3], and no sums by name", '"targets": len(targets), '),
        ((loss(), 2), "a tuple, and no sums by name", "metrics(sums)"),
        (None, "a NoneType, and no sums by name", 'return {"loss": loss'),
        ({"loss": loss()}, "no `targets`", 'return {"loss": loss'),
        ({}, "no `loss` and no `targets`", 'return {"loss": loss'),
        (GOOD | {"loss": torch.ones(1, requires_grad=True)}, "a loss of shape [1]", ".sum()"),
        (GOOD | {"targets": torch.ones(4)}, "a targets of shape [4]", ".sum()"),
        (GOOD | {"loss": 2.0}, "a loss that has no gradient", "without detach() and item()"),
        (GOOD | {"loss": loss().detach()}, "a loss that has no gradient", "without detach()"),
        (GOOD | {"x": "3"}, "`x`, which cannot be added", "give a number"),
        (GOOD | {"x": None}, "`x`, which cannot be added", "give a number"),
        (GOOD | {"x": [1, 2]}, "`x`, which cannot be added", "give a number"),
        (GOOD | {"x": 1j}, "`x`, which cannot be added", "a real tensor"),
        (GOOD | {"x": torch.tensor([1j])}, "`x`, which cannot be added", "a real tensor"),
        (GOOD | {"x": torch.ones(2, device="meta")}, "`x`, which cannot be added", "on cpu"),
        (GOOD | {"targets": None}, "`targets`, which cannot be added", "give a number"),
        (GOOD | {3: 1}, "a sum whose name is `3`, and no text", "return {"),
    ],
)
def test_what_cannot_be_added_is_refused_in_the_first_step(
    sums: Any, fact: str, remedy: str
) -> None:
    said = refused(sums)
    assert said[0].startswith(f"loss_sums in model.py gives {fact}")
    assert remedy in said[1]


@pytest.mark.parametrize(
    "change",
    [
        {"x": torch.ones(3)},
        {"more": 1},
        {"loss": torch.ones(1)},
        {"targets": torch.ones(2)},
    ],
)
def test_other_sums_than_in_the_first_batch_are_refused(change: dict[str, Any]) -> None:
    totals = Totals(CPU)
    sums = GOOD | {"x": torch.ones(2)}
    totals.add(sums, 0)
    before = totals.flat.clone()
    for other in (sums | change, dict(reversed(sums.items())), GOOD, torch.ones(3)):
        fact, remedy = refused(other, totals)
        assert fact.endswith(", and in the first step targets, loss, x [2]")
        assert "zeros where nothing is counted" in remedy
    assert torch.equal(totals.flat, before)


@pytest.mark.parametrize(
    ("method", "call"),
    represented(list(product(METHODS, (1, 18))), ("torchrun", 1), ("fabric", 18)),
)
def test_sums_of_one_rank_that_differ_end_all_in_two_lines(
    method: str, call: int, tmp_path: Path
) -> None:
    """In the first step all hear of it, and later that rank alone."""
    project = make_probe(tmp_path / "probe", method)
    faulty = {"PROBE_FAULT": "sums", "PROBE_CALL": str(call)}
    ended = Run(project, tmp_path / "run", *RARE, forked=True, **faulty)
    assert ended.result.status == 1
    lines = [line for line in ended.result.err.splitlines() if line.startswith(("error", "hint"))]
    assert len(lines) == 2, ended.result.err
    assert "loss_sums in model.py gives loss, targets, near, errors, counts [3], " in lines[0]
    assert "texts, more" in lines[0]
    assert ("on rank 1, and " if call == 1 else "in the first step") in lines[0]
    assert "Traceback" not in ended.result.err


def table_sums(net: nn.Module, batch: list[Tensor]) -> dict[str, Any]:
    (values,) = batch
    scores = net(values)
    table = torch.zeros(1000, 1000)
    table[0, 0] = len(values)
    return {"loss": scores.sum(), "targets": len(values), "table": table}


@pytest.mark.parametrize("samples", [0, 7])
def test_a_validation_sums_large_tables_once_and_knows_them_without_a_batch(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, totals, config = (
        nn.Linear(2, 1),
        Totals(CPU),
        Config(global_batch_size=2, micro_batch_size=2),
    )
    made: list[int] = []
    zeros = torch.zeros

    def noted(*shape: Any, **more: Any) -> Tensor:
        found = zeros(*shape, **more)
        made.append(found.numel())
        return found

    totals.add(table_sums(net, [torch.ones(3, 2)]), 1)
    data = TensorDataset(torch.ones(7, 2))
    loader = build_val_loader(data, config, *((0, 1) if samples else (9, 10)))
    monkeypatch.setattr(torch, "zeros", noted)
    evaluate(net, table_sums, loader, totals, config)
    found = totals.named()
    assert found["table"].sum() == found["targets"] == totals.samples == samples
    assert max(made) <= 10**6
