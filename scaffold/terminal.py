"""What the commands share: a question on a terminal, a result as JSON."""

import sys
from typing import Any

import click

from scaffold.errors import USAGE, ScaffoldError


def ask(what: str, prompt: str, remedy: str, default: str | None = None) -> str:
    """Ask on a terminal; elsewhere refuse to guess."""
    if not sys.stdin.isatty():
        raise ScaffoldError(f"{what} is missing", remedy, USAGE)
    answer: str = click.prompt(prompt, default=default, err=True)
    return answer


def show_json(result: Any) -> None:
    """Print a result as JSON."""
    import json  # only here: every command would start more slowly

    click.echo(json.dumps(result, indent=2))
