"""A repository that exists becomes a project, and loses nothing by it."""

import json
from pathlib import Path

import pytest

from conftest import TEMPLATE, represented, scaffold
from repositories import call, commit, content, repository, state, write
from scaffold.errors import CONFLICTS, PRECONDITION, USAGE

RULES = (TEMPLATE / ".gitattributes").read_text()
OURS = {"README.md": "# ours\n", "model.py": "ours = 1\n", "notes/a.txt": "a\n"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "team"
    write(folder, OURS)
    return repository(folder)


def new(root: Path, *flags: str) -> tuple[int, str, str]:
    result = scaffold("new", ".", "--method", "fabric", *flags, folder=root)
    return result.status, result.out, result.err


def test_by_default_it_lists_what_is_in_the_way_and_refuses(root: Path) -> None:
    before = state(root)
    for flags in ((), ("--on-conflict", "fail"), ("--dry-run",)):
        status, out, err = new(root, *flags)
        assert (status, out) == (PRECONDITION, "")
        assert err.splitlines()[:2] == [
            "already there: README.md, model.py", "error: `.` exists and is not empty"
        ]  # fmt: skip
        assert "--on-conflict skip, overwrite or merge" in err
    assert new(root, "--on-conflict", "ask")[0] == USAGE
    assert state(root) == before


@pytest.mark.parametrize("way", ["skip", "overwrite", "merge"])
def test_each_way_does_what_it_says_and_is_taken_back(root: Path, way: str) -> None:
    before = state(root)
    dry = new(root, "--on-conflict", way, "--dry-run")
    assert "added     train.py" in dry[1].splitlines()
    assert state(root) == before
    status, out, err = new(root, "--on-conflict", way)
    assert status == (CONFLICTS if way == "merge" else 0), err
    assert dry[0] == status
    assert out.startswith(dry[1])
    assert err.startswith("already there: README.md, model.py\n")
    files = content(root)
    assert 'method: fabric\nproject_name: "team"\n' in files[".copier-answers.yml"]
    assert files["notes/a.txt"] == "a\n"
    assert ("ours = 1\n" in files["model.py"]) == (way != "overwrite")
    assert ("def build_model" in files["model.py"]) == (way != "skip")
    assert ("conflict  model.py: added here and by the template" in out) == (way == "merge")
    assert ("skipped   model.py: yours stays" in out) == (way == "skip")
    assert "  pip install -e '.[test]'\n  python train.py --devices 2\n" in out
    assert call(root, "ls-files", "train.py") == "train.py\n"
    assert scaffold("abort", folder=root).status == 0
    assert state(root) == before


def test_a_repository_with_nothing_of_the_project_needs_no_way(tmp_path: Path) -> None:
    root = repository(tmp_path / "team")
    status, out, err = new(root)
    assert (status, err) == (0, "")
    assert "added     train.py" in out
    commit(root)
    assert json.loads(scaffold("status", "--json", folder=root).out)["method"] == "fabric"
    assert new(root, "--on-conflict", "merge")[0] == PRECONDITION  # it is a project already


@pytest.mark.parametrize(
    ("rule", "way"),
    represented(
        [
            ("* text eol=crlf", "skip"),
            ("*.gz text", "merge"),
            ("* eol=lf", "overwrite"),
            ("inner/** text eol=crlf", "inner"),
        ],
        ("* text eol=crlf", "skip"),
        ("inner/** text eol=crlf", "inner"),
    ),
)
def test_no_rule_about_line_ends_breaks_the_digits(rule: str, way: str, tmp_path: Path) -> None:
    """On the disk, in the commit, and in a clone; the rules of the project stand below the own."""
    root, inside = tmp_path / "team", "inner" if way == "inner" else "."
    write(root, {".gitattributes": rule, "inner/a": ""})
    before = state(repository(root))
    words = ("new", inside, "--method", "fabric", "--project-name", "digits", "--on-conflict")
    result = scaffold(*words, way.replace("inner", "merge"), folder=root)
    assert (result.status, result.err) == (0, "")
    digits = (TEMPLATE / "digits.csv.gz").read_bytes()
    assert (root / inside / "digits.csv.gz").read_bytes() == digits
    assert not call(root, "diff")
    ends = b"\r\n" if "crlf" in rule else b"\n"
    assert (root / inside / "train.py").read_bytes().count(ends) > 100
    rules = (root / ".gitattributes").read_text()
    assert rules == (rule if way == "inner" else f"{rule}\n{RULES}")
    assert (root / inside / ".gitattributes").exists()
    assert scaffold("abort", folder=root / inside).status == 0
    assert state(root) == before
    assert scaffold(*words, way.replace("inner", "merge"), folder=root).status == 0
    commit(root)
    call(tmp_path, "clone", "--quiet", "team", "clone")
    assert (tmp_path / "clone" / inside / "digits.csv.gz").read_bytes() == digits


def test_rules_of_git_that_go_before_all_others_are_named(root: Path) -> None:
    write(root, {".git/info/attributes": "* text=auto eol=crlf\n"})
    assert new(root, "--on-conflict", "skip")[0] == 0
    assert scaffold("abort", folder=root).status == 0
    write(root, {".git/info/attributes": "* text eol=crlf\n"})
    before = state(root)
    status, _, err = new(root, "--on-conflict", "skip")
    assert status == PRECONDITION
    assert err.endswith(
        "error: git is told that `digits.csv.gz` is text, and would break it\n"
        f"hint: add `*.gz -text` to {root}/.git/info/attributes, and run it again\n"
    )
    assert state(root) == before


def test_what_could_not_be_undone_is_refused(tmp_path: Path, root: Path) -> None:
    plain = tmp_path / "plain"
    write(plain, OURS)
    assert "is in no git repository" in new(plain, "--on-conflict", "merge")[2]
    assert content(plain) == OURS
    write(root, {"train.py": "not kept by git\n"})
    status, _, err = new(root, "--on-conflict", "merge")
    assert status == PRECONDITION
    assert "`train.py` would be overwritten, and git does not keep it" in err
    commit(root)
    assert "devices 2" not in new(root, "--on-conflict", "skip")[1]  # who knows what that does
    assert scaffold("abort", folder=root).status == 0
    call(root, "reset", "--quiet", "--hard", "HEAD~1")
    write(root, {"tests": "a file\n"})
    commit(root)
    assert "`tests` is no folder, as the project needs" in new(root, "--on-conflict", "merge")[2]
    write(root, {"model.py": "not committed\n"})
    before = state(root)
    assert "not committed: `model.py`" in new(root, "--on-conflict", "skip")[2]
    assert state(root) == before
