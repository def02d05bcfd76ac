"""A project follows the template from version to version, offline, by what a wheel carries.

Three releases are made here of a repository of their own: 0.7.0 and 0.8.0 with an older template,
and 0.9.0 with the one of today. An installation is a copy of the tool with their bundle.
"""

import itertools
import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import ROOT, Result, environment, make, represented, run
from repositories import call, commit, content, repository, state
from scaffold import __version__
from scaffold.catalog.methods import METHODS
from scaffold.errors import CONFLICTS, PRECONDITION, UPDATE_WAITS, USAGE
from scaffold.ops.update import carry_out, updating
from scaffold.staging import staging
from scaffold.template.answers import FILE
from scaffold.template.bundle import release_commits, write_bundle
from scaffold.template.releases import questions_of, template_of, versions
from scaffold.template.render import render

# what the template was like before: (file, what stands there today, what stood there)
BEFORE = {
    "0.7.0": [
        ("template/engine/errors.py", '"""', '"""Older. '),
        ("copier.yml", "default: tensorboard", "default: tensorboard\n  when: false"),
        ("template/{{ _copier_conf.answers_file }}.jinja", "tracker: .*\n", ""),
    ],
    "0.8.0": [("template/engine/errors.py", '"""', '"""Old. ')],
    "0.9.0": [],
}
# each with a method; what a version does not ask has its default
OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {"example": "text", "tracker": "wandb"},
    {"tracker": "mlflow"},
    {"example": "text", "tracker": "none"},
)
CHANGELOG = "# Changelog\n\n" + "".join(
    f"## {version}\n\n- news of {version}\n\n" for version in reversed(BEFORE)
)


@dataclass
class Installed:
    """An installation of a version, away from any repository."""

    folder: Path

    def scaffold(self, *words: object, folder: Path) -> Result:
        env = environment(PYTHONPATH=str(self.folder))
        return run([sys.executable, "-m", "scaffold", *map(str, words)], folder, env=env)


def write_version(repository: Path, version: str) -> None:
    """The tool and its template, as they were in that version."""
    for name in ("scaffold", "template"):
        shutil.rmtree(repository / name, ignore_errors=True)
        shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / "copier.yml", repository)
    edits = [
        *BEFORE[version],
        ("scaffold/__init__.py", r"\d+\.\d+\.\d+", version),
        ("copier.yml", r"default: \d+\.\d+\.\d+", f"default: {version}"),
    ]
    for name, today, then in edits:
        path = repository / name
        path.write_text(re.sub(today, then.replace("\\", r"\\"), path.read_text(), count=1))
    if version == "0.7.0":  # a module that was renamed since
        (repository / "template/engine/random_state.py").rename(
            repository / "template/engine/randomness.py"
        )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = repository(tmp_path_factory.mktemp("source"))
    for version in BEFORE:
        write_version(folder, version)
        commit(folder)
        path = folder / "template/engine/errors.py"
        path.write_text(path.read_text() + "\n")
        commit(folder)  # between two releases
    return folder


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    """Each version, with the releases up to it."""
    found = {}
    for version, commit_ in release_commits(source).items():
        folder = tmp_path_factory.mktemp(version)
        clone, room = folder / "clone", folder / "room"
        room.mkdir()
        call(folder, "clone", "--quiet", str(source), str(clone))
        call(clone, "checkout", "--quiet", commit_)
        shutil.copytree(clone / "scaffold", folder / "scaffold")
        bundled = folder / "scaffold/_template"
        shutil.copytree(clone / "template", bundled / "template")
        shutil.copy(clone / "copier.yml", bundled)
        (folder / "scaffold/_changelog.md").write_text(CHANGELOG)
        assert write_bundle(clone, folder / "scaffold/_releases.bundle", room)
        found[version] = Installed(folder)
    return found


def project(installed: Installed, folder: Path, *flags: str) -> Path:
    result = installed.scaffold("new", "--no-git", *flags, folder, folder=folder.parent)
    assert result.status == 0, result.err
    return folder


def test_the_releases_are_where_the_version_changed(source: Path, tmp_path: Path) -> None:
    commits = release_commits(source)
    assert list(commits) == list(BEFORE)
    assert call(source, "rev-parse", "HEAD~1").strip() == commits["0.9.0"]
    shallow = tmp_path / "shallow"
    call(tmp_path, "clone", "--quiet", "--depth=1", f"file://{source}", str(shallow))
    assert release_commits(shallow) == {}


def test_the_bundle_is_the_same_each_time(source: Path, tmp_path: Path) -> None:
    bundles = [tmp_path / "a.bundle", tmp_path / "b.bundle"]
    for bundle in bundles:
        room = tmp_path / bundle.stem
        room.mkdir()
        assert write_bundle(source, bundle, room)
    assert bundles[0].read_bytes() == bundles[1].read_bytes()
    listed = call(tmp_path, "bundle", "list-heads", str(bundles[0])).split()[1::2]
    assert listed == [f"refs/tags/v{version}" for version in BEFORE]


@pytest.mark.parametrize("method", represented(METHODS, "fabric"))
def test_an_update_of_what_nobody_edited_is_a_fresh_project(
    installed: dict[str, Installed], tmp_path: Path, method: str
) -> None:
    """From each version, byte for byte; a second one changes nothing."""
    new = installed["0.9.0"]
    for version in ("0.7.0", "0.8.0"):
        chosen = () if version == "0.7.0" else ("--tracker", "none")  # asked since
        names = ("--method", method, "--project-name", "digits", "--example", "text")
        root = project(installed[version], tmp_path / version, *names, *chosen)
        repository(root)
        expected = tmp_path / f"fresh {version}"
        project(new, expected, *names, *chosen)
        done = new.scaffold("update", folder=root)
        assert done.status == 0, done.err
        assert content(root) == content(expected)
        commit(root)
        before = state(root)
        again = new.scaffold("update", folder=root)
        assert (again.status, again.out) == (0, "nothing changes\n")
        assert state(root) == before


def test_edits_stay_and_a_conflict_is_told(installed: dict[str, Installed], tmp_path: Path) -> None:
    root = project(installed["0.7.0"], tmp_path / "digits", "--method", "fabric")
    repository(root)
    path = root / "engine/randomness.py"
    path.write_text(path.read_text() + "ours = 1\n")
    commit(root)
    new = installed["0.9.0"]
    dry = new.scaffold("update", "--dry-run", "--json", folder=root)
    assert dry.status == 0, dry.err
    done = new.scaffold("update", folder=root)
    assert done.status == 0, done.err
    assert done.out.startswith("## 0.9.0\n\n- news of 0.9.0\n\n## 0.8.0\n\n- news of 0.8.0\n\n")
    assert "ours = 1\n" in (root / "engine/random_state.py").read_text()
    assert not (root / "engine/randomness.py").exists()
    assert 'git commit -m "Update from scaffold 0.7.0 to 0.9.0"' in done.out
    call(root, "reset", "--quiet", "--hard")
    path = root / "engine/errors.py"
    path.write_text(path.read_text().replace('"""Older.', '"""Ours.'))
    commit(root)
    done = new.scaffold("update", folder=root)
    assert done.status == CONFLICTS
    assert "conflict  engine/errors.py: changed here and in the template, in 1 place\n" in done.out


def test_status_tells_what_waits(installed: dict[str, Installed], tmp_path: Path) -> None:
    root = project(installed["0.7.0"], tmp_path / "digits", "--method", "spawn")
    repository(root)
    old, new = installed["0.7.0"], installed["0.9.0"]
    assert old.scaffold("status", "--check", folder=root).status == 0
    told = new.scaffold("status", "--check", "--json", folder=root)
    assert told.status == UPDATE_WAITS
    assert json.loads(told.out)["newer"]
    assert "tracker" not in json.loads(told.out)  # that version did not ask it
    patch = new.scaffold("diff", folder=root)
    assert patch.status == 0
    assert "rename to engine/random_state.py\n" in patch.out
    assert new.scaffold("update", "--to", "0.8.0", folder=root).status == 0
    commit(root)
    assert "_commit: v0.8.0\n" in (root / FILE).read_text()
    assert new.scaffold("update", "--to", "0.7.0", folder=root).status == USAGE
    for version, words in (("9.9.9", USAGE), ("latest", USAGE)):
        result = new.scaffold("update", "--to", version, folder=root)
        assert (result.status, result.err.splitlines()[1]) == (
            words, "hint: choose one of: 0.7.0, 0.8.0, 0.9.0"
        )  # fmt: skip


def test_a_version_that_is_not_known_is_not_overwritten(
    installed: dict[str, Installed], tmp_path: Path
) -> None:
    """As when the installed scaffold is older than the project, or has lost its releases."""
    root = project(installed["0.9.0"], tmp_path / "digits", "--method", "spawn")
    repository(root)
    before = state(root)
    for words in (["update"], ["switch", "--method", "fabric"], ["diff"]):
        result = installed["0.7.0"].scaffold(*words, folder=root)
        assert result.status == PRECONDITION
        assert result.err.startswith("error: ")
        assert "0.9.0" in result.err
        assert "Traceback" not in result.err
    assert state(root) == before


def test_a_method_is_switched_at_the_version_of_the_project(
    installed: dict[str, Installed], tmp_path: Path
) -> None:
    old, new = installed["0.8.0"], installed["0.9.0"]
    root = project(old, tmp_path / "digits", "--method", "spawn")
    repository(root)
    expected = project(
        old, tmp_path / "other", "--method", "accelerate", "--project-name", "digits"
    )
    assert new.scaffold("switch", "--method", "accelerate", folder=root).status == 0
    assert content(root) == content(expected)


def test_copier_makes_the_same_files_from_a_tag(
    source: Path, installed: dict[str, Installed], tmp_path: Path
) -> None:
    """So whoever has copier and no scaffold gets the same project."""
    call(source, "tag", "--force", "v0.9.0", release_commits(source)["0.9.0"])
    ours = project(installed["0.9.0"], tmp_path / "digits", "--method", "accelerate")
    words = [sys.executable, "-m", "copier", "copy", "--quiet", "--defaults", "--vcs-ref", "v0.9.0"]
    data = ["--data", "project_name=digits", "--data", "method=accelerate"]
    result = run([*words, *data, str(source), str(tmp_path / "by copier")])
    assert result.status == 0, result.err
    assert content(tmp_path / "by copier") == content(ours)


@pytest.mark.parametrize(
    ("version", "method"),
    represented(itertools.product(versions(), METHODS), *zip(versions(), itertools.cycle(METHODS))),
)
def test_each_version_that_was_released_becomes_todays(
    tmp_path: Path, version: str, method: str
) -> None:
    """The real ones, as far as this checkout knows its history; the installed one stays so."""
    options = OPTIONS[list(METHODS).index(method)]
    asked = {question.name for question in questions_of(version)}
    answers = {"project_name": "digits", "method": method} | {
        name: answer for name, answer in options.items() if name in asked
    }
    with staging(tmp_path) as room:
        made = render(template_of(version, room), answers, room / "made")
        root = repository(shutil.copytree(made, tmp_path / version))
    outcome = carry_out(updating(root, None))
    assert outcome.is_empty == (version == __version__)
    assert content(root) == content(make(tmp_path / f"fresh {version}", **answers))
