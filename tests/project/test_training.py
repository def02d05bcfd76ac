"""The four methods train for real, on two processes, and reach the same weights."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import cost
from config import Config
from conftest import (
    BIN,
    GPUS,
    ROOT,
    VARYING,
    environment,
    examples,
    fork,
    largest_difference,
    lasting,
    launch,
    launch_line,
    make,
    metrics,
    represented,
    run,
    start,
    train,
    weights,
)
from data import build_datasets
from engine.sampler import ShardedBatches
from model import build_model, loss_sums
from optimizer import build_optimizer, learning_rate
from scaffold.catalog.methods import METHODS

# 64 samples per step, 16 per rank and pass: two passes make a step on two ranks
STEPS, HALF = 60, 30
FLAGS = ["--steps", STEPS, "--micro_batch_size", 16]
FLAGS += ["--checkpoint_every", HALF, "--validate_every", HALF]
EXACT = 0.0 if GPUS < 2 else 1e-6  # GPU kernels may add in any order


@pytest.fixture(scope="module")
def runs(projects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of 60 steps on two processes for each method, those of a launcher all at once.

    They do not meet: no two runs of a machine want the same port.
    """
    parent = tmp_path_factory.mktemp("runs")
    processes = {
        method: start(
            launch_line(projects[method], "--run_dir", parent / method, *FLAGS),
            projects[method],
            environment(),
        )
        for method in launched()
    }
    for method in set(METHODS) - processes.keys():
        train(projects[method], parent / method, *FLAGS, forked=True)
    for method, process in processes.items():
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, f"{method}: {out}{err}"
    return {method: parent / method for method in METHODS}


def launched() -> list[str]:
    """The methods whose launchers train here: those that stand for themselves, or all."""
    return list(METHODS) if examples(quick=0, full=1, soak=1) else ["spawn", "fabric"]


@pytest.fixture(scope="module")
def oracle() -> dict[str, torch.Tensor]:
    """The weights of a plain loop: one process, the whole global batch in one pass, a mean loss."""
    config = Config(steps=STEPS)
    train_set, _ = build_datasets(config)
    order = iter(ShardedBatches(len(train_set), config.global_batch_size, 0, 1, config.seed))
    torch.manual_seed(config.seed)
    net = build_model(config)
    optimizer = build_optimizer(net, config)
    for step in range(1, STEPS + 1):
        batch = list(train_set[[sample for _, sample in next(order)]])
        (loss_sums(net, batch)["loss"] / config.global_batch_size).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        optimizer.step()
        optimizer.zero_grad()
    return dict(net.state_dict())


def test_projects_that_start_at_once_do_not_meet(runs: dict[str, Path]) -> None:
    """Row 7."""
    assert all(metrics(run_dir)[-1]["val_samples"] == 360 for run_dir in runs.values())


def test_the_methods_reach_the_weights_of_a_single_process(
    runs: dict[str, Path],
    oracle: dict[str, torch.Tensor],
    record_property: Callable[[str, object], None],
) -> None:
    found = {method: largest_difference(weights(runs[method], STEPS), oracle) for method in METHODS}
    record_property(f"largest difference of a weight to a single process, {STEPS} steps", found)
    assert max(found.values()) <= 1e-5


def test_spawn_and_torchrun_agree_bit_for_bit(runs: dict[str, Path]) -> None:
    spawn, torchrun = (weights(runs[method], STEPS) for method in ("spawn", "torchrun"))
    assert largest_difference(spawn, torchrun) <= EXACT


# torchrun's and Accelerate's are torchrun, which a project's own tests start, too
@pytest.mark.parametrize("method", represented(METHODS, "spawn", "fabric"))
def test_ranks_that_are_forked_give_the_bits_of_the_launcher(
    projects: dict[str, Path], runs: dict[str, Path], method: str, tmp_path: Path
) -> None:
    """So what is said of training may be said of them, at a fifth of the time."""
    train(projects[method], tmp_path, *FLAGS, forked=True)
    assert largest_difference(weights(tmp_path, STEPS), weights(runs[method], STEPS)) <= EXACT
    assert lasting(tmp_path) == lasting(runs[method]) or EXACT


@pytest.mark.parametrize(
    ("first", "second"),
    represented(itertools.permutations(METHODS, 2), *itertools.pairwise([*METHODS, *METHODS][:5])),
)
def test_a_run_goes_on_under_another_method(
    projects: dict[str, Path], runs: dict[str, Path], first: str, second: str, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(runs[first], run_dir)
    shutil.rmtree(run_dir / f"checkpoints/step-{STEPS:09d}")
    train(projects[second], run_dir, *FLAGS, forked=True)
    assert largest_difference(weights(run_dir, STEPS), weights(runs[first], STEPS)) <= 1e-5
    for line, expected in zip(lasting(run_dir), lasting(runs[first]), strict=True):
        assert line == pytest.approx(expected, rel=1e-4, abs=1e-5)


# Fabric's passes them in test_readme.py
@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "forked"),
    represented(
        [("spawn", False), ("torchrun", False), ("accelerate", False), ("torchrun", True)],
        ("torchrun", True),
    ),
)
def test_a_project_passes_its_own_tests(method: str, forked: bool, tmp_path: Path) -> None:
    """They train to 97 % accuracy, compare two processes with one, resume, and look at shares.

    forked: with ranks that are forked (own_tests.py), or as a user would.
    """
    project = make(tmp_path / "digits", method)
    if forked:
        result = fork(["python", str(ROOT / "tests/own_tests.py")], project)
    else:
        result = run([str(BIN / "python"), "-m", "pytest", "-q"], project, seconds=300)
    assert result.status == 0, result.out + result.err
    assert "5 passed" in result.out


@pytest.mark.parametrize("method", METHODS)
def test_shares_prints_the_shares_of_the_article(projects: dict[str, Path], method: str) -> None:
    result = launch(projects[method], program="shares.py", forked=True)
    assert result.status == 0, result.err
    if method == "accelerate":
        expected = [list(range(10)), list(range(10, 20))]
    else:
        expected = [list(range(0, 20, 2)), list(range(1, 20, 2))]
    assert result.out.splitlines() == [
        f"step 1 rank {rank}: {', '.join(map(str, share))}" for rank, share in enumerate(expected)
    ]


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("torchrun", "python train.py"),
        pytest.param("accelerate", "python train.py", marks=pytest.mark.full),
        ("accelerate", "accelerate launch --cpu --num_processes 1 train.py"),
        pytest.param(
            "fabric",
            "torchrun --standalone --nproc-per-node 3 train.py --global_batch_size 48",
            marks=pytest.mark.full,  # forked ranks of Fabric are as under torchrun
        ),
    ],
)
def test_other_launch_lines_work(
    projects: dict[str, Path], method: str, line: str, tmp_path: Path
) -> None:
    """Alone without a launcher, under Accelerate's, and on a number of ranks that is odd."""
    line += f" --steps 4 --log_every 2 --workers 1 --run_dir {tmp_path}"
    if line.startswith("python"):
        result = fork(line.split(), projects[method])
    else:
        cost.note(cost.LAUNCHES)
        result = run(line, projects[method], env=environment(CUDA_VISIBLE_DEVICES="-1"))
    assert result.status == 0, result.out + result.err
    assert [entry["step"] for entry in metrics(tmp_path)] == [2, 4, 4]
    assert metrics(tmp_path)[-1]["val_samples"] == 360


def test_bf16_trains_and_differs(projects: dict[str, Path], tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        flags = ("--steps", 20, "--precision", precision)
        train(projects["torchrun"], tmp_path / precision, *flags, forked=True)
    a, b = (weights(tmp_path / precision, 20) for precision in ("fp32", "bf16"))
    assert all(tensor.dtype == torch.float32 for tensor in b.values())
    assert largest_difference(a, b) > 1e-4
    assert metrics(tmp_path / "bf16")[-1]["val_loss"] == pytest.approx(
        metrics(tmp_path / "fp32")[-1]["val_loss"], rel=0.1
    )


def test_a_run_directory_holds_what_happened(runs: dict[str, Path]) -> None:
    for method, run_dir in runs.items():
        names = {path.name.split(".out.")[0] for path in run_dir.iterdir()}
        files = {"config.toml", "events", "metrics.jsonl", "run_state.json", ".lock"}
        assert names == {"checkpoints", *files}, method
        kept = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
        assert kept == ["step-000000030", "step-000000060"]
        lines = metrics(run_dir)
        steps = [line for line in lines if "loss" in line]
        assert [line["step"] for line in steps] == list(range(10, STEPS + 1, 10))
        assert set(steps[0]) == {"step", "loss", "accuracy", "lr", "grad_norm", *VARYING}
        assert set(lines[-1]) == {"step", "val_loss", "val_accuracy", "val_samples"}
        manifest = json.loads((run_dir / "checkpoints/step-000000060/manifest.json").read_text())
        assert (manifest["step"], manifest["world_size"], manifest["format"]) == (STEPS, 2, 1)
