"""`scaffold abort`: takes back a switch or an update that is not committed."""

from pathlib import Path

import click

from scaffold import signals


@click.command()
def abort() -> None:
    """Take back a switch or an update that is not committed yet: all is as it was before."""
    signals.hold()
    from scaffold.place import find_place
    from scaffold.undo import take_back

    click.echo(f"taken back: {take_back(find_place(Path.cwd()))}")
