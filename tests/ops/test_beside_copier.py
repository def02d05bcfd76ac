"""`copier update` and this tool's merge, side by side, where copier loses edits without a word.

The same template in two versions, the same project and the same edit; README.md tells the result.
"""

from pathlib import Path

import pytest

from conftest import BIN, environment, in_fork
from repositories import call, commit, content, repository, write
from scaffold.ops import update
from scaffold.ops.update import Move, carry_out
from scaffold.template.answers import FILE
from small_template import TEXT, template

NEWER = TEXT.replace("line_3 = 3\n", "line_3 = 33\n")
OURS = "ours = 1\n"


def edit(root: Path) -> None:
    write(root, {"train.py": TEXT + OURS})


def move_and_edit(root: Path) -> None:
    (root / "src").mkdir()
    call(root, "mv", "train.py", "src/train.py")
    write(root, {"src/train.py": TEXT + OURS})


COPIER = ["python", str(BIN / "copier")]
# what the new template has, what the user does, and where the edit and the change must be
SCENARIOS = {
    "the template renames an edited file": ({"training.py": NEWER}, edit, "training.py", True),
    "the user moved a file that changes": (
        {"train.py": NEWER},
        move_and_edit,
        "src/train.py",
        True,
    ),
    "only the old template had an edited file": ({"other.py": "1\n"}, edit, "train.py", False),
}


def native(folder: Path, source: Path) -> Path:
    """A project that copier itself has made, as one who uses it would."""
    words = [*COPIER, "copy", "--quiet", "--defaults", "--vcs-ref", "v1.0.0"]
    data = ["--data", "project_name=digits", "--data", "method=fabric"]
    result = in_fork([*words, *data, str(source), str(folder)], source, env=environment())
    assert result.status == 0, result.err
    return repository(folder)


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_edit_that_copier_loses_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    new, change, where, changed = SCENARIOS[name]
    versions = {"1.0.0": {"train.py": TEXT}, "2.0.0": new}
    source = repository(tmp_path / "source")
    answers = "{{ _copier_answers | to_nice_yaml }}"
    for version, files in versions.items():
        for path in (source / "template").glob("*.py"):
            path.unlink()
        template(source, files | {"{{ _copier_conf.answers_file }}.jinja": answers}, version)
        (source / "template" / f"{FILE}.jinja").unlink()
        commit(source)
        call(source, "tag", f"v{version}")
    by_copier = native(tmp_path / "by copier", source)
    by_us = native(tmp_path / "by us", source)
    for root in (by_copier, by_us):
        change(root)
        commit(root)

    words = [*COPIER, "update", "--quiet", "--defaults"]
    result = in_fork(words, by_copier, env=environment())
    assert result.status == 0, result.err
    text = "".join(content(by_copier).values())
    lost = OURS not in text
    not_followed = changed and "line_3 = 33" not in content(by_copier).get(where, "")
    assert lost or not_followed, "copier has learnt it: take it out of the README"

    folders = {
        version: template(tmp_path / version, files, version) for version, files in versions.items()
    }
    monkeypatch.setattr(update, "template_of", lambda version, _: folders[version])
    told = {"project_name": "digits", "method": "fabric"}
    outcome = carry_out(Move(by_us, "Update", "1.0.0", told, "2.0.0", told))
    assert not outcome.conflicts
    assert content(by_us)[where] == (NEWER if changed else TEXT) + OURS
