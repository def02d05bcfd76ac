"""No rank waits for its device between two lines, and a step costs the same for any network.

Seen without a GPU: waits.py runs a step of the real main() on torch's meta device. What is not read
at once is read one step later, by all ranks alike.
"""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, fork, largest_difference, make, represented, weights
from probe import STOPPED, Run, make_probe
from scaffold.catalog.methods import METHODS

WAITS = ROOT / "tests/waits.py"
RARE = ["--log_every", 100, "--validate_every", 100, "--checkpoint_every", 100]
FAULT = {"PROBE_CALL": "14"}  # in step 5, the third of whose passes it is, on two ranks


def third_step(project: Path, *flags: object) -> dict[str, Any]:
    """What waits.py tells of the third step of a project's training."""
    ended = fork(["python", str(WAITS), *map(str, flags)], project)
    assert ended.status == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out.splitlines()[-1])
    return found


SUMS = '"correct": correct}'
MORE = """,
        "parts": torch.stack([correct, loss.detach()]),
        "table": torch.zeros(256, 256, device=loss.device).index_put_(
            (targets, scores.argmax(dim=1)), loss.new_ones(()), accumulate=True
        ),
        "half": scores.bfloat16().sum(dim=0),
        "yes": True,
    }"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Projects whose loss_sums gives vectors and tables, too."""
    parent = tmp_path_factory.mktemp("texts")
    found = {name: make(parent / name, name, example="text", tracker="none") for name in METHODS}
    for project in found.values():
        model = project / "model.py"
        assert model.read_text().count(SUMS) == 1
        model.write_text(model.read_text().replace(SUMS, SUMS[:-1] + MORE))
    return found


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("probes")
    return {method: make_probe(parent / method, method) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_no_rank_waits_for_its_device_between_two_lines_with_digits(
    projects: dict[str, Path], method: str
) -> None:
    assert third_step(projects[method])["waits"] == []


@pytest.mark.parametrize("method", METHODS)
def test_no_rank_waits_with_text_and_a_step_costs_the_same_for_any_number_of_parameters(
    texts: dict[str, Path], method: str
) -> None:
    small, large = (third_step(texts[method], "--layers", layers) for layers in (1, 4))
    assert small["waits"] == large["waits"] == []
    assert small["operators"] == large["operators"]
    assert sum(large["operators"].values()) < 90  # with 12 layers it was 201; 57 without MORE


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("grad_norm.item()", "_local_scalar_dense"),
        ('sums["correct"].item()', "_local_scalar_dense"),
        ('totals.add(sums | {"correct": sums["correct"].item()}, 0)', "_local_scalar_dense"),
        ("totals.flat.tolist()", "_to_copy"),
        ("dist.barrier()", "barrier"),
        ("totals.rows[0, 0] = 0.0", "__setitem__"),
        ("totals.flat.new_tensor(1.0)", "new_tensor"),
        ("torch.ones(2).to(device)", "_to_copy"),
        ("totals.flat.cpu()", "_to_copy"),
    ],
)
def test_a_wait_put_back_would_be_seen(line: str, named: str, tmp_path: Path) -> None:
    project = make(tmp_path / "project", "torchrun", tracker="none")
    program = project / "train.py"
    step = "        optimizer.step()\n"
    assert program.read_text().count(step) == 1
    program.write_text(program.read_text().replace(step, f"{step}        {line}\n"))
    waits = third_step(project)["waits"]
    assert len(waits) == 1, waits
    assert waits[0] == f"{named} in train.py: {line}"


def test_gradients_scaled_one_by_one_would_be_seen(tmp_path: Path) -> None:
    project = make(tmp_path / "project", "torchrun", example="text", tracker="none")
    with (project / "optimizer.py").open("a") as file:
        file.write(
            "\n\ndef scale_gradients(optimizer: torch.optim.Optimizer, factor: Tensor) -> None:\n"
            "    for group in optimizer.param_groups:\n"
            "        for weight in group['params']:\n"
            "            weight.grad *= factor\n"
        )
    small, large = (third_step(project, "--layers", layers) for layers in (2, 3))
    assert small["operators"] != large["operators"]


@pytest.mark.parametrize("method", METHODS)
def test_a_request_is_met_one_step_later_and_the_run_goes_on_as_if_nobody_had_asked(
    probes: dict[str, Path], method: str, tmp_path: Path
) -> None:
    project, faulty = probes[method], {"PROBE_FAULT": "SIGTERM", **FAULT}
    whole = Run(project, tmp_path / "whole", *RARE, forked=True)
    first = Run(project, tmp_path / "parts", *RARE, forked=True, **faulty)
    assert first.result.status == 0, first.result.err
    assert f"asked to stop: saving step {STOPPED + 1};" in first.result.out
    passes = [len(calls) for calls in first.calls(training=True).values()]
    assert passes == [3 * (STOPPED + 1)] * 2
    second = Run(project, tmp_path / "parts", *RARE, forked=True)
    assert f"goes on after step {STOPPED + 1}" in second.result.out
    assert largest_difference(*(weights(run.run_dir, 12) for run in (whole, first))) == 0


@pytest.mark.parametrize(
    ("fault", "every"),
    represented(
        list(product(("nan", "gradient"), (100, STOPPED, STOPPED + 1))),
        *(("nan", 100), ("gradient", STOPPED)),
    ),
)
@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_number_is_named_with_its_step_and_never_saved(
    probes: dict[str, Path], method: str, fault: str, every: int, tmp_path: Path
) -> None:
    """Also where it is saved itself, or the step after it: those are read at once."""
    flags, faulty = [*RARE, "--checkpoint_every", every], {"PROBE_FAULT": fault, **FAULT}
    ended = Run(probes[method], tmp_path / "run", *flags, forked=True, **faulty)
    name = f"loss of step {STOPPED} on rank 1" if fault == "nan" else f"gradient of step {STOPPED}"
    assert ended.result.status != 0
    assert f"error: the {name} is nan" in ended.result.err
    assert ended.result.err.count("error: ") == 1, ended.result.err
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))
