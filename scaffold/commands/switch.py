"""`scaffold switch`: changes the method of a project."""

from functools import partial
from pathlib import Path

import click

from scaffold import signals
from scaffold.catalog.methods import METHODS
from scaffold.names import check_choice
from scaffold.terminal import ask


@click.command(
    epilog="""\b
Examples:
  scaffold switch --method torchrun
  scaffold switch --method accelerate --dry-run
"""
)
@click.option("--method", help=f"The method that it shall have ({', '.join(METHODS)}).")
@click.option("--dry-run", is_flag=True, help="Tell what would change and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def switch(method: str | None, dry_run: bool, as_json: bool) -> bool:
    """Change the method of the project here; your edits and your checkpoints stay.

    The change is staged in git for you to look at and commit. Where you and the method changed the
    same lines, git leaves a conflict, and the exit status is 3; `scaffold abort` takes it all back.
    """
    options = ", ".join(METHODS)
    if method is None:
        from scaffold.template.answers import find_project  # reads YAML

        find_project(Path.cwd())
        remedy = f"add --method with one of: {options}"
        check = partial(check_choice, "method", choices=METHODS)
        method = ask("--method", f"Method ({options})", remedy, check)
    signals.hold()
    from scaffold.commands.report import install, show

    # imports copier, which takes half a second
    from scaffold.ops.update import carry_out, rehearse, switching

    move = switching(Path.cwd(), method)
    outcome = rehearse(move)[0] if dry_run else carry_out(move)
    there, new = METHODS[move.old["method"]], METHODS[method]
    needs = install(move.root) if new.requires and new is not there else []
    show(move.message, outcome, [*needs, new.launch], dry_run, as_json)
    return not dry_run
