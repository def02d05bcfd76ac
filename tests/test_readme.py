"""The README is true: its commands run, its generated parts are what the code says."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from conftest import ROOT, environment, run
from scaffold.catalog.methods import METHODS

sys.path.insert(0, str(ROOT / "tools"))
from readme import generated

README = (ROOT / "README.md").read_text()
CONSOLE = re.findall(r"```console\n(.*?)```", README, re.DOTALL)


def test_one_command_stands_in_the_first_ten_lines() -> None:
    assert "make demo\n" in "\n".join(README.splitlines()[:10])


def test_the_table_and_the_diff_are_up_to_date() -> None:
    assert generated(README) == README


def checkout(folder: Path) -> Path:
    """A copy of what git keeps of this repository, as it is now, and no more."""
    listed = run("git ls-files --cached --others --exclude-standard -z", ROOT).out
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def test_there_are_two_console_blocks() -> None:
    assert len(CONSOLE) == 2


def test_the_demo_trains_a_project(tmp_path: Path) -> None:
    repository = checkout(tmp_path / "repository")
    # the demo, in the environment that these tests run in: `make` finds it set up
    demo = repository / "build/env-fabric"
    demo.parent.mkdir()
    demo.symlink_to(sys.prefix)
    for name in ("pyproject.toml", "constraints.txt"):
        os.utime(repository / name, (0, 0))
    result = run(CONSOLE[0], repository, seconds=300)
    assert result.status == 0, result.out + result.err
    last = result.out.splitlines()[-1]
    found = re.fullmatch(r"validation accuracy (\d+\.\d)% after 200 steps, (.*)", last)
    assert found, last
    assert float(found[1]) >= 97
    assert Path(found[2], "train.py").exists()
    assert "-m venv build" not in result.out  # set up once is enough


@pytest.mark.long
@pytest.mark.full
def test_the_use_runs_in_a_fresh_virtual_environment(tmp_path: Path) -> None:
    """test_install.py does so with what `scaffold new` prints."""
    repository = checkout(tmp_path / "repository")
    fresh = environment(
        PIP_CONSTRAINT=str(ROOT / "constraints.txt"),
        PIP_NO_COMPILE="1",
        PATH=f"{tmp_path}/venv/bin:/usr/bin:/bin",
    )
    assert run([sys.executable, "-m", "venv", str(tmp_path / "venv")]).status == 0
    result = run(CONSOLE[1], repository, env=fresh, seconds=600)
    assert result.status == 0, result.out[-3000:] + result.err[-3000:]
    assert "5 passed" in result.out


def test_make_demo_takes_every_method_and_make_test_runs_these_tests() -> None:
    for method in METHODS:
        shown = run(["make", "--dry-run", "--always-make", "demo", f"METHOD={method}"], ROOT).out
        assert f"tools/demo.py {method}\n" in shown
    told = {"test": '-m "not full"', "test-all": ""}
    for command, marks in told.items():
        shown = run(["make", "--dry-run", command], ROOT).out
        assert "mypy" in shown
        assert re.search(rf" -m pytest -n \d+ --dist worksteal ?{marks}$", shown.rstrip())
        assert f"`make {command}`" in README
        assert f"make {command}\n" in (ROOT / ".ci/run").read_text()
