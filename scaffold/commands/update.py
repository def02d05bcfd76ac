"""`scaffold update`: brings what is new in the template into a project."""

from pathlib import Path

import click

from scaffold import signals
from scaffold.catalog.methods import METHODS


@click.command(
    epilog="""\b
Examples:
  scaffold update --dry-run
  scaffold update
"""
)
@click.option("--to", metavar="VERSION", help="A version other than the installed one.")
@click.option("--dry-run", is_flag=True, help="Tell what would change and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def update(to: str | None, dry_run: bool, as_json: bool) -> bool:
    """Bring what is new in scaffold into the project here; your edits stay.

    The change is staged in git for you to look at and commit. Where you and the template changed
    the same lines, git leaves a conflict, and the exit status is 3; `scaffold abort` takes it all
    back.
    """
    signals.hold()
    from scaffold.commands.report import install, show

    # imports copier, which takes half a second
    from scaffold.ops.update import carry_out, rehearse, updating
    from scaffold.template.releases import changes

    move = updating(Path.cwd(), to)
    outcome = rehearse(move)[0] if dry_run else carry_out(move)
    news = changes(move.old_version, move.new_version)
    if news and not as_json:
        click.echo(f"{news}\n")
    steps = [*install(move.root), METHODS[move.new["method"]].launch]
    show(move.message, outcome, steps, dry_run, as_json)
    return not dry_run
