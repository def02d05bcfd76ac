"""Each recipe of docs/recipes, applied to a project of each method and put to work."""

import json
import re
from pathlib import Path
from shutil import copytree, rmtree

import pytest

from conftest import (
    BIN,
    ROOT,
    fork,
    lasting,
    launch,
    make,
    metrics,
    represented,
    run,
    scaffold,
    state,
    train,
)
from engine.replicas import checksum
from repositories import call, repository
from scaffold.catalog.methods import METHODS

PAGES = ROOT / "docs/recipes"
RECIPES = sorted(path.stem for path in PAGES.glob("*.patch"))
NEXT = dict(zip(METHODS, [*list(METHODS)[1:], *list(METHODS)[:1]], strict=True))
ALL = [(recipe, method) for recipe in RECIPES for method in METHODS]
# one that changes train.py, and one that begins with weights from elsewhere
STAND = [("ema", "spawn"), ("lora", "accelerate")]
STEPS, RESUMED = 12, 8
MOST = 74  # lines that a recipe adds
FLAGS = ("--steps", STEPS, "--checkpoint_every", 4, "--validate_every", 6, "--keep", 4)


def applied(recipe: str, method: str, folder: Path, backbone: int = 1) -> Path:
    """A repository with a fresh project of a method and a recipe, and what its page asks for.

    backbone: steps that the network of LoRA has learned.
    """
    repository(make(folder, method, tracker="none"))
    if recipe == "lora":
        run_dir = train(folder, folder / "runs/default", "--steps", backbone, forked=True)
        words = ["--run_dir", str(run_dir), "--count", "0", "--export", "backbone.safetensors"]
        exported = fork(["python", "predict.py", *words], folder)
        assert exported.status == 0, exported.err
    call(folder, "apply", str(PAGES / f"{recipe}.patch"))
    if recipe == "stream":
        page = (PAGES / "stream.md").read_text()
        (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        assert run([str(BIN / "python"), "-c", program], folder).status == 0
    call(folder, "commit", "--quiet", "--all", "--message", recipe)
    return folder


def without(run_dir: Path, after: int) -> Path:
    """The run as it was after a step, from which it goes on."""
    for path in run_dir.glob("checkpoints/step-*"):
        if int(path.name.removeprefix("step-")) > after:
            rmtree(path)
    return run_dir


@pytest.mark.parametrize(("recipe", "method"), represented(ALL, *STAND))
def test_a_recipe_trains_goes_on_bit_for_bit_and_under_another_method(
    recipe: str, method: str, tmp_path: Path
) -> None:
    project = applied(recipe, method, tmp_path / "project")
    for words in (["format", "--check"], ["check"]):  # it reads like the rest
        result = run([str(BIN / "ruff"), *words, "."], project)
        assert result.status == 0, result.out
    chance = () if recipe == "gan" else ("--dropout", 0.1)  # which has no such setting
    whole = train(project, tmp_path / "whole", *FLAGS, *chance, forked=True)
    resumed = without(copytree(whole, tmp_path / "resumed"), RESUMED)
    (project / "backbone.safetensors").unlink(missing_ok=True)  # which no run needs that goes on
    train(project, resumed, *FLAGS, *chance, forked=True)
    assert lasting(resumed) == lasting(whole)
    for part, expected in state(whole, STEPS).items():
        assert checksum(state(resumed, STEPS)[part]) == checksum(expected), part

    shown = fork(["python", "predict.py", "--run_dir", str(whole), "--count", "2"], project)
    assert shown.status == 0, shown.err
    assert len(re.findall(r"^sample \d", shown.out, re.MULTILINE)) == 2

    switched = scaffold("switch", "--method", NEXT[method], folder=project)
    assert switched.status == 0, switched.out + switched.err
    going_on = launch(project, "--run_dir", without(resumed, RESUMED), *FLAGS, *chance, forked=True)
    assert f"goes on after step {RESUMED}" in going_on.out, going_on.err
    ends = [metrics(run_dir)[-1]["val_loss"] for run_dir in (resumed, whole)]
    assert ends[0] == pytest.approx(ends[1], rel=0.2)


@pytest.mark.full
@pytest.mark.long
@pytest.mark.parametrize(("recipe", "method"), ALL)
def test_a_project_with_a_recipe_passes_its_own_tests(
    recipe: str, method: str, tmp_path: Path
) -> None:
    """They train to an end, compare two processes with one, resume, and look at shares."""
    project = applied(recipe, method, tmp_path / "digits", backbone=100)
    result = fork(["python", str(ROOT / "tests/own_tests.py")], project)
    assert result.status == 0, result.out + result.err
    assert "5 passed" in result.out


# transformers 5.24 in its forward pass, torch 2.13 as AveragedModel sends its count to the device
LIBRARIES_WAIT = {"transformers", "ema"}
COUNTED = """
import torch
from model import loss_sums, metrics

digits = torch.full((301,), 3)
scores = torch.nn.functional.one_hot(digits, 10).float().requires_grad_()
known = [torch.zeros_like(digits)] if RECIPE == "sources" else []
with torch.autocast("cpu", torch.bfloat16):
    sums = loss_sums(torch.nn.Identity(), [scores, digits, *known])
found = {name: torch.as_tensor(value).detach().double() for name, value in sums.items()}
print("accuracy", metrics(found)["accuracy"])
"""


@pytest.mark.parametrize("recipe", ["metrics", "sources"])
def test_counts_of_a_recipe_are_exact_in_bfloat16(recipe: str, tmp_path: Path) -> None:
    """Which has 8 bits: a count above 256 would be rounded."""
    project = applied(recipe, "torchrun", tmp_path / "digits")
    (project / "counted.py").write_text(COUNTED.replace("RECIPE", repr(recipe)))
    ended = fork(["python", "counted.py"], project)
    assert ended.status == 0, ended.err
    assert ended.out == "accuracy 1.0\n"


@pytest.mark.parametrize("recipe", represented(sorted({*RECIPES} - LIBRARIES_WAIT), "metrics"))
def test_no_rank_waits_for_its_device_with_a_recipe(recipe: str, tmp_path: Path) -> None:
    """As engine/test_waits.py shows of a fresh project."""
    project = applied(recipe, "torchrun", tmp_path / "digits")
    ended = fork(["python", str(ROOT / "tests/waits.py")], project)
    assert ended.status == 0, ended.err
    assert json.loads(ended.out.splitlines()[-1])["waits"] == []


def test_the_list_of_recipes_counts_their_lines_and_names_their_files() -> None:
    rows = (PAGES / "README.md").read_text().splitlines()
    for recipe in RECIPES:
        patch = (PAGES / f"{recipe}.patch").read_text()
        files = re.findall(r"^diff --git a/(\S+)", patch, re.MULTILINE)
        lines = [line for line in patch.splitlines() if not line.startswith(("+++ ", "--- "))]
        added, gone = (sum(line.startswith(sign) for line in lines) for sign in "+-")
        assert added <= MOST, recipe
        assert not [name for name in files if name.startswith("engine/")], recipe
        assert "train.py" not in files or recipe == "ema"
        heading = (PAGES / f"{recipe}.md").read_text().splitlines()[0].removeprefix("# ")
        named = ", ".join(f"`{name}`" for name in files)
        row = f"| [{recipe}]({recipe}.md) | {heading} | {added} | {gone} | {named} |"
        assert row in rows, row
