"""What the commands share: a question on a terminal, a result as JSON."""

import sys
from collections.abc import Callable
from typing import Any

import click

from scaffold.errors import USAGE, ScaffoldError


def ask(
    what: str,
    prompt: str,
    remedy: str,
    check: Callable[[str], None],
    default: str | None = None,
) -> str:
    """Ask on a terminal until the answer passes the check; elsewhere refuse to guess.

    check: raises ScaffoldError where an answer is wrong.
    """
    if not sys.stdin.isatty():
        raise ScaffoldError(f"{what} is missing", remedy, USAGE)
    while True:
        answer: str = click.prompt(prompt, default=default, err=True).strip()
        try:
            check(answer)
        except ScaffoldError as error:
            click.echo(f"error: {error.fact}\nhint: {error.remedy}", err=True)
        else:
            return answer


def waiting(what: str) -> None:
    """Tell on a terminal what takes seconds."""
    if is_watched():
        click.echo(what, err=True)


def is_watched() -> bool:
    """Whether somebody waits at a terminal."""
    return sys.stderr.isatty()


def show_json(result: Any) -> None:
    """Print a result as JSON."""
    import json  # only here: every command would start more slowly

    click.echo(json.dumps(result, indent=2))
