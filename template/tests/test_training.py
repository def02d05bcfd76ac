"""What this project promises about training, on two real processes. Change it with your project."""

import shutil
from pathlib import Path

import pytest
from conftest import largest_difference, launch, metrics, state

STEPS = ["--steps", 40, "--checkpoint_every", 20, "--micro_batch_size", 16]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of 40 steps on two processes."""
    run_dir = tmp_path_factory.mktemp("two")
    launch("train.py", "--run_dir", run_dir, *STEPS)
    return run_dir


def test_it_learns(tmp_path: Path) -> None:
    launch("train.py", "--run_dir", tmp_path)
    last = metrics(tmp_path)[-1]
    assert last["step"] == 200
    assert last["val_accuracy"] >= 0.97
    assert last["val_samples"] == 360  # every sample once


def test_two_processes_reach_the_weights_of_one(two_processes: Path, tmp_path: Path) -> None:
    launch("train.py", "--run_dir", tmp_path, *STEPS, processes=1)
    difference = largest_difference(state(two_processes, 40), state(tmp_path, 40))
    # Yours may differ for a good reason: dropout draws and batch norm averages rank by rank, and
    # ReLU or max pooling turn rounding into more. Compare the losses in metrics.jsonl then.
    assert difference < 1e-5, f"largest difference of a weight: {difference}"


def test_a_run_goes_on_as_if_it_had_not_been_stopped(two_processes: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(two_processes, run_dir)
    shutil.rmtree(run_dir / "checkpoints/step-000000040")
    output = launch("train.py", "--run_dir", run_dir, *STEPS)
    assert "goes on after step 20" in output
    assert largest_difference(state(two_processes, 40), state(run_dir, 40)) == 0
    assert metrics(run_dir) == metrics(two_processes)


def test_the_ranks_share_every_batch() -> None:
    lines = [line for line in launch("shares.py").splitlines() if line.startswith("step 1 rank")]
    samples = [set(map(int, line.split(":")[1].split(","))) for line in lines]
    assert [len(share) for share in samples] == [10, 10]
    assert samples[0] | samples[1] == set(range(20))
