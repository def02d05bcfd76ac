"""predict.py: what the best checkpoint reads or writes, and its weights as a file."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, load_model
from torch import nn

from conftest import Result, environment, fork, make, metrics, run, train, weights
from engine.inference import export


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose best checkpoint, step 60, is not its newest: then it goes on far too fast."""
    project = make(tmp_path_factory.mktemp("predict") / "digits", "torchrun", tracker="none")
    place, often = project / "runs" / "default", ("--validate_every", 20, "--checkpoint_every", 20)
    train(project, place, *often, "--steps", 60, forked=True)
    train(project, place, *often, "--steps", 100, "--lr", 1, "--clip", "inf", forked=True)
    losses = {line["step"]: line["val_loss"] for line in metrics(place) if "val_loss" in line}
    assert min(losses, key=losses.__getitem__) == 60
    return place


@pytest.fixture(scope="module")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of the example that writes text."""
    folder = tmp_path_factory.mktemp("predict") / "text"
    project = make(folder, "torchrun", example="text", tracker="none")
    return train(project, project / "runs" / "default", "--steps", 2, processes=1, forked=True)


def predict(project: Path, *flags: object, **env: str) -> Result:
    return fork(["python", "predict.py", *map(str, flags)], project, **env)


def test_the_best_checkpoint_has_the_accuracy_that_its_step_logged(run_dir: Path) -> None:
    result = predict(run_dir.parents[1], "--count", 360)
    assert result.status == 0, result.err
    first, *samples, last = result.out.splitlines()
    assert first == "checkpoint runs/default/checkpoints/step-000000060"
    (logged,) = [line for line in metrics(run_dir) if "val_loss" in line and line["step"] == 60]
    words = last.split()
    assert words[::2] == ["val_loss", "val_accuracy", "val_samples"]
    assert words[1::2] == [f"{logged[name]:.5g}" for name in words[::2]]
    rows = [line.split() for line in samples]
    assert len(rows) == logged["val_samples"]
    assert sum(row[3] == row[5] for row in rows) == len(rows) * logged["val_accuracy"]
    # ten shares that add up to 1: the largest is at least a tenth
    assert all(0.1 <= float(row[7]) <= 1 for row in rows)


def test_the_exported_file_equals_the_best_checkpoint_bit_for_bit(
    run_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    result = predict(run_dir.parents[1], "--export", path)
    assert result.status == 0, result.err
    exported, saved = load_file(path), weights(run_dir, 60)
    assert exported.keys() == saved.keys()
    assert all(torch.equal(exported[name], saved[name]) for name in saved)
    assert {name: x.dtype for name, x in exported.items()} == {k: x.dtype for k, x in saved.items()}


def test_weights_that_two_layers_share_are_exported_once(tmp_path: Path) -> None:
    net, again = tied(), tied()
    export(net, tmp_path / "tied.safetensors")
    assert len(load_file(tmp_path / "tied.safetensors")) == 1
    load_model(again, tmp_path / "tied.safetensors")
    assert torch.equal(again(torch.arange(5)), net(torch.arange(5)))


def tied() -> nn.Module:
    """Two layers with the same weights, as a language model's first and last often are."""
    first, last = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    last.weight = first.weight
    return nn.Sequential(first, last)


def test_without_a_checkpoint_it_is_two_lines(run_dir: Path) -> None:
    result = predict(run_dir.parents[1], "--run_dir", "runs/nope")
    assert result.status != 0
    assert result.err.splitlines() == [
        *("error: runs/nope has no checkpoint", "hint: give --run_dir a run that has saved one")
    ]


def test_another_network_is_two_lines(run_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    shutil.copytree(run_dir, other)
    settings = (other / "config.toml").read_text()
    (other / "config.toml").write_text(settings.replace("width = 32", "width = 16"))
    result = predict(run_dir.parents[1], "--run_dir", other)
    assert result.status == 1
    assert len(result.err.splitlines()) == 2
    assert "step-000000060 is of another network" in result.err


def test_a_missing_library_and_an_unwritable_file_are_two_lines(
    run_dir: Path, tmp_path: Path
) -> None:
    project = run_dir.parents[1]
    unwritable = predict(project, "--export", tmp_path / "nope" / "model.safetensors")
    assert unwritable.status == 1
    fact, remedy = unwritable.err.splitlines()
    assert fact.startswith("error: cannot write")
    assert remedy == "hint: set --export to another file"
    # a module of this name that cannot be imported stands before the library
    (tmp_path / "safetensors.py").write_text("raise ImportError")
    command = [sys.executable, "predict.py", "--export", str(tmp_path / "model")]
    missing = run(command, project, env=environment(PYTHONPATH=str(tmp_path)))
    assert missing.status == 1
    assert missing.err.splitlines() == [
        *("error: safetensors is not installed", "hint: pip install -e '.[export]'")
    ]


def test_a_run_without_its_settings_is_two_lines(run_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    shutil.copytree(run_dir, other)
    (other / "config.toml").unlink()
    result = predict(run_dir.parents[1], "--run_dir", other)
    assert result.status == 1
    fact, remedy = result.err.splitlines()
    assert fact.startswith(f"error: cannot read `{other}/config.toml`: [Errno 2] ")
    assert remedy == "hint: set --run_dir to a run that has the file; train.py writes it"


def test_the_text_of_a_run_begins_with_the_prompt_and_nothing_else_is_on_stdout(
    text_run: Path, tmp_path: Path
) -> None:
    project, path = text_run.parents[1], tmp_path / "model.safetensors"
    result = predict(project, "--prompt", "import ", "--length", 50, "--export", path)
    assert result.status == 0, result.err
    assert result.out.startswith("import ")
    assert 7 <= len(result.out.removesuffix("\n").encode()) <= 7 + 3 * 50  # one may be no UTF-8
    assert result.err == f"wrote {path}\n"
    exported, saved = load_file(path), weights(text_run, 2)
    assert exported.keys() == saved.keys()
    assert all(torch.equal(exported[name], saved[name]) for name in saved)


def test_options_out_of_range_are_refused(run_dir: Path, text_run: Path) -> None:
    result = predict(run_dir.parents[1], "--count", -3)
    assert result.status == 2
    assert result.err.splitlines() == [
        "error: count `-3` is not in 0..1000000000",
        "hint: set --count 10",
    ]
    result = predict(text_run.parents[1], "--length", -1, "--temperature", "nan")
    assert result.status == 2
    assert result.err.splitlines() == [
        *("error: length `-1` is not in 0..1000000", "hint: set --length 200"),
        *("error: temperature `nan` is not in 0..100", "hint: set --temperature 0.8"),
    ]
