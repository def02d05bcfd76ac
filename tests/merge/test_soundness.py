"""What git merges without a conflict is looked at: whether it parses, and what it names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import make, scaffold
from repositories import call, commit, repository, state, write
from scaffold.git.repository import find_place
from scaffold.merge.rollback import take_back
from scaffold.merge.soundness import damage
from scaffold.ops.update import carry_out, rehearse
from small_template import TEXT, later, made
from small_template import templates as templates

GAP = "\n\n\n"
# before, the template's, the team's, merged, and the kind of text; each of the first three parses
BROKEN = {
    "settings.toml": (
        f"a = 1{GAP}b = 1\n",
        f"a = 1\n[t]{GAP}b = 1\n",
        f"a = 1{GAP}b = 1\n[t]\n",
        f"a = 1\n[t]{GAP}b = 1\n[t]\n",
        "TOML",
    ),
    "ci.yml": (
        f"a: &one 1{GAP}b: 1\n",
        f"a: 1{GAP}b: 1\n",
        f"a: &one 1{GAP}b: 1\nc: *one\n",
        f"a: 1{GAP}b: 1\nc: *one\n",
        "YAML",
    ),
    "train.py": (
        f"if 1:\n    a = 1{GAP}    b = 1\n",
        f"a = 1{GAP}b = 1\n",
        f"if 1:\n    a = 1\n\n    c = 1{GAP}    b = 1\n",
        f"a = 1\n\n    c = 1{GAP}b = 1\n",
        "Python",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_parsed_and_does_not_any_more_is_a_conflict(
    tmp_path: Path, templates: Callable[..., None], name: str
) -> None:
    """Git has merged it without a mark; it can be settled, or taken back, as any other."""
    base, theirs, ours, merged, kind = BROKEN[name]
    templates({name: base, "model.py": TEXT}, {name: theirs})
    root = repository(made(tmp_path / "project", {name: base, "model.py": TEXT}))
    write(root, {name: ours})
    commit(root)
    before = state(root)
    dry = rehearse(later(root))[0]
    outcome = carry_out(later(root))
    assert dry == outcome
    assert outcome.conflicts[name].startswith(f"merged, and is no {kind} any more: ")
    assert name not in outcome.changed
    stages = call(root, "ls-files", "--unmerged").splitlines()
    assert [line.split()[2] for line in stages] == ["1", "2", "3"]
    assert (root / name).read_text() == merged
    take_back(find_place(root))
    assert state(root) == before


def test_what_did_not_parse_before_is_no_conflict(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    base = {"train.py": TEXT}
    templates(base, {"train.py": "first = 1\n" + TEXT})
    root = repository(made(tmp_path / "project", base))
    write(root, {"train.py": TEXT + "if:\n"})
    commit(root)
    assert not carry_out(later(root)).conflicts


def test_two_tables_of_one_name_are_told() -> None:
    assert damage("pyproject.toml", b"", b"[tool.ruff]\n[tool.ruff]\n").startswith(
        "merged, and is no TOML any more: Cannot declare ('tool', 'ruff') twice"
    )


def test_names_that_are_no_more_are_told_with_file_and_line(tmp_path: Path) -> None:
    """A line of the team uses what the other method has not; what was lost before is not told."""
    root = repository(make(tmp_path / "digits", "torchrun"))
    text = (root / "train.py").read_text()
    line = "        log.train(step, totals, lr, grad_norm)\n"
    mine = line + "        print(cuda, never_there)\n"
    (root / "train.py").write_text(text.replace(line, mine))
    commit(root)
    done = scaffold("switch", "--method", "fabric", folder=root)
    assert done.status == 0, done.err
    text = (root / "train.py").read_text()
    number = text[: text.index("print(cuda")].count("\n") + 1
    assert f"look at   train.py:{number} uses cuda, which is no more\n" in done.out
    assert "never_there" not in done.out
    assert scaffold("abort", folder=root).status == 0
    told = scaffold("diff", "--method", "fabric", folder=root)
    assert told.err == f"look at   train.py:{number} uses cuda, which is no more\n"
