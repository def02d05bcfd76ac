"""`scaffold status`: what the project here was made with, and whether something waits."""

import sys
from contextlib import suppress
from pathlib import Path

import click

from scaffold import __version__
from scaffold.errors import UPDATE_WAITS, ScaffoldError
from scaffold.terminal import show_json


@click.command()
@click.option("--check", is_flag=True, help="End with status 4 when an update waits.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def status(check: bool, as_json: bool) -> None:
    """Tell what the project in this folder was made with, and what waits: an update, conflicts."""
    # reads YAML and asks git, which the other commands start without
    from scaffold.git.repository import conflicts, find_place
    from scaffold.merge.rollback import under_way
    from scaffold.template.answers import find_project, read_answers
    from scaffold.template.releases import numbers

    root = find_project(Path.cwd())
    left = conflicts(root)
    move = None
    with suppress(ScaffoldError):  # a project without git has no move under way
        move = under_way(find_place(root)).get("message")
    answers = read_answers(root)
    newer = numbers(__version__) > numbers(answers.version)
    values = {**answers.values, "version": answers.version, "installed": __version__}
    if as_json:
        show_json(
            {"path": str(root), **values, "newer": newer, "under_way": move, "conflicts": left}
        )
    else:
        for name, value in values.items():
            click.echo(f"{name:14}{value}")
        for name in left:
            click.echo(f"conflict: {name}; edit it and git add it")
        if move:
            click.echo(f"not committed yet: {move}; git commit, or scaffold abort")
        if newer:
            click.echo("the installed scaffold is newer than the project: scaffold update")
    if check and newer:
        sys.exit(UPDATE_WAITS)
