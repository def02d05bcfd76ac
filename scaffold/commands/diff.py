"""`scaffold diff`: shows what a switch or an update would change."""

import sys
from pathlib import Path

import click

from scaffold import signals
from scaffold.catalog.methods import METHODS
from scaffold.errors import USAGE, ScaffoldError
from scaffold.terminal import show_json


@click.command(
    epilog="""\b
Examples:
  scaffold diff                       what scaffold update would change
  scaffold diff --method torchrun     what scaffold switch would change
"""
)
@click.option("--method", help=f"Show a switch to this method ({', '.join(METHODS)}).")
@click.option("--to", metavar="VERSION", help="Show an update to this version.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def diff(method: str | None, to: str | None, as_json: bool) -> None:
    """Show as a patch what a switch or an update would change here; nothing is touched.

    The status is 0, also where there would be conflicts; they are told on stderr, as is what else
    a switch or an update would tell.
    """
    signals.hold()
    from dataclasses import asdict

    from scaffold.commands.report import beside_the_patch

    # imports copier, which takes half a second
    from scaffold.ops.update import rehearse, switching, updating

    if None not in (method, to):
        raise ScaffoldError("--method and --to are two moves", "show one after the other", USAGE)
    move = updating(Path.cwd(), to) if method is None else switching(Path.cwd(), method)
    outcome, patch = rehearse(move, color=sys.stdout.isatty() and not as_json)
    if as_json:
        show_json({"move": move.message, **asdict(outcome), "patch": patch})
        return
    # lines of a file that is not in UTF-8 go out as they are
    click.echo(patch.encode("utf-8", "surrogateescape"), nl=False)
    for line in beside_the_patch(outcome):
        click.echo(line, err=True)
