"""`scaffold abort`: takes back a switch or an update that is not committed."""

from pathlib import Path

import click

from scaffold import signals


@click.command()
def abort() -> None:
    """Take back a switch or an update that is not committed yet: all is as it was before."""
    signals.hold()
    from scaffold.git.lock import alone
    from scaffold.git.repository import find_place
    from scaffold.merge.rollback import take_back

    place = find_place(Path.cwd())
    with alone(place):
        message = take_back(place)
    click.echo(f"taken back: {message}")
