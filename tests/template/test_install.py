"""Installations as users make them: into fresh environments, by pip and by uv."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from conftest import BIN, ROOT, TEMPLATE, environment, metrics, represented, run, scaffold
from scaffold.catalog.methods import METHODS
from scaffold.template.bundle import release_commits

# the versions that the tests use; without byte-compiling an installation takes half the time
CONSTRAINTS = str(ROOT / "constraints.txt")
PINNED = {"PIP_CONSTRAINT": CONSTRAINTS, "PIP_NO_COMPILE": "1"}
SITE = Path(torch.__file__).parents[1]
LARGE = "torch,torch-*,torchgen,functorch,sympy,sympy-*,mpmath,mpmath-*,networkx,networkx-*"
LENT = {"spawn": LARGE, "fabric": LARGE}  # the others start by torchrun, which comes with torch
FRESH = environment(PATH="/usr/local/bin:/usr/bin:/bin", **PINNED)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [str(BIN / "uv"), "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)]
    result = run(command, seconds=300)
    assert result.status == 0, result.err
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_carries_the_template_and_nothing_it_left_behind(wheel: Path) -> None:
    prefix = "scaffold/_template/template/"
    names = {
        name.removeprefix(prefix)
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith(prefix)
    }
    ignored = run("git ls-files --others --ignored --exclude-standard --directory .", TEMPLATE).out
    own = {str(path.relative_to(TEMPLATE)) for path in TEMPLATE.rglob("*") if path.is_file()}
    own = {name for name in own if not any(part in name for part in ignored.splitlines())}
    assert names == own
    assert "train_fabric.py" in names
    packed = zipfile.ZipFile(wheel).namelist()
    recipes = {Path(name).name for name in packed if name.startswith("scaffold/_recipes/")}
    assert recipes == {path.name for path in (ROOT / "docs/recipes").iterdir()}
    assert not [name for name in names if "cache" in name]


def test_the_wheel_carries_the_templates_of_all_releases(wheel: Path, tmp_path: Path) -> None:
    """As far as this checkout knows them: a shallow one knows none."""
    known = release_commits(ROOT) if (ROOT / ".git").exists() else {}
    with zipfile.ZipFile(wheel) as packed:
        assert "scaffold/_changelog.md" in packed.namelist()
        assert ("scaffold/_releases.bundle" in packed.namelist()) == bool(known)
        if known:
            packed.extract("scaffold/_releases.bundle", tmp_path)
            bundle = tmp_path / "scaffold/_releases.bundle"
            heads = run(["git", "bundle", "list-heads", str(bundle)]).out.split()[1::2]
            assert {*heads} == {f"refs/tags/v{version}" for version in known}


def test_the_wheel_works_in_an_empty_environment_away_from_the_repository(
    wheel: Path, projects: dict[str, Path], tmp_path: Path
) -> None:
    """Also when its template was byte-compiled with the rest: no .pyc may reach a project."""
    install = ["uv", "pip", "install", "--python", "venv", "--compile-bytecode", str(wheel)]
    for command in (["uv", "venv", "venv"], [*install, "--constraint", CONSTRAINTS]):
        result = run(command, tmp_path, seconds=300)
        assert result.status == 0, result.err
    site = next((tmp_path / "venv/lib").glob("*/site-packages/scaffold/_template"))
    assert list(site.rglob("*.pyc")), "uv compiles what it installs"
    for method in METHODS:
        words = ["venv/bin/scaffold", "new", "--method", method, method, "--no-git"]
        result = run([*words, "--project-name", "digits"], tmp_path)
        assert result.status == 0, result.err
        for path in projects[method].rglob("*"):
            copy = tmp_path / method / path.relative_to(projects[method])
            assert path.is_dir() or "cache" in str(path) or copy.read_bytes() == path.read_bytes()
        assert not list((tmp_path / method).rglob("*.pyc"))


def test_uvx_makes_a_project_without_an_installation(tmp_path: Path) -> None:
    words = [str(BIN / "uvx"), "--quiet", "--from", str(ROOT), "scaffold-train", "new"]
    result = run([*words, "--method", "fabric", "digits"], tmp_path, seconds=300)
    assert result.status == 0, result.err
    assert (tmp_path / "digits/train.py").read_bytes() == (
        TEMPLATE / "train_fabric.py"
    ).read_bytes()


@pytest.mark.parametrize("method", represented(METHODS, "fabric"))
def test_uv_resolves_a_project(projects: dict[str, Path], method: str, tmp_path: Path) -> None:
    """`uv sync` would download a torch of several GB here; its first half, `uv lock`, does not."""
    shutil.copy(projects[method] / "pyproject.toml", tmp_path)
    result = run([str(BIN / "uv"), "lock", "--quiet"], tmp_path, seconds=300)
    assert result.status == 0, result.err
    locked = (tmp_path / "uv.lock").read_text()
    library = METHODS[method].requires or "torch"
    assert f'name = "{library}"' in locked


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "lent"),
    represented([(method, LENT.get(method, "")) for method in METHODS], ("spawn", LARGE)),
    ids=lambda value: "lent" if value == LARGE else value or "all",
)
def test_the_printed_commands_install_and_train_a_project(
    method: str, lent: str, tmp_path: Path
) -> None:
    """Pasted as they are, into a shell that knows no virtual environment; lent: is there before."""
    made = scaffold("new", "--method", method, "digits", folder=tmp_path)
    assert made.status == 0, made.err
    steps = [line.strip() for line in made.out.splitlines() if line.startswith("  ")]
    assert len(steps) == 5
    steps[1] = steps[1].replace("python3", sys.executable)
    if lent:
        steps[1] += f"\nln -s {SITE}/{{{lent}}} .venv/{SITE.relative_to(BIN.parent)}"
    result = run("\n".join(steps), tmp_path, env=FRESH, seconds=420)
    assert result.status == 0, result.out[-2000:] + result.err[-2000:]
    assert metrics(tmp_path / "digits/runs/default")[-1]["val_accuracy"] >= 0.97
    listed = run(["digits/.venv/bin/pip", "list", "--format", "json"], tmp_path, env=FRESH).out
    names = {package["name"] for package in json.loads(listed)}
    others = {m.requires for m in METHODS.values() if m.requires} - {METHODS[method].requires}
    assert not names & (others | {"scaffold-train", "copier"})
    status = run(["git", "status", "--porcelain"], tmp_path / "digits").out
    assert status == ""  # what installing and training leave behind is ignored
