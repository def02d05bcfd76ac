"""What `scaffold new` puts into a project, byte for byte."""

import ast
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, TEMPLATE

from config import Config
from scaffold import __version__
from scaffold.methods import METHODS

PYTHON = sorted(path.relative_to(TEMPLATE) for path in TEMPLATE.rglob("*.py"))
SETTINGS = [
    "config", "run_dir", "devices", "steps", "global_batch_size", "micro_batch_size", "lr",
    "warmup_steps", "weight_decay", "clip", "precision", "width", "workers", "seed", "log_every",
    "validate_every", "checkpoint_every",
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_python_is_the_template_s_byte_for_byte(projects: dict[str, Path], method: str) -> None:
    for path in projects[method].rglob("*.py"):
        name = str(path.relative_to(projects[method]))
        chosen = {"train.py": f"train_{method}.py", "shares.py": f"shares_{method}.py"}
        assert path.read_bytes() == (TEMPLATE / chosen.get(name, name)).read_bytes(), name


@pytest.mark.parametrize("method", METHODS)
def test_a_project_has_these_files_and_no_others(projects: dict[str, Path], method: str) -> None:
    root = projects[method]
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()) == [
        ".copier-answers.yml", ".github/workflows/ci.yml", ".gitignore", "README.md",
        "checkpoint.py", "config.py", "data.py", "digits.csv.gz", "model.py", "pyproject.toml",
        "runtime.py", "shares.py", "tests/conftest.py", "tests/test_training.py", "train.py",
    ]  # fmt: skip


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_template_python_is_short_and_holds_no_jinja(path: Path) -> None:
    text = (TEMPLATE / path).read_text()
    assert not [mark for mark in ("{{", "{%", "{#") if mark in text]
    assert len(text.splitlines()) <= 150


def test_the_tool_s_files_are_short() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in ROOT.glob("scaffold/*.py")}
    assert {name: size for name, size in sizes.items() if size > 250} == {}


@pytest.mark.parametrize("method", METHODS)
def test_a_project_needs_torch_and_the_library_of_its_method(
    projects: dict[str, Path], method: str
) -> None:
    project = tomllib.loads((projects[method] / "pyproject.toml").read_text())["project"]
    libraries = {line.split(">=")[0] for line in project["dependencies"]}
    assert libraries == {"torch", "numpy", "tqdm", "tyro"} | ({METHODS[method].requires} - {None})
    assert project["name"] == "digits"


@pytest.mark.parametrize("method", METHODS)
def test_the_readme_names_the_launch_line_of_the_method(
    projects: dict[str, Path], method: str
) -> None:
    readme = (projects[method] / "README.md").read_text()
    train = (projects[method] / "train.py").read_text()
    assert f"\n{METHODS[method].launch}\n" in readme
    assert train.splitlines()[2] == METHODS[method].launch
    assert "{" not in readme
    assert len(readme.splitlines()) <= 70


@pytest.mark.parametrize("method", METHODS)
def test_the_answers_are_kept_and_tell_nothing_of_this_machine(
    projects: dict[str, Path], method: str
) -> None:
    answers = yaml.safe_load((projects[method] / ".copier-answers.yml").read_text())
    assert answers == {
        "_commit": f"v{__version__}",
        "_src_path": "scaffold",
        "method": method,
        "project_name": "digits",
    }


def test_the_methods_and_the_version_have_one_list() -> None:
    questions = yaml.safe_load((ROOT / "copier.yml").read_text())
    assert questions["method"]["choices"] == list(METHODS)
    assert questions["version"]["default"] == __version__
    assert (ROOT / "CHANGELOG.md").read_text().count(f"## {__version__}") == 1


def test_a_run_has_these_settings_each_with_a_comment_on_its_line() -> None:
    assert [field.name for field in fields(Config)] == SETTINGS
    assert len(SETTINGS) <= 20
    lines = (TEMPLATE / "config.py").read_text().splitlines()
    tree = ast.parse("\n".join(lines))
    config = next(n for n in tree.body if isinstance(n, ast.ClassDef))
    settings = [n for n in config.body if isinstance(n, ast.AnnAssign)]
    assert len(settings) == len(SETTINGS)
    assert all("  # " in lines[setting.lineno - 1] for setting in settings)
