"""What `scaffold new` puts into a project, byte for byte."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, TEMPLATE, make
from scaffold import __version__
from scaffold.catalog.methods import METHODS

PYTHON = sorted(path.relative_to(TEMPLATE) for path in TEMPLATE.rglob("*.py"))
# they say where and how, not what
PLACES = ["config", "run_dir", "devices", "check", "fresh_optimizer"]
PLACES += ["step_timeout", "async_save", "profile"]
COMMON = [
    "steps", "global_batch_size", "micro_batch_size", "lr", "warmup_steps", "weight_decay", "clip",
    "precision", "compile",
]  # fmt: skip
SIZES = {
    "digits": ["width", "dropout", "augment"],
    "text": ["layers", "width", "context", "dropout", "text"],
}
HABITS = ["workers", "seed", "log_every", "validate_every", "checkpoint_every", "keep"]


def source(name: str, method: str, example: str = "digits", tracker: str = "tensorboard") -> Path:
    """The file of the template that a project's file is made of."""
    if name in ("train.py", "shares.py"):
        return TEMPLATE / name.replace(".py", f"_{method}.py")
    if name == "tracker.py":
        return TEMPLATE / "trackers" / tracker / name
    if name in ("config.py", "data.py", "model.py", "predict.py", "tests/test_learning.py"):
        return TEMPLATE / "examples" / example / Path(name).name
    return TEMPLATE / name


@pytest.mark.parametrize("method", METHODS)
def test_python_is_the_template_s_byte_for_byte(projects: dict[str, Path], method: str) -> None:
    for path in projects[method].rglob("*.py"):
        name = str(path.relative_to(projects[method]))
        assert path.read_bytes() == source(name, method).read_bytes(), name


@pytest.mark.parametrize(("example", "tracker"), [("text", "wandb"), ("text", "none")])
def test_the_files_of_the_example_and_the_tracker_are_the_chosen_ones(
    example: str, tracker: str, tmp_path: Path
) -> None:
    made = make(tmp_path / "made", "spawn", example=example, tracker=tracker)
    for path in made.rglob("*.py"):
        name = str(path.relative_to(made))
        assert path.read_bytes() == source(name, "spawn", example, tracker).read_bytes(), name
    assert not (made / "digits.csv.gz").exists()
    readme, packages = (made / "README.md").read_text(), (made / "pyproject.toml").read_text()
    assert "validation digits" not in readme
    assert ("wandb" in packages) == (tracker == "wandb")
    assert "tensorboard" not in packages + readme


@pytest.mark.parametrize("method", METHODS)
def test_a_project_has_these_files_and_no_others(projects: dict[str, Path], method: str) -> None:
    root = projects[method]
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    # other tests may have run it meanwhile
    assert [name for name in names if "__pycache__" not in name and name[:5] != "runs/"] == [
        ".copier-answers.yml", ".gitattributes", ".github/workflows/ci.yml", ".gitignore",
        ".pre-commit-config.yaml", "README.md", "config.py", "data.py", "digits.csv.gz",
        "engine/__init__.py", "engine/agreement.py", "engine/async_writer.py", "engine/batch.py",
        "engine/begin.py", "engine/check.py", "engine/checkpoint.py", "engine/checksum.py",
        "engine/converter.py", "engine/culprit.py", "engine/dataloader.py", "engine/distributed.py",
        "engine/errors.py", "engine/evaluation.py", "engine/failures.py", "engine/first_cause.py",
        "engine/hints.py", "engine/inference.py", "engine/interrupt.py", "engine/launcher.py",
        "engine/limits.py", "engine/measures.py", "engine/memmap.py", "engine/metrics.py",
        "engine/optimizer_state.py", "engine/output.py", "engine/parts.py", "engine/peers.py",
        "engine/plain.py", "engine/profiling.py", "engine/random_state.py", "engine/reader.py",
        "engine/replicas.py", "engine/resources.py", "engine/restore.py", "engine/retention.py",
        "engine/run_dir.py", "engine/run_state.py", "engine/sampler.py", "engine/settings.py",
        "engine/signals.py", "engine/state.py", "engine/storage.py", "engine/sums.py",
        "engine/terminal.py", "engine/variables.py", "engine/watchdog.py", "engine/workers.py",
        "model.py", "optimizer.py", "plot.py", "predict.py", "pyproject.toml", "shares.py",
        "tests/conftest.py", "tests/test_layout.py", "tests/test_learning.py",
        "tests/test_training.py", "tracker.py",
        "train.py",
    ]  # fmt: skip


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_template_python_is_short_and_holds_no_jinja(path: Path) -> None:
    text = (TEMPLATE / path).read_text()
    assert not [mark for mark in ("{{", "{%", "{#") if mark in text]
    # a train file sets the imports of its method apart
    assert len(text.splitlines()) <= 150 + 5 * path.name.startswith("train_")


def test_the_tool_s_files_are_short() -> None:
    sizes = {
        str(path): len(path.read_text().splitlines()) for path in ROOT.glob("scaffold/**/*.py")
    }
    assert {name: size for name, size in sizes.items() if size > 250} == {}


@pytest.mark.parametrize("method", METHODS)
def test_a_project_needs_torch_and_the_library_of_its_method(
    projects: dict[str, Path], method: str
) -> None:
    project = tomllib.loads((projects[method] / "pyproject.toml").read_text())["project"]
    libraries = {line.split(">=")[0] for line in project["dependencies"]}
    always = {"torch", "numpy", "tqdm", "tyro", "cattrs", "tomlkit", "tensorboard"}
    assert libraries == always | ({METHODS[method].requires} - {None})
    assert project["name"] == "digits"


@pytest.mark.parametrize("method", METHODS)
def test_the_readme_names_the_launch_line_of_the_method(
    projects: dict[str, Path], method: str
) -> None:
    readme = (projects[method] / "README.md").read_text()
    train = (projects[method] / "train.py").read_text()
    assert f"\n{METHODS[method].launch}\n" in readme
    assert train.splitlines()[2] == METHODS[method].launch
    assert "{" not in re.sub(r"`[^`]*`", "", readme)
    assert len(readme.splitlines()) <= 103


@pytest.mark.parametrize("method", METHODS)
def test_the_answers_are_kept_and_tell_nothing_of_this_machine(
    projects: dict[str, Path], method: str
) -> None:
    answers = yaml.safe_load((projects[method] / ".copier-answers.yml").read_text())
    assert answers == {
        "_commit": f"v{__version__}",
        "_src_path": "scaffold",
        "example": "digits",
        "method": method,
        "project_name": "digits",
        "tracker": "tensorboard",
    }


def test_the_methods_and_the_version_have_one_list() -> None:
    questions = yaml.safe_load((ROOT / "copier.yml").read_text())
    assert questions["method"]["choices"] == list(METHODS)
    assert questions["version"]["default"] == __version__
    assert (ROOT / "CHANGELOG.md").read_text().count(f"## {__version__}") == 1


@pytest.mark.parametrize("example", SIZES)
def test_a_run_has_these_settings_each_with_a_comment_on_its_line(example: str) -> None:
    lines = (TEMPLATE / "examples" / example / "config.py").read_text().splitlines()
    tree = ast.parse("\n".join(lines))
    config = next(n for n in tree.body if isinstance(n, ast.ClassDef))
    settings = [n for n in config.body if isinstance(n, ast.AnnAssign)]
    names = [n.target.id for n in settings if isinstance(n.target, ast.Name)]
    assert names == [*PLACES, *COMMON, *SIZES[example], *HABITS]
    assert len(names) - len(PLACES) <= 20
    assert all("  # " in lines[setting.lineno - 1] for setting in settings)
