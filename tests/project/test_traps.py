"""What users of the four methods get wrong again and again, on real processes.

The project under test has data and a network of its own (probe_data.py, probe_model.py), which
say what happens to each rank: batches of texts of different lengths, 43 of them for training and
17 for validation, numbers that neither two nor three ranks divide.
"""

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import (
    MODULES,
    environment,
    largest_difference,
    make,
    metrics,
    represented,
    run,
    state,
    train,
    weights,
)
from engine.replicas import checksum
from engine.resources import cores
from probe import BATCH, STEPS, STOPPED, Run, give_parts, make_probe, numbers
from probe_model import metrics as probe_metrics
from scaffold.catalog.methods import METHODS


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("probes")
    return {method: give_parts(make_probe(parent / method, method), method) for method in METHODS}


@pytest.fixture(scope="module", params=METHODS)
def runs(
    request: pytest.FixtureRequest,
    probes: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Run, Run, Run]:
    """One run, undisturbed on one rank; and stopped by rank 1 of two, then ended by three.

    While the third part starts, rank 1 sees no checkpoints.
    """
    project, parent = probes[request.param], tmp_path_factory.mktemp("runs")
    alone = Run(project, parent / "alone", processes=1, forked=True, OMP_NUM_THREADS="")
    fault = {"PROBE_FAULT": "SIGTERM"}
    first = Run(project, parent / "parts", "--profile", "2:3", forked=True, **fault)
    second = Run(project, parent / "parts", processes=3, forked=True, PROBE_BLIND="1")
    return alone, first, second


def test_the_number_of_ranks_changes_no_step(runs: tuple[Run, Run, Run]) -> None:
    """Rows 1, 2, 5, 28: the same samples in the same steps on one, two and three ranks."""
    alone, first, second = runs
    expected = [numbers(step) for step in alone.steps()]
    assert [len(step) for step in expected] == [BATCH] * STEPS
    assert [numbers(step) for step in first.steps() + second.steps()] == expected
    order = [number for call in alone.calls(True)[0] for number in call["numbers"]]
    epochs = [order[:43], order[43:86], order[86:129]]
    assert all(sorted(epoch) == list(range(43)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3


def test_the_ranks_share_a_step_out_evenly(runs: tuple[Run, Run, Run]) -> None:
    for part, ranks in zip(runs, (1, 2, 3), strict=True):
        assert sorted(part.calls(True)) == list(range(ranks))
        assert {len(call["numbers"]) for call in part.records if call.get("training")} == {2}


def test_a_loss_is_a_sum_divided_by_the_targets_of_the_step(runs: tuple[Run, Run, Run]) -> None:
    """Rows 4, 12 and 20: what is logged is all ranks', and clipped after it was divided."""
    alone, first, second = runs
    logged = [line for line in metrics(first.run_dir) if "loss" in line]
    for line, step in zip(logged, first.steps() + second.steps(), strict=True):
        loss, targets = (sum(call[name] for call in step) for name in ("loss", "targets"))
        assert line["loss"] == pytest.approx(loss / targets, rel=1e-6)
    expected = [line for line in metrics(alone.run_dir) if "loss" in line]
    assert logged[0]["grad_norm"] == pytest.approx(expected[0]["grad_norm"], abs=1e-6)
    assert expected[0]["grad_norm"] > 0.5  # so it was clipped
    for line, other in zip(logged, expected, strict=True):
        assert line["lr"] == other["lr"]  # row 3
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert line["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
    ends = [weights(part.run_dir, STEPS) for part in (alone, first)]
    assert ends[0].pop("seen") != ends[1].pop("seen")  # rank 0's own, which no gradient reaches
    assert largest_difference(*ends) <= 1e-5


def test_validation_counts_every_sample_once_on_any_number_of_ranks(
    runs: tuple[Run, Run, Run],
) -> None:
    """Rows 10 and 11."""
    for part, validations in zip(runs, (3, 1, 2), strict=True):
        found = part.steps(validations=True)
        assert [numbers(step) for step in found] == [list(range(17))] * validations
    lines = [[line for line in metrics(part.run_dir) if "val_loss" in line] for part in runs[:2]]
    for line, expected in zip(*lines, strict=True):
        assert line["val_samples"] == 17
        assert line["val_accuracy"] == expected["val_accuracy"]
        assert line["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-5)


def test_metrics_are_of_the_sums_of_all_ranks_in_training_and_in_validation(
    runs: tuple[Run, Run, Run],
) -> None:
    """Counts are equal and sums of floats nearly so: numbers, vectors and tables alike."""
    parts, (alone, first, _) = {"alone": runs[:1], "parts": runs[1:]}, runs
    for part in (alone, first):
        lines = metrics(part.run_dir)
        for prefix, validations in (("", False), ("val_", True)):
            steps = [step for part in parts[part.run_dir.name] for step in part.steps(validations)]
            logged = [line for line in lines if f"{prefix}loss" in line]
            for line, step in zip(logged, steps, strict=True):
                found = probe_metrics(summed(step))
                expected = {name: float(value) for name, value in found.items()}
                assert line.keys() >= {f"{prefix}{name}" for name in expected}
                error = expected.pop("error")
                assert line[f"{prefix}error"] == pytest.approx(error, rel=1e-6)
                assert {name: line[f"{prefix}{name}"] for name in expected} == expected
                assert expected["texts"] == len(numbers(step))


def summed(step: list[dict[str, Any]]) -> dict[str, Tensor]:
    """What the ranks have counted in a step, added up here."""
    names = ("loss", "targets", "near", "errors", "counts", "table", "texts")
    return {
        name: torch.tensor([call[name] for call in step], dtype=torch.float64).sum(dim=0)
        for name in names
    }


def test_ranks_validate_with_the_same_buffers(runs: tuple[Run, Run, Run]) -> None:
    """Row 29: each rank took the mean of its own batches meanwhile."""
    for part in runs:
        for step in part.steps(validations=True):
            assert len({call["seen"] for call in step}) == 1
            assert step[0]["seen"] != 0


def test_data_is_prepared_before_ranks_wait_for_each_other(runs: tuple[Run, Run, Run]) -> None:
    """Row 19."""
    for part, ranks in zip(runs, (1, 2, 3), strict=True):
        prepared = {record["rank"]: record for record in part.records if "waiting" in record}
        assert sorted(prepared) == list(range(ranks))
        assert not any(record["waiting"] for record in prepared.values())


def test_a_signal_to_one_rank_ends_all_after_the_same_step(runs: tuple[Run, Run, Run]) -> None:
    """Rows 22 and 30: the step is saved, and rank 0 alone looks for it when the run goes on."""
    _, first, second = runs
    assert first.result.status == 0, first.result.err
    assert f"asked to stop: saving step {STOPPED};" in first.result.out
    assert [len(calls) for calls in first.calls(True).values()] == [3 * STOPPED] * 2
    assert second.result.status == 0, second.result.err
    assert f"goes on after step {STOPPED}: world size 3, " in second.result.out


def test_profile_writes_a_trace_per_rank(runs: tuple[Run, Run, Run]) -> None:
    for rank in (0, 1):
        trace = json.loads((runs[1].run_dir / f"trace-rank{rank}.json").read_text())
        names = Counter(event["name"] for event in trace["traceEvents"])
        # 2 steps of 3 passes, each with a linear layer before and after the GELU
        assert names["aten::gelu"] == 6
    assert not list(runs[0].run_dir.glob("trace*"))


def test_one_process_writes_into_one_run_directory(runs: tuple[Run, Run, Run]) -> None:
    """Row 17."""
    assert [line["step"] for line in metrics(runs[1].run_dir) if "loss" in line] == list(
        range(1, STEPS + 1)
    )
    assert runs[1].result.out.count("step 1  loss") == 1


def test_a_rank_has_its_part_of_the_cores(runs: tuple[Run, Run, Run]) -> None:
    """Row 25: unless the user says otherwise; torchrun tells several ranks to use one each."""
    assert {call["threads"] for call in runs[0].calls(True)[0]} == {cores()}
    assert {call["threads"] for call in runs[1].calls(True)[0]} == {1}


def test_a_rank_keeps_the_threads_that_a_user_has_set() -> None:
    """What this process has set itself is no user's wish under torchrun, for its parent has not."""
    code = "from engine import resources; print(resources.threads_are_set())"
    for launched in ("", "1"):
        env = environment(OMP_NUM_THREADS="1", TORCHELASTIC_RUN_ID=launched)
        result = run([sys.executable, "-c", code], MODULES / "digits", env=env)
        assert result.out == f"{not launched or parent_set_threads()}\n", result.err


def parent_set_threads() -> bool:
    return b"OMP_NUM_THREADS=" in Path("/proc/self/environ").read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_check_names_the_parameters_that_get_no_gradient(
    probes: dict[str, Path], method: str, tmp_path: Path
) -> None:
    """Row 26; and it shows the samples that were really read, and leaves nothing."""
    ended = Run(probes[method], tmp_path / "run", "--check", forked=True, PROBE_FAULT="dead")
    assert ended.result.status == 1
    out, err = ended.result.out, ended.result.err
    assert "check: global batch 12 = 2 samples per rank and pass x 2 ranks x 3 passes\n" in out
    assert "check: 27 parameters in 6 tensors\n" in out
    assert "check: parameters without a gradient: dead.weight, dead.bias\n" in out
    assert "error: the loss does not depend on 2 parameters" in err
    for rank, calls in ended.calls(True).items():
        read = [number for call in calls for number in call["numbers"]]
        assert f"check: rank {rank} read 6 samples: {', '.join(map(str, read))}; peak " in out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", METHODS)
def test_parameters_that_do_not_learn_are_no_fault(
    probes: dict[str, Path], method: str, tmp_path: Path
) -> None:
    frozen: dict[str, Any] = {"forked": True, "PROBE_FAULT": "frozen"}
    checked = Run(probes[method], tmp_path / "run", "--check", **frozen).result
    assert checked.status == 0, checked.err
    assert "check: 27 parameters in 6 tensors, of which 25 learn and 2 do not\n" in checked.out
    assert "check: parameters without a gradient: none\n" in checked.out
    for steps in (4, 8):
        ended = Run(probes[method], tmp_path / "run", "--steps", steps, **frozen)
        assert ended.result.status == 0, ended.result.err
    saved = [weights(tmp_path / "run", step) for step in (4, 8)]
    same = {name for name in saved[0] if torch.equal(saved[0][name], saved[1][name])}
    assert same == {"dead.weight", "dead.bias"}


@pytest.mark.parametrize("method", METHODS)
def test_whatever_a_network_holds_is_saved_and_goes_on_bit_for_bit(
    probes: dict[str, Path], method: str, tmp_path: Path
) -> None:
    pretrained = tmp_path / "pretrained.pt"
    torch.save({"layers.0.bias": torch.full((8,), 100.0)}, pretrained)
    where = {"PROBE_FAULT": "kinds", "PROBE_PRETRAINED": str(pretrained)}
    flags = ("--checkpoint_every", 6, "--keep", 4, "--async_save")
    ends = []
    for said in ("starts", "goes on after step 6"):
        ended = Run(probes[method], tmp_path / "run", *flags, forked=True, **where)
        assert ended.result.status == 0, ended.result.err
        assert said in ended.result.out
        ends.append(state(tmp_path / "run", STEPS))
        pretrained.unlink(missing_ok=True)  # which a run that goes on does not need
        for step in (8, STEPS):
            shutil.rmtree(tmp_path / f"run/checkpoints/step-{step:09d}")
    for name in ("model", "optimizer", "parts"):
        assert checksum(ends[0][name]) == checksum(ends[1][name]), name
    assert ends[0]["model"]["layers.0.bias"].min() > 90
    extra = ends[0]["model"]["kinds._extra_state"]
    assert (extra["number"], float(extra["last"][0])) == (STEPS * 3, STEPS * 3)
    assert ends[0]["parts"]["ema"]["n_averaged"] == STEPS
    assert len(ends[0]["parts"]["notes"]["rates"]) == STEPS
    assert ends[0]["optimizer"].keys() == {"net", "rival"}
    assert not torch.equal(ends[0]["parts"]["rival"]["bias"], torch.zeros(2))


def without_a_number() -> list[tuple[str, str, int, int]]:
    """(method, fault, rank, step): each method once, or with SOAK=1 forty times by chance."""
    faults = ("nan", "gradient")
    if "SOAK" not in os.environ:
        return [(method, faults[i % 2], 1, STOPPED) for i, method in enumerate(METHODS)]
    chance = Random(0)
    return [
        (method, faults[i // 4 % 2], chance.randrange(2), chance.randint(1, STEPS))
        for i, method in enumerate(list(METHODS) * 10)
    ]


@pytest.mark.parametrize(("method", "fault", "rank", "step"), without_a_number())
def test_a_loss_or_gradient_that_is_no_number_on_one_rank_ends_all_and_is_not_saved(
    probes: dict[str, Path], method: str, fault: str, rank: int, step: int, tmp_path: Path
) -> None:
    """Row 22."""
    # three passes a step, and of each validation after four steps this rank has five or four
    call = 3 * (step - 1) + 2 + (step - 1) // 4 * (5 - rank)
    where = {"PROBE_FAULT": fault, "PROBE_RANK": str(rank), "PROBE_CALL": str(call)}
    flags = ("--checkpoint_every", 1)
    ended = Run(probes[method], tmp_path / "run", *flags, forked=True, **where)
    assert ended.result.status != 0
    name = {"nan": f"loss of step {step} on rank {rank}", "gradient": f"gradient of step {step}"}
    assert f"error: the {name[fault]} is nan\n" in ended.result.err
    kept = sorted(int(path.name[5:]) for path in tmp_path.glob("run/checkpoints/step-*"))
    assert kept[-2:] == [done for done in (step - 2, step - 1) if done > 0]


@pytest.mark.parametrize("method", METHODS)
def test_replicas_that_went_apart_end_the_run_before_they_are_saved(
    probes: dict[str, Path], method: str, tmp_path: Path
) -> None:
    """Row 27: a forward pass beside the wrapper, whose gradients nobody averages."""
    flags = ("--checkpoint_every", 2)
    ended = Run(probes[method], tmp_path / "run", *flags, forked=True, PROBE_FAULT="bypass")
    assert ended.result.status != 0
    fact = "error: after step 2 the ranks differ in 8 of 14 tensors, first in `layers.0.weight`"
    assert fact in ended.result.err  # the average of the weights, too
    assert not list(tmp_path.glob("run/checkpoints/*"))


@pytest.mark.parametrize("method", represented(METHODS, "fabric"))
def test_a_part_that_is_each_rank_s_own_ends_the_run_before_it_is_saved(
    probes: dict[str, Path], method: str, tmp_path: Path
) -> None:
    """A checkpoint would give all ranks what rank 0 had."""
    flags = ("--checkpoint_every", 2)
    ended = Run(probes[method], tmp_path / "run", *flags, forked=True, PROBE_FAULT="apart")
    assert ended.result.status != 0
    fact = "error: after step 2 the ranks differ in 1 of 14 tensors, first in `notes`"
    assert fact in ended.result.err
    assert not list(tmp_path.glob("run/checkpoints/*"))


FRESH = ["--fresh_optimizer"]


@pytest.mark.parametrize("method", represented(METHODS, "fabric", "accelerate"))
def test_a_run_goes_on_with_another_setting_of_the_optimizer_or_with_a_new_one(
    probes: dict[str, Path], method: str, tmp_path: Path
) -> None:
    """Those that the method wraps, too."""
    Run(probes[method], tmp_path / "base", "--steps", 4, forked=True)
    ends, told = {}, []
    for name, flags in (("before", []), ("decayed", ["--weight_decay", 5]), ("fresh", FRESH)):
        run_dir = tmp_path / name
        shutil.copytree(tmp_path / "base", run_dir)
        ended = Run(probes[method], run_dir, *flags, "--steps", 5, forked=True)
        assert ended.result.status == 0, ended.result.err
        ends[name] = state(run_dir, 5)
        told.append([line for line in ended.result.out.splitlines() if "goes on with" in line])
    as_before, decayed, fresh = ends.values()
    (lr,) = [
        line["lr"] for line in metrics(tmp_path / "fresh") if line["step"] == 5 and "lr" in line
    ]
    for name, weight in weights(tmp_path / "base", 4).items():
        lost = lr * (5 - 0.01) * weight * (weight.dim() == 2)
        there = decayed["model"][name]
        assert torch.allclose(as_before["model"][name] - lost, there, rtol=0, atol=1e-7)
    assert [group["weight_decay"] for group in decayed["optimizer"]["net"]["param_groups"]] == [
        5,
        0,
    ]
    assert {float(one["step"]) for one in decayed["optimizer"]["net"]["state"].values()} == {5}
    assert {float(one["step"]) for one in fresh["optimizer"]["net"]["state"].values()} == {1}
    assert [len(lines) for lines in told] == [1, 2, 2]  # steps 4 -> 5
    assert told[1][1].endswith(": weight_decay 0.01 -> 5.0")
    assert told[2][1].endswith(" goes on with a new optimizer")


DRAWS = """

def augment(item: Any, seed: int, config: Config) -> Any:
    import random

    import numpy as np

    image, digit = item
    return image + 0.1 * torch.rand(()) + 0.1 * random.random() + 0.1 * np.random.rand(), digit
"""


@pytest.mark.parametrize("method", METHODS)
def test_data_that_draws_from_the_generators_of_all_goes_on_bit_for_bit(
    method: str, tmp_path: Path
) -> None:
    """Beside dropout, which draws from them too: Accelerate reads a batch ahead of the step."""
    project = make(tmp_path / "digits", method, tracker="none")
    with (project / "data.py").open("a") as file:
        file.write(DRAWS)
    flags = ["--micro_batch_size", 16, "--dropout", 0.1]
    flags += ["--steps", 8, "--checkpoint_every", 5]
    run_dir = train(project, tmp_path / "run", *flags, forked=True)
    undisturbed = weights(run_dir, 8)
    shutil.rmtree(run_dir / "checkpoints/step-000000008")
    train(project, run_dir, *flags, forked=True)
    assert largest_difference(weights(run_dir, 8), undisturbed) == 0
