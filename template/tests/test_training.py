"""What this project promises about training, on real processes. Change it with your project."""

import re
from pathlib import Path

from config import Config
from conftest import largest_difference, launch, metrics, state

# what could make a run differ after an interruption; 60 steps in the midst of epochs
FLAGS = ["--steps", 60, "--validate_every", 25]
FLAGS += ["--dropout", 0.1] if hasattr(Config, "dropout") else []
# the largest difference of a weight after 50 steps between two processes and one. Yours may differ
# for a good reason: dropout draws, batch norm averages and a contrastive loss compares by rank,
# and ReLU or max pooling turn rounding into more. Compare the losses in metrics.jsonl then.
CLOSE = 1e-5


def test_two_processes_reach_the_weights_of_one(learned: Path, tmp_path: Path) -> None:
    """And one process, asked to stop, leaves at once."""
    launch("--run_dir", tmp_path, processes=1, stop_at=50)
    assert metrics(tmp_path)[-1]["step"] < Config.steps
    difference = largest_difference(state(learned, 50), state(tmp_path, 50))
    assert difference < CLOSE, f"largest difference of a weight: {difference}"


def test_a_run_goes_on_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    launch("--run_dir", whole, *FLAGS)
    # workers read ahead; and who reads changes nothing
    stopped = launch("--run_dir", parts, *FLAGS, "--workers", 2, stop_at=10)
    step = re.search(r"asked to stop: saving step (\d+)", stopped)
    assert step, stopped
    assert f"goes on after step {step[1]}" in launch("--run_dir", parts, *FLAGS)
    assert largest_difference(state(whole, 60), state(parts, 60)) == 0
    assert metrics(parts) == metrics(whole)


def test_one_step_shares_a_batch_out_and_reaches_every_parameter() -> None:
    output = launch("--check")
    shares = re.findall(r"check: rank \d read (\d+) samples: ([\d, ]+)", output)
    samples = [set(filter(None, share.split(", "))) for _, share in shares]
    assert len(shares) == 2, output
    assert shares[0][0] == shares[1][0]
    assert not samples[0] & samples[1]
    assert "parameters without a gradient: none" in output
