"""A project from what made it to what it shall be: another method, or a later version.

Both are two renders and one merge.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scaffold import __version__
from scaffold.catalog.methods import METHODS
from scaffold.errors import PRECONDITION, USAGE, ScaffoldError
from scaffold.files import files_in
from scaffold.git.repository import Place
from scaffold.merge import form
from scaffold.merge.apply import apply, check
from scaffold.merge.changes import Change
from scaffold.merge.collisions import check_hidden
from scaffold.merge.formatter import habits
from scaffold.merge.look_alikes import look_alikes
from scaffold.merge.preflight import check_kept, ready
from scaffold.merge.sandbox import Copy, copy_of
from scaffold.merge.team_settings import has_hooks, has_settings, leave
from scaffold.merge.three_way import Outcome, merge, tell
from scaffold.names import check_choice, is_engine, printable
from scaffold.staging import staging
from scaffold.template.answers import FILE, find_project, read_answers
from scaffold.template.releases import numbers, questions_of, template_of, unknown, versions
from scaffold.template.renames import renames_between
from scaffold.template.render import render


@dataclass(frozen=True)
class Move:
    """What a project is, and what it shall be."""

    root: Path
    message: str  # of the commit that its owner will make of it
    old_version: str
    old: dict[str, str]  # answers
    new_version: str
    new: dict[str, str]


def switching(folder: Path, method: str) -> Move:
    """The project that a folder lies in, with another method and all else as it was.

    Raises ScaffoldError where the method does not exist.
    """
    check_choice("method", method, METHODS)
    root = find_project(folder)
    answers = read_answers(root)
    old, new = answers.values, answers.values | {"method": method}
    message = f"Switch from {old['method']} to {method}"
    return Move(root, message, answers.version, old, answers.version, new)


def updating(folder: Path, to: str | None) -> Move:
    """The project that a folder lies in, as a later version makes it; None: the installed one.

    Raises ScaffoldError where that version is not known, or not a later one.
    """
    root = find_project(folder)
    answers = read_answers(root)
    version = (__version__ if to is None else to).removeprefix("v")
    known = versions()
    if version not in known:
        fact = f"version `{printable(version)}` does not exist"
        raise ScaffoldError(fact, f"choose one of: {', '.join(known)}", USAGE)
    if answers.version not in known:
        raise unknown(answers.version)
    if numbers(version) < numbers(answers.version):
        fact = f"{version} is older than {answers.version}, which made the project"
        raise ScaffoldError(fact, "git revert brings an update back", USAGE)
    old, new = answers.values, {}
    for question in questions_of(version):
        answer = old.get(question.name, question.default)
        if answer is None or (question.choices and answer not in question.choices):
            fact = f"scaffold {version} has no {question.name} `{printable(str(answer))}`"
            raise ScaffoldError(fact, f"choose an earlier one: {', '.join(known)}", USAGE)
        new[question.name] = answer
    if is_engine(old["project_name"]) and version != answers.version:
        fact = f"project name `{old['project_name']}` is a folder that each project has now"
        remedy = f"set another project_name in {FILE}, git commit -a, and run it again"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    message = f"Update from scaffold {answers.version} to {version}"
    return Move(root, message, answers.version, old, version, new)


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
        flags = ("--cached", "--binary", f"--color={'always' if color else 'never'}")
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
        check_kept(place, copy, files_in(old))
        leave(place, copy, old, new)
        renames = renames_between(move.old_version, move.new_version)
        moves = bool(renames) or _has_left(copy, old)
        formatted = habits(place, copy, old, new, moves)
        if moves:
            # imports libcst, which takes a fifth of a second
            from scaffold.merge.relocate import finish, relocate

            followed = relocate(copy, old, new, renames)
            copy = formatted.follow(followed.copy, old, new, followed.moved)
            outcome = merge(copy, old, new, move.message)
            finish(followed, outcome, new)
        else:
            copy = formatted.follow(copy, old, new, {})
            outcome = merge(copy, old, new, move.message)
        outcome.notes += formatted.notes(outcome.conflicts, has_settings(place, copy))
        outcome.notes += form.note(outcome.reformed, has_hooks(place))
        check_hidden(place.root, old, new)
        found = tell(copy, outcome)
        outcome.notes += look_alikes(copy, old, new, {change.name for change in found})
        yield place, copy, outcome, found


def _has_left(copy: Copy, old: Path) -> bool:
    """Whether most modules of a project lie elsewhere than in its root."""
    ours = [name for name in files_in(old) if name.endswith(".py") and "/" not in name]
    return 2 * sum(name in copy.entries for name in ours) < len(ours)
