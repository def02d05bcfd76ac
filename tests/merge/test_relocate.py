"""A project follows where a release has put its files, and what its team wrote follows too."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import environment, examples, fork, launch, make, represented, run, scaffold
from repositories import commit, content, repository, state, write
from scaffold import __version__
from scaffold.catalog.methods import METHODS
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git.repository import find_place
from scaffold.merge.rollback import take_back
from scaffold.ops.update import carry_out, rehearse, updating
from scaffold.staging import staging
from scaffold.template.releases import template_of, versions
from scaffold.template.render import render

BEFORE = "0.3.0"  # the last release whose modules lay side by side
SHORT = ("--steps", 4, "--log_every", 2, "--validate_every", 4)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A project as a version has made it; each is rendered once."""
    parent = tmp_path_factory.mktemp("rendered")

    def rendered(version: str, method: str) -> Path:
        folder = parent / f"{version}-{method}"
        if not folder.exists():
            answers = {"project_name": "digits", "method": method}
            if version != "0.1.0":
                answers |= {"example": "digits", "tracker": "tensorboard"}
            with staging(parent) as room:
                shutil.copytree(render(template_of(version, room), answers, room / "made"), folder)
        return folder

    return rendered


@pytest.fixture
def project(rendered: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Makes a project of an earlier version, in git."""

    def project(method: str, version: str = BEFORE, name: str = "project") -> Path:
        return repository(shutil.copytree(rendered(version, method), tmp_path / name))

    return project


def edit(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))


def edit_moved_files(root: Path) -> None:
    """What a team may have done to files that have moved since, and beside them."""
    edit(
        root,
        "loading.py",
        "    if config.workers:\n",
        "    print('our loader')\n    if config.workers:\n",
    )
    edit(
        root,
        "log.py",
        "        self.file.flush()\n",
        "        self.file.flush()\n        print('our log')\n",
    )
    edit(
        root,
        "runtime.py",
        "def open_store(",
        "def ours() -> int:\n    return mix(1, 2)\n\n\ndef open_store(",
    )
    edit(root, "train.py", "import runtime\n", "import my_eval  # ours\nimport runtime\n")
    edit(
        root,
        "train.py",
        "    log.close()\n",
        "    print(f'ours {my_eval.score()} {runtime.ours()}')\n    log.close()\n",
    )
    own = '''"""Ours."""

import checkpoint
import runtime as r
from history import best as best_of


def score() -> int:
    import loading

    assert checkpoint.finish_writing and best_of and loading.build_loader
    return r.mix("loading.py", "ours")
'''
    write(root, {"my_eval.py": own})


def test_edits_follow_into_the_engine_and_a_team_s_own_code_finds_it(
    project: Callable[..., Path],
) -> None:
    root = project("fabric")
    edit_moved_files(root)
    commit(root)
    before = state(root)
    rehearsed, patch = rehearse(updating(root, None))
    assert state(root) == before
    assert "+++ b/engine/dataloader.py" in patch
    outcome = carry_out(updating(root, None))
    assert outcome == rehearsed
    assert outcome.conflicts == {}
    assert outcome.moved["loading.py"] == "engine/dataloader.py"
    assert len(outcome.moved) == 20
    assert not (root / "loading.py").exists()
    assert (
        (root / "my_eval.py").read_text()
        == '''"""Ours."""

from engine import checkpoint
from engine.async_writer import finish
from engine.random_state import mix
from engine.retention import best as best_of


def score() -> int:
    from engine import dataloader

    assert finish and best_of and dataloader.build_loader
    return mix("loading.py", "ours")
'''.replace("from engine import checkpoint\n", "")
    )
    done = launch(root, "--run_dir", root / "runs/ours", *SHORT, forked=True)
    assert done.status == 0, done.err
    assert re.search(r"ours \d+ \d+", done.out)
    assert "our loader" in done.out
    assert "our log" in done.out
    shutil.rmtree(root / "runs")
    take_back(find_place(root))
    assert state(root) == before


PACKAGE = "mkdir -p src/digits && touch src/digits/__init__.py\n"
EACH = r"""
for n in $(basename -s .py *.py); do
  perl -pi -e "s/^( *)import $n\$/\$1from IT import $n/;" \
    -e "s/^( *)from $n import/\$1from IT.$n import/" FILES
done
"""
MOVE = "git mv *.py digits.csv.gz src/digits/"
GROWN = {
    # what the README of 0.3.0 told to do to become a package
    "absolute": PACKAGE + EACH.replace("IT", "digits").replace("FILES", "*.py tests/*.py") + MOVE,
    "relative": PACKAGE
    + EACH.replace("IT.", ".").replace("IT", ".").replace("FILES", "*.py")
    + EACH.replace("IT", "digits").replace("FILES", "tests/*.py")
    + MOVE,
    "side by side": "mkdir src && git mv *.py digits.csv.gz src/",
}
NESTED = GROWN["relative"].replace("from digits", "from acme.digits")
GROWN["nested"] = NESTED.replace("src/digits", "src/acme/digits") + "\ntouch src/acme/__init__.py\n"


@pytest.mark.parametrize("kind", represented(GROWN, "side by side"))
def test_a_project_that_lives_under_src_follows_without_a_conflict(
    project: Callable[..., Path], kind: str
) -> None:
    root = project("torchrun")
    done = run(GROWN[kind], root)
    assert done.status == 0, done.err
    folder = {"side by side": "src", "nested": "src/acme/digits"}.get(kind, "src/digits")
    edit(
        root,
        f"{folder}/loading.py",
        "    if config.workers:\n",
        "    print('ours')\n    if config.workers:\n",
    )
    own = {
        "absolute": "from digits import checkpoint, loading\n"
        "loading.build_loader, checkpoint.save\n",
        "relative": "from . import loading\nfrom .runtime import mix\nloading.build_loader, mix\n",
        "side by side": "import loading\nloading.build_loader\n",
        "nested": "from . import runtime\nruntime.mix(1)\n",
    }
    write(root, {f"{folder}/mine.py": own[kind]})
    commit(root)
    outcome = carry_out(updating(root, None))
    assert outcome.conflicts == {}
    assert (outcome.kept, outcome.left_out) == ([], [])
    assert outcome.moved[f"{folder}/loading.py"] == f"{folder}/engine/dataloader.py"
    assert not [name for name in content(root) if name.startswith("engine/")]
    assert (root / folder / "mine.py").read_text() == {
        "absolute": "from digits.engine import checkpoint, dataloader\n"
        "dataloader.build_loader, checkpoint.save\n",
        "relative": "from .engine import dataloader\nfrom .engine.random_state import mix\n"
        "dataloader.build_loader, mix\n",
        "side by side": "from engine import dataloader\ndataloader.build_loader\n",
        "nested": "from .engine.random_state import mix\nmix(1)\n",
    }[kind]
    module = "acme.digits.train" if kind == "nested" else "digits.train"
    words = ["src/train.py"] if kind == "side by side" else ["-m", module]
    command = [sys.executable, *words, *map(str, SHORT)]
    done = run(command, root, env=environment(PYTHONPATH="src"))
    assert done.status == 0, done.err
    assert "ours\n" in done.out
    if kind in ("relative", "nested"):
        files = (root / folder).rglob("*.py")
        assert not [path for path in files if "from digits" in path.read_text()]


def test_what_names_a_moved_module_by_a_text_is_listed_and_stays(
    project: Callable[..., Path],
) -> None:
    root = project("spawn")
    notebook = {
        "cells": [{"cell_type": "code", "source": ["from checkpoint import save\n", "x = 1\n"]}]
    }
    theirs = {
        "notes.ipynb": json.dumps(notebook, indent=1),
        "jobs.yml": "run: python -m trained\nfile: log.txt\n"
        "other: engine/errors.py\nthis: loading.py\n",
        "mine.py": "from importlib import import_module\n\nm = import_module('faults')\n"
        "n = 'log.Log'\no = 'log.txt'\np = 'errors'  # loading.py\n",
        "old.py": "import checkpoint\nprint 'python 2'\n",
        "tools/checkpoint.py": "mine = 1\n",
        "tools/run.py": "import checkpoint\n\nprint(checkpoint.mine)\n",
    }
    write(root, theirs)
    commit(root)
    told = scaffold("diff", folder=root)
    outcome = carry_out(updating(root, None))
    rows = [f"look at   {place}" for place in outcome.mentions]
    assert [line for line in told.err.splitlines() if line.startswith("look at")] == rows
    assert outcome.mentions == [
        "jobs.yml:1 names trained, now engine.inference",
        "jobs.yml:4 names loading, now engine.dataloader",
        "mine.py:3 names faults, now engine.failures",
        "mine.py:4 names log, now engine.metrics",
        "notes.ipynb:6 names checkpoint, now engine.checkpoint",
    ]
    assert outcome.unparsed == ["old.py"]
    assert content(root) | theirs == content(root)


@pytest.mark.parametrize(
    "version", represented([v for v in versions() if v != __version__], "0.1.0", BEFORE)
)
def test_each_version_updates_with_edits_in_moved_files_and_trains(
    project: Callable[..., Path], version: str
) -> None:
    method = list(METHODS)[versions().index(version) % len(METHODS)]
    root = project(method, version)
    errors = "errors.py" if version < "0.4.0" else "engine/errors.py"
    name = "runtime.py" if version == "0.1.0" else errors
    text = (root / name).read_text()
    (root / name).write_text(text + "\n\nOURS = 1\n")
    module = name[:-3].replace("/", ".")
    beside = "import checkpoint" if version < "0.4.0" else "from engine import checkpoint"
    own = f"from {module} import OURS\n{beside}\n\nprint(OURS, checkpoint.save)\n"
    write(root, {"mine.py": own})
    commit(root)
    outcome = carry_out(updating(root, None))
    assert set(outcome.conflicts) <= ({"engine/distributed.py"} if version == "0.1.0" else set())
    mine = (root / "mine.py").read_text()
    assert "import checkpoint\n" in mine
    assert "from engine" in mine
    if not outcome.conflicts:
        assert fork(["python", "mine.py"], root).out.startswith("1 <function save")
    else:
        subprocess.run(
            ["git", "checkout", "--theirs", "engine/distributed.py"], cwd=root, check=True
        )
    done = launch(root, "--run_dir", root / "runs/ours", *SHORT, forked=True)
    assert done.status == 0, done.err


def test_names_that_went_to_another_file_of_the_engine_are_followed(
    project: Callable[..., Path],
) -> None:
    root = project("fabric", "0.5.0")
    own = "from engine import run_dir, storage\nfrom engine.run_dir import STATE, tell\n\n"
    own += "print(STATE, tell, run_dir.state, run_dir.take, storage.size_and_crc32)\n"
    write(root, {"mine.py": own})
    commit(root)
    assert not carry_out(updating(root, None)).conflicts
    done = fork(["python", "mine.py"], root)
    assert done.out.startswith("run_state.json <function tell"), done.err
    assert not run("git diff --stat -- engine", root).out


def test_what_is_moved_in_imports_and_not_on_the_disk_is_told(project: Callable[..., Path]) -> None:
    """A module was a link to one of the team, and the release imports it from its own room."""
    root = project("torchrun")
    (root / "checkpoint.py").rename(root / "real.py")
    (root / "checkpoint.py").symlink_to("real.py")
    commit(root)
    outcome = carry_out(updating(root, None))
    found = [line for line in outcome.undefined if line.startswith("train.py:")]
    assert [line.partition(" ")[2] for line in found] == ["imports engine.checkpoint"]
    number = int(found[0].split(":")[1].split()[0])
    assert "checkpoint" in (root / "train.py").read_text().splitlines()[number - 1]


def test_old_copies_packages_and_links_of_a_team_are_theirs(project: Callable[..., Path]) -> None:
    root = project("spawn")
    shutil.copytree(root, root / "experiments/v1", ignore=shutil.ignore_patterns(".git"))
    write(root, {"experiments/v1/scripts/run.py": "import checkpoint\n"})
    # a file that is there no more and lies elsewhere has moved, as git sees it
    for name in ("plot.py", "mapped.py", "experiments/v1/plot.py"):
        (root / name).unlink()
    (root / "log.py").rename(root / "log_text.py")
    write(root, {"log/__init__.py": "from log_text import *\nOURS = 1\n"})
    (root / "tools").mkdir()
    (root / "tools/ckpt.py").symlink_to("../checkpoint.py")
    write(root, {"tools/history/__init__.py": "x = 1\n", "tools/run.py": "import history\n"})
    write(root, {"other/engine.py": "x = 1\n", "other/run.py": "from checkpoint import save\n"})
    write(root, {"mine.py": "import log\nimport storage\n\nprint(log.OURS, storage.FORMAT)\n"})
    write(root, {"odd.py": "", "coded.py": "# -*- coding: foobar -*-\nimport storage\n"})
    commit(root)
    before = content(root)
    outcome = carry_out(updating(root, None))
    assert outcome.moved["checkpoint.py"] == "engine/checkpoint.py"
    assert not {"log.py", "mapped.py"} & outcome.moved.keys()
    after = content(root)
    assert all(after[name] == text for name, text in before.items() if name.startswith("tools/run"))
    assert all(
        after[name] == text for name, text in before.items() if name.startswith("experiments")
    )
    assert run([sys.executable, "mine.py"], root).out == "1 1\n"
    assert sorted(outcome.unparsed) == ["coded.py", "other/run.py"]
    assert "tools/ckpt.py links to checkpoint.py, now engine/checkpoint.py" in outcome.mentions
    # the team has made it another file, and the template has changed it
    assert "engine/memmap.py" not in after


@settings(max_examples=examples(2, 10, 200))
@given(data=st.data())
def test_whatever_a_team_wrote_is_there_after_the_files_have_moved(
    rendered: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Comments and statements at any place of any Python file, most of them among the imports."""
    method = data.draw(st.sampled_from(list(METHODS)))
    fresh = rendered(BEFORE, method)
    root = repository(shutil.copytree(fresh, tmp_path_factory.mktemp("edited") / "project"))
    names = sorted(path.name for path in root.glob("*.py"))
    count = 0
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=6, unique=True))
    for name in {"train.py", *chosen}:
        lines = (root / name).read_text().splitlines(keepends=True)
        imports = [i for i, line in enumerate(lines) if line.startswith(("import ", "from "))]
        for _ in range(data.draw(st.integers(1, 4))):
            among = bool(imports) and data.draw(st.integers(0, 3)) > 0
            at = data.draw(st.sampled_from(imports) if among else st.integers(0, len(lines) - 1))
            count += 1
            kinds = [f"# line {count} of the team\n"]
            if among:
                kinds += [f"import team{count}  # line {count} of the team\n"]
                kinds += [f"from team{count} import a, b\n# line {count} of the team\n"]
            mine = data.draw(st.sampled_from(kinds))
            replaced = data.draw(st.integers(0, 3)) == 0
            lines[at : at + replaced] = [mine]
            imports = [i + 1 if i >= at else i for i in imports if not (replaced and i == at)]
        (root / name).write_text("".join(lines))
    commit(root)
    theirs = re.findall(r"# line \d+ of the team|\bteam\d+\b", "".join(content(root).values()))
    before = state(root)
    outcome = carry_out(updating(root, None))
    after = content(root)
    text = "".join(after.values())
    assert not [line for line in theirs if line not in text]
    marked = {name for name, text in after.items() if "\n<<<<<<< " in f"\n{text}"}
    assert marked <= set(outcome.conflicts)
    take_back(find_place(root))
    assert state(root) == before


@pytest.mark.parametrize(
    "hiding", represented(["engine.py", "engine/own.py", "engine.cpython-311.so"], "engine/own.py")
)
def test_code_of_a_team_that_the_engine_would_hide_is_refused(
    project: Callable[..., Path], tmp_path: Path, hiding: str
) -> None:
    """In an update, whether git keeps it or not, and where a project joins a repository."""
    root = project("spawn")
    write(root, {hiding: "ours = 1\n"})
    for kept in (False, True):
        if kept:
            commit(root)
        before = state(root)
        with pytest.raises(ScaffoldError, match="engine") as caught:
            carry_out(updating(root, None))
        assert caught.value.status == PRECONDITION
        assert state(root) == before
    theirs = repository(tmp_path / "theirs")
    write(theirs, {hiding: "ours = 1\n"})
    commit(theirs)
    before = state(theirs)
    for way in ("merge", "skip", "overwrite"):
        words = ("new", "--method", "spawn", "--on-conflict", way, ".")
        done = scaffold(*words, "--project-name", "digits", folder=theirs)
        assert (done.status, "engine" in done.err) == (PRECONDITION, True)
        assert "rename it" in done.err
    assert state(theirs) == before


def test_a_package_that_would_hide_a_module_of_the_project_is_refused(tmp_path: Path) -> None:
    theirs = repository(tmp_path / "theirs")
    write(theirs, {"data/__init__.py": "", "model/readme.txt": "no package\n"})
    commit(theirs)
    words = ("new", "--method", "spawn", "--on-conflict", "merge", "--project-name", "digits", ".")
    done = scaffold(*words, folder=theirs)
    assert done.status == PRECONDITION
    assert done.err.startswith("error: `data` would hide `data.py`\nhint: rename it")
    shutil.rmtree(theirs / "data")
    commit(theirs)
    assert scaffold(*words, folder=theirs).status == 0


def test_a_project_that_is_named_as_the_engine_is_refused(
    project: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("engine", "Engine"):
        done = scaffold("new", "--method", "spawn", name, folder=tmp_path)
        assert done.err.startswith(f"error: project name `{name}` is a folder that each project")
        assert not (tmp_path / name).exists()
    root = project("spawn")
    edit(root, ".copier-answers.yml", 'project_name: "digits"', 'project_name: "engine"')
    commit(root)
    with pytest.raises(ScaffoldError, match="`engine` is a folder") as caught:
        updating(root, None)
    assert "set another project_name" in caught.value.remedy


def test_a_project_of_today_has_nothing_to_move(tmp_path: Path) -> None:
    root = repository(make(tmp_path / "digits", "spawn"))
    assert carry_out(updating(root, None)).is_empty
