"""Tells what a merge did, or would do, and what its owner does next."""

from dataclasses import asdict
from pathlib import Path

import click

from scaffold.errors import CONFLICTS, ScaffoldError
from scaffold.merge.three_way import Outcome
from scaffold.names import printable
from scaffold.terminal import show_json

UNREAD = "what it imports stays; it does not parse, or lies beside another `engine`"
SHOWN = ("changed", "added", "removed")  # by the patch, too
WORDS = {
    "kept": ": edited here; the template has it no more",
    "left_out": ": removed here; the template changed it",
    "skipped": ": yours stays",
}


def show(
    message: str, outcome: Outcome, next_steps: list[str], dry_run: bool, as_json: bool
) -> None:
    """Print it. Raises ScaffoldError, with a status of its own, where conflicts are left."""
    steps = [] if dry_run or outcome.is_empty else _steps(message, outcome, next_steps)
    left = _left(len(outcome.conflicts), dry_run) if outcome.conflicts else None
    if as_json:
        result = {"move": message, "dry_run": dry_run, **asdict(outcome), "next": steps}
        show_json(result | (left.as_dict() if left else {}))
    elif outcome.is_empty:
        click.echo("nothing changes")
    else:
        click.echo("\n".join(_lines(outcome)))
        if steps:
            click.echo("\n" + "\n".join(f"  {step}" for step in steps))
    if left:
        raise left


def install(root: Path) -> list[str]:
    """The command that installs what a project needs; its team may list that elsewhere."""
    return ["pip install -e '.[test]'"] if (root / "pyproject.toml").exists() else []


def _left(count: int, dry_run: bool) -> ScaffoldError:
    """The error of conflicts in so many files."""
    files = f"{count} file{'s' if count != 1 else ''}"
    if dry_run:
        fact, remedy = f"it would leave {files} to you", "nothing was changed"
    else:
        fact = f"{files} left to you: both sides have changed the same"
        remedy = "edit each conflict, git add it, git commit; or scaffold abort"
    return ScaffoldError(fact, remedy, CONFLICTS)


def _steps(message: str, outcome: Outcome, next_steps: list[str]) -> list[str]:
    look = ["git diff", "git add FILE"] if outcome.conflicts else ["git diff --cached"]
    return [*look, f'git commit -m "{message}"', *next_steps]


def _lines(outcome: Outcome) -> list[str]:
    moved = [f"{'moved':9} {printable(a)}: {printable(b)}" for a, b in outcome.moved.items()]
    return moved + _files(outcome, dict.fromkeys(SHOWN, "")) + beside_the_patch(outcome)


def beside_the_patch(outcome: Outcome) -> list[str]:
    """The lines of what a patch of the move does not say."""
    rows = _files(outcome, WORDS)
    rows += [f"{'unread':9} {printable(path)}: {UNREAD}" for path in outcome.unparsed]
    rows += [f"{'look at':9} {printable(place)}" for place in outcome.mentions]
    rows += [f"{'look at':9} {printable(place)}, which is no more" for place in outcome.undefined]
    rows += [f"{'note':9} {printable(note)}" for note in outcome.notes]
    rows += [f"{'conflict':9} {printable(path)}: {why}" for path, why in outcome.conflicts.items()]
    return rows


def _files(outcome: Outcome, words: dict[str, str]) -> list[str]:
    lists: dict[str, list[str]] = {name: getattr(outcome, name) for name in words}
    return [
        f"{name.replace('_', ' '):9} {printable(path)}{words[name]}"
        for name, paths in lists.items()
        for path in sorted(paths)
    ]
