"""A project from what made it to what it shall be: two renders and one merge."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git.repository import Place
from scaffold.merge.apply import apply, check
from scaffold.merge.changes import Change
from scaffold.merge.preflight import ready
from scaffold.merge.sandbox import Copy, copy_of
from scaffold.merge.three_way import Outcome, merge
from scaffold.ops.create import render
from scaffold.staging import staging
from scaffold.template.answers import FILE
from scaffold.template.releases import template_of


@dataclass(frozen=True)
class Move:
    """What a project is, and what it shall be."""

    root: Path
    message: str  # of the commit that its owner will make of it
    old_version: str
    old: dict[str, str]  # answers
    new_version: str
    new: dict[str, str]


def carry_out(move: Move) -> Outcome:
    """Bring the move into the project. It is staged; its owner looks at it and commits it.

    Raises ScaffoldError where the project is not ready, and nothing was changed.
    """
    with merged(move, keep=True) as (place, _, outcome, found):
        apply(place, found, move.message)
        return outcome


def rehearse(move: Move, color: bool = False) -> tuple[Outcome, str]:
    """What the move would do, and the patch. It touches nothing."""
    with merged(move, keep=False) as (place, copy, outcome, found):
        check(place, found)
        copy.ask("add", "--all", "--force")
        flags = ("--cached", f"--color={'always' if color else 'never'}")
        return outcome, copy.ask("diff", *flags, copy.head)


@contextmanager
def merged(move: Move, keep: bool) -> Iterator[tuple[Place, Copy, Outcome, list[Change]]]:
    """The project, a copy in which the move was made, and what came of it, file by file."""
    place = ready(move.root)
    with staging(Path(tempfile.gettempdir())) as room:
        template = template_of(move.old_version, room)
        old = render(template, move.old, room / "old")
        if move.new_version != move.old_version:
            template = template_of(move.new_version, room)
        new = render(template, move.new, room / "new")
        copy = copy_of(place, room, keep)
        if not (copy.folder / FILE).exists():
            remedy = 'git add --all . && git commit -m "Keep the project"'
            raise ScaffoldError(f"git does not keep `{FILE}`", remedy, PRECONDITION)
        yield place, copy, *merge(copy, old, new, move.message)
