"""A team formats its project otherwise than the template, and still moves without a conflict."""

import itertools
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import formats
from conftest import BIN, make, represented, run, scaffold
from repositories import commit, content, repository, write
from scaffold.catalog.methods import METHODS
from scaffold.merge.form import meaning
from scaffold.ops import update
from scaffold.ops.update import carry_out, rehearse, switching, updating
from scaffold.staging import staging
from scaffold.template.releases import template_of
from scaffold.template.render import render
from small_template import later, made
from small_template import templates as templates

WIDTHS = (79, 88, 100, 120)
QUOTES = ("single", "double", "preserve")
CASES = [
    f"{a} {b} {width} {quotes}"
    for number, (a, b) in enumerate(itertools.permutations(METHODS, 2))
    for width, quotes in zip(WIDTHS, (QUOTES[number % 3 :] + QUOTES + QUOTES)[:4], strict=True)
]
STAND = [CASES[0], CASES[17], CASES[26], CASES[47]]  # from each method, at each width


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("rendered")
    return {m: make(parent / m, m, example="digits", tracker="tensorboard") for m in METHODS}


@pytest.fixture
def project(
    rendered: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Makes a project in a repository, at a place in it, whose team may format it with ruff."""

    def copy(_: Path, answers: dict[str, str], folder: Path) -> Path:
        return shutil.copytree(rendered[answers["method"]], folder)

    monkeypatch.setattr(update, "render", copy)
    monkeypatch.setenv("PATH", str(BIN), prepend=":")

    def project(method: str, place: str = "", **settings: str) -> Path:
        top = tmp_path / "repository"
        root = shutil.copytree(rendered[method], top / place)
        write(top, settings)
        repository(top)
        return root

    return project


def formatted(root: Path, names: str = ".") -> None:
    done = run([str(BIN / "ruff"), "format", "--quiet", "--no-cache", names], root)
    assert done.status == 0, done.err
    commit(root)


def settings(root: Path, width: int, quotes: str) -> None:
    path = root / "pyproject.toml"
    text = path.read_text().replace("line-length = 100", f"line-length = {width}")
    lint, ours = "[tool.ruff.lint]", f'[tool.ruff.format]\nquote-style = "{quotes}"\n\n'
    path.write_text(text.replace(lint, ours + lint))


def test_a_fresh_project_stays_as_it_came(rendered: dict[str, Path], tmp_path: Path) -> None:
    """Whatever the formatter does without settings; with those that are shipped it does nothing."""
    for method, fresh in rendered.items():
        root = shutil.copytree(fresh, tmp_path / method)
        before = content(root)
        ruff = str(BIN / "ruff")
        for words in (["format"], ["check", "--fix"]):
            done = run([ruff, *words, "--no-cache", "."], root)
            assert done.status == 0, done.out + done.err
        assert content(root) == before


@pytest.mark.parametrize("case", represented(CASES, *STAND))
def test_a_switch_of_a_formatted_project_has_no_conflict(
    project: Callable[..., Path], case: str
) -> None:
    """With edits of the team in it, formatted, too."""
    a, b, width, quotes = case.split()
    root = project(a)
    settings(root, int(width), quotes)
    path = root / "train.py"
    mine = "        log.train(step, totals, lr, grad_norm)\n"
    path.write_text(path.read_text().replace(mine, mine + '        print("ours", step)\n'))
    formatted(root)
    before = path.read_text()
    outcome = carry_out(switching(root, b))
    assert (outcome.conflicts, outcome.notes) == ({}, [])
    ours = 'print("ours", step)' if quotes != "single" else "print('ours', step)"
    assert ours in path.read_text()
    assert run([str(BIN / "ruff"), "format", "--check", "--no-cache", "train.py"], root).status == 0
    commit(root)
    assert not carry_out(switching(root, a)).conflicts
    assert path.read_text() == before


def test_imports_that_a_team_sorts_otherwise_are_followed(project: Callable[..., Path]) -> None:
    root = project("torchrun")
    path = root / "pyproject.toml"
    sort = "\n[tool.ruff.lint.isort]\nforce-sort-within-sections = true\n"
    path.write_text(path.read_text() + sort)
    run([str(BIN / "ruff"), "check", "--fix", "--no-cache", "."], root)
    formatted(root)
    assert not carry_out(switching(root, "spawn")).conflicts
    assert run([str(BIN / "ruff"), "check", "--no-cache", "train.py"], root).status == 0


def test_the_settings_are_those_of_the_place(project: Callable[..., Path]) -> None:
    """Of a monorepo above the project, which has none of its own."""
    root = project(
        "fabric", "jobs/train", **{"ruff.toml": 'line-length = 79\nformat.quote-style = "single"\n'}
    )
    path = root / "pyproject.toml"
    text = path.read_text()
    path.write_text(text[: text.index("[tool.ruff]")])
    (root / ".pre-commit-config.yaml").unlink()
    formatted(root)
    outcome = carry_out(switching(root, "torchrun"))
    assert (outcome.conflicts, outcome.notes, outcome.left_out) == ({}, [], [])
    assert "ruff" not in path.read_text()
    assert run([str(BIN / "ruff"), "format", "--check", "--no-cache", "."], root).status == 0


@pytest.mark.parametrize(
    "kind", represented(["pyproject", "ruff.toml", "black", "above"], "pyproject")
)
def test_an_update_adds_no_settings_to_those_of_a_team(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Of a version that shipped none; and where there are none, it adds ours."""
    monkeypatch.setenv("PATH", str(BIN), prepend=":")
    with staging(tmp_path) as room:
        answers = {"project_name": "digits", "method": "fabric"}
        fresh = render(template_of("0.4.0", room), answers, room / "made")
        root = Path(shutil.copytree(fresh, tmp_path / "top" / "digits"))
    text = (root / "pyproject.toml").read_text()
    where = {
        "pyproject": {"digits/pyproject.toml": text + "\n[tool.ruff]\nline-length = 88\n"},
        "ruff.toml": {"digits/ruff.toml": "line-length = 88\n"},
        "black": {"digits/pyproject.toml": text + "\n[tool.black]\nline-length = 88\n"},
        "above": {"pyproject.toml": "[tool.ruff]\nline-length = 88\n"},
    }
    write(tmp_path / "top", where[kind])
    repository(tmp_path / "top")
    # all that was formatted is read, which takes long
    formatted(root, "train.py" if kind == "pyproject" else ".")
    outcome = carry_out(updating(root, None))
    assert outcome.conflicts == {}
    tool = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    assert tool.get("ruff") == ({"line-length": 88} if kind == "pyproject" else None)
    assert not (root / ".pre-commit-config.yaml").exists()


def test_code_in_a_readme_is_formatted_too(
    tmp_path: Path, templates: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(BIN), prepend=":")
    text = "# Ours\n\n```python\nfirst = 'a'\nsecond = 'b'\n```\n"
    templates({"README.md": text}, {"README.md": text.replace("'b'", "'c'")})
    root = repository(made(tmp_path / "project", {"README.md": text}))
    formatted(root)
    assert '"b"' in (root / "README.md").read_text()
    assert not carry_out(later(root)).conflicts
    assert (root / "README.md").read_text() == text.replace("b'", "c'").replace("'", '"')


def edited(root: Path) -> None:
    path = root / "train.py"
    path.write_text(path.read_text() + "# ours\n")


FORMS = [
    f"{kind} {a} {b}" for kind in formats.FORMATS for a, b in itertools.permutations(METHODS, 2)
]


@pytest.mark.parametrize("case", represented(FORMS, FORMS[0], FORMS[19], FORMS[26]))
def test_a_switch_of_what_was_only_formatted_has_no_conflict_whatever_has_done_it(
    project: Callable[..., Path], rendered: dict[str, Path], case: str
) -> None:
    """It means what a fresh project does; what is in the way comes as the template has it."""
    kind, a, b = case.split()
    root, form = project(a), formats.FORMATS[kind]
    formats.reformat(root, kind)
    commit(root)
    for method in (b, a):
        outcome = carry_out(switching(root, method))
        assert outcome.conflicts == {}
        assert outcome.reformed or method == a
        fresh = (rendered[method] / "train.py").read_text()
        its_form = {*form(fresh).splitlines()} - {*fresh.splitlines()}
        # the others are in the way as a whole
        assert kind != "quotes" or its_form & {*(root / "train.py").read_text().splitlines()}
        for path in rendered[method].rglob("*.py"):
            name = str(path.relative_to(rendered[method]))
            assert meaning(name, (root / name).read_bytes()) == meaning(name, path.read_bytes())
        commit(root)
    name = "engine/checkpoint.py"
    assert (root / name).read_text() == form((rendered[a] / name).read_text())


def test_a_file_that_was_edited_and_formatted_by_others_stays_a_conflict(
    project: Callable[..., Path],
) -> None:
    """A comment is an edit, too."""
    root = project("fabric")
    edited(root)
    formats.reformat(root, "quotes")
    commit(root)
    outcome = rehearse(switching(root, "accelerate"))[0]
    assert (list(outcome.conflicts), outcome.reformed) == (["train.py"], ["shares.py"])
    remedy = "pre-commit run --files shares.py"
    assert outcome.notes == [f"`shares.py` came in part as the template formats them: {remedy}"]


def fake(path: Path, does: str) -> Path:
    """A formatter that a shell script plays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path.parent


def test_a_program_that_does_not_work_is_told_and_black_is_asked(
    project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project("fabric")
    settings(root, 88, "single")
    edited(root)
    formatted(root)
    path = root / "pyproject.toml"
    path.write_text(
        path.read_text().replace("line-length", 'required-version = "==0.1"\nline-length')
    )
    commit(root)
    outcome, _ = rehearse(switching(root, "torchrun"))
    assert outcome.conflicts
    note = outcome.notes[0]
    assert "Required version `==0.1`" in note
    told = scaffold("switch", "--method", "torchrun", "--dry-run", folder=root)
    assert f"note      {note}\n" in told.out
    flags = "--isolated --line-length 88 --config \"format.quote-style='single'\""
    folder = fake(tmp_path / "bin/black", f"exec {BIN}/ruff format {flags} --stdin-filename a.py -")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    outcome, _ = rehearse(switching(root, "torchrun"))
    assert outcome.conflicts == {}


def test_a_project_without_a_formatter_at_hand_is_told_where_it_matters(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project("fabric")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert rehearse(switching(root, "spawn"))[0].notes == []
    settings(root, 79, "single")
    edited(root)
    formatted(root)
    outcome, _ = rehearse(switching(root, "spawn"))
    assert outcome.conflicts
    assert outcome.notes[0] == "no ruff or black is installed here: merged as the files are"


@pytest.mark.parametrize("kind", ["plain", "linked", "environment"])
def test_a_program_that_the_repository_tracks_is_never_run(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    root = project("fabric")
    settings(root, 79, "single")
    formatted(root)
    folder = fake(root / "tools/bin/ruff", f"touch {tmp_path}/was-run; cat")
    commit(root)
    if kind == "linked":
        (tmp_path / "other").mkdir()
        (tmp_path / "other/ruff").symlink_to(folder / "ruff")
        folder = tmp_path / "other"
    if kind == "environment":
        monkeypatch.setenv("VIRTUAL_ENV", str(root / "tools"))
    else:
        monkeypatch.setenv("PATH", str(folder), prepend=":")
    assert not rehearse(switching(root, "torchrun"))[0].conflicts  # by the one behind it on PATH
    assert not (tmp_path / "was-run").exists()
