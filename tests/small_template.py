"""A small template in two versions, and a project of the first: what the tests of a merge move."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from repositories import repository, state, write
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.merge.three_way import Outcome
from scaffold.ops import update
from scaffold.ops.update import Move, carry_out, rehearse
from scaffold.template.answers import FILE

TEXT = "".join(f"line_{number} = {number}\n" for number in range(1, 31))
NEWER = TEXT.replace("line_3 = 3\n", "line_3 = 33\n").replace("line_27 = 27\n", "line_27 = 77\n")
ANSWERS = {"project_name": "digits", "method": "fabric"}
COPIER = "_subdirectory: template\nproject_name:\n  type: str\nmethod:\n  type: str\n"
BASE = {"train.py": TEXT, "model.py": TEXT, "dropped.py": TEXT, "same.py": TEXT}
Update = Callable[..., Outcome]


def template(folder: Path, files: dict[str, str], version: str) -> Path:
    """A template of these files, beside its answers file."""
    answers = f"_commit: v{version}\n_src_path: scaffold\nmethod: {{{{ method }}}}\n"
    for name, text in (files | {f"{FILE}.jinja": answers}).items():
        path = folder / "template" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "copier.yml").write_text(COPIER)
    return folder


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the template has in version 1.0.0 and in 2.0.0."""

    def provide(old: dict[str, str], new: dict[str, str]) -> None:
        folders = {
            version: template(tmp_path / version, files, version)
            for version, files in (("1.0.0", old), ("2.0.0", new))
        }
        monkeypatch.setattr(update, "template_of", lambda version, _: folders[version])

    return provide


def made(folder: Path, files: dict[str, str]) -> Path:
    """A project that version 1.0.0 of the template made, not yet in git."""
    write(folder, files | {FILE: "_commit: v1.0.0\n_src_path: scaffold\nmethod: fabric\n"})
    return folder


def later(root: Path) -> Move:
    return Move(root, "Update", "1.0.0", ANSWERS, "2.0.0", ANSWERS)


@pytest.fixture
def project(tmp_path: Path, templates: Callable[..., None]) -> Path:
    """A project whose train.py the template changes, and whose dropped.py it drops."""
    new = BASE | {"train.py": NEWER, "fresh.py": "fresh = 1\n"}
    del new["dropped.py"]
    templates(BASE, new)
    return repository(made(tmp_path / "project", BASE))


def killed(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, function: str, act: Callable[[], Any]
) -> None:
    """Let something be killed when it has done a function of a module."""
    whole = getattr(module, function)

    def and_then(*arguments: Any) -> None:
        whole(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, function, and_then)
        with pytest.raises(KeyboardInterrupt):
            act()


def refused(root: Path, status: int = PRECONDITION) -> ScaffoldError:
    """A move is refused, and nothing is other than before."""
    before = state(root)
    for do in (carry_out, rehearse):
        with pytest.raises(ScaffoldError) as caught:
            do(later(root))
        assert caught.value.status == status
    assert state(root) == before
    return caught.value
