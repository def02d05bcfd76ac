"""A project grows into a package as its README says."""

import re
from pathlib import Path

import pytest

from conftest import make, represented, run
from repositories import repository
from scaffold.catalog.methods import METHODS


@pytest.mark.parametrize(
    ("method", "tests"),
    [("spawn", "engine"), *represented((m, "one_step or engine") for m in METHODS)],
)
def test_a_project_grows_into_a_package_as_its_readme_says(
    tmp_path: Path, method: str, tests: str
) -> None:
    example = "text" if method == "spawn" else "digits"
    root = repository(make(tmp_path / "digits", method, example=example, tracker="none"))
    told = (root / "README.md").read_text().partition("## When this grows into a package")[2]
    commands = re.search(r"```sh\n(.*?)```", told, re.DOTALL)
    edit = re.search(r"put `(.*?)` in the place of `(.*?)`", told)
    start = re.search(r"with `-m`: `(.*?)`", told)
    assert commands
    assert edit
    assert start
    done = run(commands[1], root)
    assert done.status == 0, done.err
    line = (root / "src/digits/train.py").read_text().splitlines()[2]
    for name, old, new in (
        ("pyproject.toml", edit[2], edit[1]),
        ("src/digits/train.py", line, start[1]),
        ("tests/conftest.py", "PROJECT / program", 'PROJECT / "src/digits" / program'),
    ):
        path = root / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    # in the place of `pip install -e .`, which test_install.py runs
    tested = run(f"PYTHONPATH=src python -m pytest -q -k '{tests}'", root)
    assert tested.status == 0, tested.out
