"""`scaffold status`: what the project here was made with, and whether something waits."""

import shutil
import sys
from pathlib import Path

import click

from scaffold import __version__, signals
from scaffold.errors import PRECONDITION, UPDATE_WAITS, ScaffoldError
from scaffold.terminal import show_json


@click.command()
@click.option("--check", is_flag=True, help="End with status 4 when an update waits.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def status(check: bool, as_json: bool) -> None:
    """Tell what the project in this folder was made with, and what waits: an update, conflicts."""
    # reads YAML and asks git, which the other commands start without
    from scaffold.git.repository import conflicts, find_place
    from scaffold.merge.rollback import under_way
    from scaffold.template.answers import FILE, Unmerged, find_project, read_answers
    from scaffold.template.releases import numbers
    from scaffold.template.source import questions

    signals.hold()  # git is to end with this
    root = find_project(Path.cwd())
    left = conflicts(root)
    move = None
    try:
        move = under_way(find_place(root)).get("message")
    except ScaffoldError as error:
        # a project without git has no move under way; of what git distrusts nothing is known
        if error.status != PRECONDITION and shutil.which("git"):
            raise
    unmerged = None
    values: dict[str, str | None] = {question.name: None for question in questions()}
    version, newer = None, False
    try:
        answers = read_answers(root)
        values, version = {**answers.values}, answers.version
        newer = numbers(__version__) > numbers(version)
    except Unmerged as error:
        unmerged, left = error, sorted({FILE, *left})
    values |= {"version": version, "installed": __version__}
    if as_json:
        told = {"path": str(root), **values, "newer": newer, "under_way": move, "conflicts": left}
        show_json(told | (unmerged.as_dict() if check and unmerged else {}))
    else:
        for name, value in values.items():
            click.echo(f"{name:14}{value or '?'}")
        for name in left:
            click.echo(f"conflict: {name}; edit it and git add it")
        if unmerged:
            click.echo(f"not known which side it is: {unmerged.remedy}")
        if move:
            click.echo(f"not committed yet: {move}; git commit, or scaffold abort")
        if newer:
            click.echo("the installed scaffold is newer than the project: scaffold update")
    if check and unmerged:
        raise unmerged
    if check and newer:
        sys.exit(UPDATE_WAITS)
