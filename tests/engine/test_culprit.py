"""What is no number is told with the sample that makes it so, and with what to do."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import plot
from config import Config
from conftest import represented
from engine import culprit, storage
from engine.culprit import Case, in_batches, in_data
from engine.dataloader import build_loader
from engine.reader import Reader
from engine.sampler import ShardedBatches
from probe import Run, make_probe
from probe_data import BAD
from scaffold.catalog.methods import METHODS

RARE = ["--log_every", 100, "--validate_every", 100, "--checkpoint_every", 100]


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("probes")
    return {method: make_probe(parent / method, method) for method in METHODS}


def told(text: str) -> list[str]:
    """The lines of errors and warnings, with what to do."""
    return [line for line in text.splitlines() if line.startswith(("error: ", "warning", "hint"))]


@pytest.mark.parametrize(
    ("method", "value"),
    represented(
        [(method, value) for method in METHODS for value in ("nan", "1e30")],
        *[(method, "nan") for method in METHODS],
        ("torchrun", "1e30"),
    ),
)
def test_a_sample_that_makes_the_loss_no_number_is_named(
    probes: dict[str, Path], method: str, value: str, tmp_path: Path
) -> None:
    """By whatever rank has read it: one that holds no number, and one that is only too large."""
    env = {"PROBE_NUMBER": "training", "PROBE_VALUE": value}
    ended = Run(probes[method], tmp_path / "run", *RARE, forked=True, **env)
    assert ended.result.status != 0
    read = sorted(ended.calls(True).items())
    step, rank = next(
        (number // 3 + 1, rank)
        for number in range(100)
        for rank, calls in read
        if BAD in calls[number]["numbers"]
    )
    fact, remedy = told(ended.result.err)
    what, leads = {"nan": ("nan", "holds nan"), "1e30": ("inf", "has a loss of inf")}[value]
    assert fact == (
        f"error: the loss of step {step} on rank {rank} is {what}: "
        f"sample {BAD} of the training data {leads}"
    )
    assert "--lr" not in remedy
    assert remedy.endswith(f"a new start goes on from the last checkpoint in {tmp_path / 'run'}")
    state = json.loads((tmp_path / "run/run_state.json").read_text())
    assert f"sample {BAD} of" in state["why"]


def test_a_step_without_a_target_is_told_as_that(probes: dict[str, Path], tmp_path: Path) -> None:
    ended = Run(probes["torchrun"], tmp_path / "run", *RARE, forked=True, PROBE_NUMBER="no target")
    assert ended.result.status != 0
    fact, remedy = told(ended.result.err)
    assert fact == "error: the gradient of step 1 is nan: none of its samples has a target"
    assert remedy.startswith("hint: see what loss_sums in model.py counts; ")


def strict(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON, in which nothing else stands."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("method", represented(METHODS, "torchrun", "accelerate"))
def test_a_sample_that_makes_the_validation_no_number_is_named_and_the_run_goes_on(
    probes: dict[str, Path], method: str, tmp_path: Path
) -> None:
    """No such loss is in a checkpoint, or the lowest; once it is a number again one is."""
    run_dir, fault = tmp_path / "run", {"PROBE_NUMBER": "validation"}
    flags = ["--steps", 8, "--checkpoint_every", 4]
    first = Run(probes[method], run_dir, *flags, forked=True, **fault)
    assert first.result.status == 0, first.result.err
    assert told(first.result.err) == 2 * [
        f"warning: sample {BAD} of the validation data holds nan",
        "hint: mend it, or leave it out in data.py; "
        "the run goes on, and this validation is not its best",
    ]
    assert "step 8  val_loss nan  val_accuracy " in first.result.out
    lines = [line for line in strict(run_dir / "metrics.jsonl") if "val_loss" in line]
    assert [line["val_loss"] for line in lines] == [None, None]
    assert math.isnan(plot.read(run_dir)[-1]["val_loss"])
    again = Run(probes[method], run_dir, *flags, "--steps", 16, forked=True)
    assert again.result.status == 0, again.result.err
    lines = [line for line in strict(run_dir / "metrics.jsonl") if "val_loss" in line]
    assert [line["val_loss"] is None for line in lines] == [True, True, False, False]
    losses = {
        path.parent.name[-2:]: json.loads(path.read_text())["val_loss"]
        for path in run_dir.glob("checkpoints/*/manifest.json")
    }
    assert losses == {"12": lines[2]["val_loss"], "16": lines[3]["val_loss"]}


def test_a_validation_without_a_target_is_told_as_that(
    probes: dict[str, Path], tmp_path: Path
) -> None:
    fault = {"PROBE_NUMBER": "no validation target"}
    ended = Run(probes["spawn"], tmp_path / "run", "--steps", 4, forked=True, **fault)
    assert ended.result.status == 0, ended.result.err
    assert "no sample of the validation data has a target: see loss_sums" in ended.result.out
    assert strict(tmp_path / "run/metrics.jsonl")[-1]["val_loss"] is None


def loss_sums(net: nn.Module, batch: list[Tensor]) -> dict[str, Any]:
    """The root of a product, which has no slope at zero."""
    (values,) = batch
    loss = (net(values) * values).sum(dim=1).abs().sqrt().sum()
    return {"loss": loss, "targets": len(values)}


def case(config: Config, values: Tensor, **more: Any) -> Case:
    """A network with a bias of 0 and samples of two numbers each, four to a batch."""
    torch.manual_seed(0)
    net = nn.Linear(2, 2, bias=False)
    data = Reader(TensorDataset(values), lambda item, *_: item, config)
    loader = build_loader(data, ShardedBatches(len(values), 4, 0, 1, seed=0), config, ())
    return Case(net, loss_sums, loader, config, **more)


def keys(*samples: int) -> list[tuple[int, int]]:
    return [(0, sample) for sample in samples]


def test_the_sample_is_found_whose_gradient_alone_is_no_number(tmp_path: Path) -> None:
    """Under new weights, for those of the run are no numbers any more when somebody asks."""
    values = torch.ones(8, 2)
    values[5] = 0
    one = case(Config(run_dir=tmp_path), values, gradient=True)
    batches = [keys(0, 1, 2, 3), keys(4, 5, 6, 7)]
    with torch.no_grad():
        for weight in one.net.parameters():
            weight.fill_(math.nan)
    found = in_batches(one, batches)
    assert found is not None
    assert found[0] == "sample 5 of the training data has a gradient that is no number"
    assert found[1].startswith("see what loss_sums in model.py makes of it")
    values[5] = 1
    assert in_batches(case(Config(run_dir=tmp_path), values, gradient=True), batches) is None


def test_the_weights_of_the_last_checkpoint_are_those_that_are_asked(tmp_path: Path) -> None:
    """Under new ones it would be no number for nobody."""
    values = torch.ones(4, 2)
    values[2] = 1e30
    config = Config(run_dir=tmp_path)
    one = case(config, values)
    batches = [keys(0, 1, 2, 3)]
    found = in_batches(one, batches)
    assert found is not None
    assert found[0].startswith("sample 2 of the training data has a loss of ")
    state = {"model": {"weight": torch.zeros(2, 2)}, "optimizer": {}, "random": []}
    storage.write(tmp_path / "checkpoints" / "step-000000003", state, {"step": 3})
    assert in_batches(one, batches) is None


@pytest.mark.parametrize("size", [1, 4])
def test_where_all_samples_lead_to_no_number_none_is_named(size: int, tmp_path: Path) -> None:
    """It is the network, or the learning rate."""
    one = case(Config(run_dir=tmp_path), torch.full((8, 2), 1e30))
    samples = range(8)
    batches = [keys(*samples[i : i + size]) for i in range(0, 8, size)]
    assert in_batches(one, batches) is None
    assert culprit.advice(one, "lower --lr") == "lower --lr"


@pytest.mark.parametrize("line", ["", "autocast(device, torch.float16)", "net.half()"])
def test_in_float16_another_precision_is_a_remedy(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the weights say, or a file of the team: no setting does."""
    one = case(Config(run_dir=tmp_path), torch.ones(8, 2))
    monkeypatch.setattr(culprit, "PROJECT", tmp_path)
    (tmp_path / "train.py").write_text("torch.bfloat16\n")
    assert culprit.advice(one, "lower --lr") == "lower --lr"
    if line:
        (tmp_path / "train.py").write_text(line)
    else:
        one.net.half()
    told = culprit.advice(one, "lower --lr")
    assert told == "leave float16, which ends at 65504, for --precision bf16; or lower --lr"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_sample_is_found_that_holds_what_is_no_number(value: str, tmp_path: Path) -> None:
    values = torch.ones(8, 2)
    values[6, 1] = float(value)
    one = case(Config(run_dir=tmp_path), values)
    found = in_data(one, keys(4, 5, 6, 7))
    assert found is not None
    assert found[0] == f"sample 6 of the training data holds {value.strip('-')}"
    assert in_data(one, keys(0, 1, 2, 3)) is None
