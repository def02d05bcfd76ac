"""After a move it is told what is imported and not there, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from repositories import commit, repository, write
from scaffold.ops.update import carry_out, rehearse
from small_template import TEXT, later, made
from small_template import templates as templates

Templates = Callable[..., None]
ENGINE = {"engine/__init__.py": '"""Has checkpoint."""\n', "engine/checkpoint.py": "saved = 1\n"}
LOST = [
    "from engine import checkpoint",
    "from engine.checkpoint import saved, newest",
    "import engine.checkpoint as kept",
]
# a line of the team, and a file of theirs
FOUND = [
    ("import torch.checkpoint, checkpoint", ""),
    ("from other.engine import checkpoint", ""),
    ("from engine import other", ""),
    ("from engine import checkpoint", "engine/checkpoint.cpython-311-x86_64-linux-gnu.so"),
    ("import engine.checkpoint", "engine/checkpoint/part.py"),
    ("from engine.checkpoint import saved", "lib/engine/checkpoint.py"),
    ("try:\n    from engine import checkpoint\nexcept ImportError:\n    checkpoint = None", ""),
    ("try:\n    import engine.checkpoint\nexcept (OSError, builtins.Exception):\n    pass", ""),
    ("try:\n    import old\nexcept:\n    from engine import checkpoint", ""),
    ("with contextlib.suppress(ImportError):\n    from engine import checkpoint", ""),
]


def told(root: Path) -> list[str]:
    """Which imports are told, the same before and after."""
    dry = rehearse(later(root))[0]
    outcome = carry_out(later(root))
    assert dry == outcome
    return outcome.undefined


@pytest.mark.parametrize("line", LOST)
@pytest.mark.parametrize("has_gone", [True, False], ids=["gone", "not come"])
def test_an_import_that_leads_nowhere_is_told(
    tmp_path: Path, templates: Templates, line: str, has_gone: bool
) -> None:
    """The template drops what the team imports, or imports what the team has removed."""
    new = {"train.py": f"first = 0\n{TEXT}"}
    base = {"train.py": TEXT} | ENGINE
    if has_gone:
        templates(base, new | {"engine/__init__.py": ENGINE["engine/__init__.py"]})
    else:
        templates(base, ENGINE | {"train.py": f"{line}\n{TEXT}"})
    root = repository(made(tmp_path / "project", base))
    if has_gone:
        write(root, {"mine.py": f"\n{line}\n"})
    else:
        (root / "engine/checkpoint.py").unlink()
    commit(root)
    where = "mine.py:2" if has_gone else "train.py:1"
    what = "engine.checkpoint"
    assert told(root) == [f"{where} imports {what}"]


@pytest.mark.parametrize(("line", "name"), FOUND)
def test_an_import_that_may_lead_somewhere_is_not_told(
    tmp_path: Path, templates: Templates, line: str, name: str
) -> None:
    base = {"train.py": TEXT} | ENGINE
    templates(base, {"train.py": f"first = 0\n{TEXT}", "engine/__init__.py": "other = 1\n"})
    root = repository(made(tmp_path / "project", base))
    write(root, {"mine.py": f"{line}\n"} | ({name: ""} if name else {}))
    commit(root)
    assert told(root) == []


@pytest.mark.parametrize(
    "init", ["checkpoint = 1\n", "from torch import *\n", "def __getattr__(name): ...\n"]
)
def test_what_a_package_has_as_a_name_is_not_told(
    tmp_path: Path, templates: Templates, init: str
) -> None:
    base = {"train.py": TEXT} | ENGINE
    templates(base, {"train.py": f"first = 0\n{TEXT}", "engine/__init__.py": init})
    root = repository(made(tmp_path / "project", base))
    write(root, {"mine.py": "from engine import checkpoint\n"})
    commit(root)
    assert told(root) == []


@pytest.mark.parametrize(
    ("model", "lost"),
    [
        ("loss = 1\n", ["train.py:1 imports model.metrics"]),
        ("loss = 1\n\nmetrics = 3\n", []),
        ("from mine import *\n", []),
        ("from mine import metrics\n", []),
        ("def __getattr__(name): ...\n", []),
    ],
)
def test_what_a_team_s_module_does_not_give_to_the_new_release_is_told(
    tmp_path: Path, templates: Templates, model: str, lost: list[str]
) -> None:
    base = {"train.py": f"from model import loss\n{TEXT}", "model.py": "loss = 1\n\nmetrics = 2\n"}
    templates(base, base | {"train.py": f"from model import loss, metrics\n{TEXT}"})
    root = repository(made(tmp_path / "project", base))
    write(root, {"model.py": model})
    commit(root)
    assert told(root) == lost


def test_what_led_nowhere_before_is_not_told(tmp_path: Path, templates: Templates) -> None:
    base = {"train.py": f"from engine import checkpoint\n{TEXT}"} | ENGINE
    templates(base, base | {"train.py": f"from engine import checkpoint\n{TEXT}last = 0\n"})
    root = repository(made(tmp_path / "project", base))
    (root / "engine/checkpoint.py").unlink()
    commit(root)
    assert told(root) == []


@pytest.mark.parametrize(
    ("name", "line", "what"),
    [
        ("src/digits/mine.py", "from .engine import checkpoint", ".engine.checkpoint"),
        ("src/digits/engine/mine.py", "from . import checkpoint", ".checkpoint"),
        ("src/digits/engine/mine.py", "from ..engine.checkpoint import x", "..engine.checkpoint"),
        ("tests/test_mine.py", "import digits.engine.checkpoint", "digits.engine.checkpoint"),
        ("src/digits/mine.py", "from engine import checkpoint", "engine.checkpoint"),
    ],
)
def test_a_module_of_a_package_is_told_as_it_is_imported(
    tmp_path: Path, templates: Templates, name: str, line: str, what: str
) -> None:
    """From where the file is, by the name of the package, and from the folder of a program."""
    base = {f"src/digits/{name}": code for name, code in ENGINE.items()}
    base |= {"src/digits/__init__.py": "", "train.py": TEXT}
    templates(base, {"src/digits/__init__.py": "", "train.py": f"first = 0\n{TEXT}"})
    root = repository(made(tmp_path / "project", base))
    write(root, {name: f"{line}\n", "src/digits/engine/kept.py": ""})
    commit(root)
    assert told(root) == [f"{name}:1 imports {what}"]
