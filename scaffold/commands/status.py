"""`scaffold status`: what the project here was made with."""

from pathlib import Path

import click

from scaffold import __version__
from scaffold.terminal import show_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def status(as_json: bool) -> None:
    """Tell what the project in this folder was made with."""
    # reads YAML, which the other commands start without
    from scaffold.answers import find_project, read_answers

    root = find_project(Path.cwd())
    answers = read_answers(root)
    newer = numbers(__version__) > numbers(answers.version)
    values = {**answers.values, "version": answers.version, "installed": __version__}
    if as_json:
        show_json({"path": str(root), **values, "newer": newer})
        return
    for name, value in values.items():
        click.echo(f"{name:14}{value}")
    if newer:
        click.echo("the installed scaffold is newer than the project")


def numbers(version: str) -> tuple[int, ...]:
    """The version as numbers, which compare as versions do."""
    return tuple(map(int, version.split(".")))
