"""Every method with every example and, pair by pair, with every other choice; and golden losses."""

import itertools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree

import pytest

from conftest import GPUS, ROOT, largest_difference, make, metrics, represented, train, weights
from scaffold.catalog.methods import METHODS

GOLDEN = ROOT / "tests/golden.json"
TRACKERS = ["none", "tensorboard", "wandb", "mlflow"]
STEPS = 20
SHORT = ["--steps", STEPS, "--log_every", 5, "--validate_every", STEPS]


def rows() -> list[dict[str, object]]:
    """A choice of everything, 16 times, in which each pair of two choices comes at least once."""
    compiled = {(0, 0), (0, 2), (1, 3), (2, 1), (3, 2)}  # as few as possible: it takes long
    return [
        {
            "method": method,
            "tracker": tracker,
            "example": ("digits", "text")[(m ^ t) & 1],
            "precision": ("fp32", "bf16")[(m ^ t) >> 1],
            "workers": (0, 2)[(m & 1) ^ (t >> 1)],
            "passes": (1, 2)[(m >> 1) ^ (t & 1)],
            "compile": (m, t) in compiled,
        }
        for (m, method), (t, tracker) in itertools.product(enumerate(METHODS), enumerate(TRACKERS))
    ]


def test_the_rows_hold_every_pair_of_choices() -> None:
    values = {name: {row[name] for row in rows()} for name in rows()[0]}
    for a, b in itertools.combinations(values, 2):
        pairs = {(row[a], row[b]) for row in rows()}
        assert pairs == set(itertools.product(values[a], values[b])), (a, b)


# each value of each choice, but compiling, which test_controls.py does with each method
QUICK = [
    *(("spawn", "tensorboard"), ("torchrun", "wandb"), ("torchrun", "tensorboard")),
    *(("fabric", "none"), ("accelerate", "mlflow")),
]


def test_the_rows_that_stand_for_the_others_hold_every_value() -> None:
    quick = [row for row in rows() if (row["method"], row["tracker"]) in QUICK]
    for name in rows()[0].keys() - {"compile"}:
        assert {row[name] for row in quick} == {row[name] for row in rows()}, name


@pytest.mark.parametrize(
    "row",
    represented(rows(), *(row for row in rows() if (row["method"], row["tracker"]) in QUICK)),
    ids=lambda row: "-".join(map(str, row.values())),
)
def test_choices_work_together(
    row: dict[str, object], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    answers = {"example": str(row["example"]), "tracker": str(row["tracker"])}
    project = make(tmp_path / "project", str(row["method"]), **answers)
    flags = ["--steps", 2, "--log_every", 1, "--precision", row["precision"]]
    flags += ["--workers", row["workers"], "--dropout", 0.1]
    # small: the whole cost is in the start
    flags += ["--global_batch_size", 16, "--micro_batch_size", 8 // int(str(row["passes"]))]
    flags += ["--width", 16, *(["--compile"] if row["compile"] else [])]
    cache = str(tmp_path_factory.getbasetemp() / "inductor")
    env = {"WANDB_MODE": "offline", "TORCHINDUCTOR_CACHE_DIR": cache}
    lines = metrics(train(project, tmp_path / "run", *flags, processes=2, forked=True, **env))
    assert [line["step"] for line in lines] == [1, 2, 2]
    assert all(math.isfinite(value) for line in lines for value in line.values())
    assert lines[1]["loss"] < lines[0]["loss"] + 0.5


@pytest.fixture(scope="module")
def text_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """20 steps of the text example on two processes for each method, and on one process."""
    parent = tmp_path_factory.mktemp("text")
    projects = {m: make(parent / m, m, example="text", tracker="none") for m in METHODS}
    # the same on every machine, and not long to validate
    (parent / "squares.txt").write_text("".join(f"{n} times {n}: {n * n}\n" for n in range(12000)))
    flags = [*SHORT, "--text", parent / "squares.txt"]
    runs = {m: train(projects[m], parent / f"{m}-run", *flags, forked=True) for m in METHODS}
    one = train(projects["torchrun"], parent / "one", *flags, processes=1, forked=True)
    return runs | {"one": one}


def test_the_methods_reach_the_weights_of_a_single_process_with_text(
    text_runs: dict[str, Path], record_property: Callable[[str, object], None]
) -> None:
    one = weights(text_runs["one"], STEPS)
    found = {m: largest_difference(weights(text_runs[m], STEPS), one) for m in METHODS}
    record_property(
        f"largest difference of a weight to a single process, text, {STEPS} steps", found
    )
    assert max(found.values()) <= 1e-5
    if GPUS < 2:
        assert found["spawn"] == found["torchrun"]


def test_the_losses_are_the_golden_ones(
    projects: dict[str, Path], text_runs: dict[str, Path], tmp_path: Path
) -> None:
    """Changed on purpose only: `GOLDEN=write python -m pytest tests/project -k golden`."""
    runs = {m: train(projects[m], tmp_path / m, *SHORT, forked=True) for m in METHODS}
    found = {
        example: {
            m: [line.get("loss", line.get("val_loss")) for line in metrics(done[m])]
            for m in METHODS
        }
        for example, done in (("digits", runs), ("text", text_runs))
    }
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    for example, method in itertools.product(golden, METHODS):
        # other processors round otherwise; a changed order, loss or rate is seen in three digits
        assert found[example][method] == pytest.approx(golden[example][method], rel=1e-4)


def losses(run_dir: Path) -> list[float]:
    """The losses of a run, of training and of validation."""
    return [line["loss"] if "loss" in line else line["val_loss"] for line in metrics(run_dir)]


def test_a_run_is_handed_from_method_to_method(projects: dict[str, Path], tmp_path: Path) -> None:
    """Torchrun to fabric to accelerate to spawn, each for 15 steps."""
    flags = ["--steps", 60, "--checkpoint_every", 15, "--keep", 4, "--micro_batch_size", 16]
    whole = train(projects["torchrun"], tmp_path / "whole", *flags, forked=True)
    run_dir = Path(copytree(whole, tmp_path / "handed"))
    for step, method in ((15, "fabric"), (30, "accelerate"), (45, "spawn")):
        for later in range(step + 15, 75, 15):
            rmtree(run_dir / f"checkpoints/step-{later:09d}")
        for best in run_dir.glob("checkpoints/step-*"):
            if int(best.name.removeprefix("step-")) > step:
                rmtree(best)
        train(projects[method], run_dir, *flags, forked=True)
    assert largest_difference(weights(run_dir, 60), weights(whole, 60)) <= 1e-5
    assert losses(run_dir) == pytest.approx(losses(whole), rel=1e-4)
