"""`scaffold abort`: takes back a switch or an update that is not committed."""

from pathlib import Path

import click

from scaffold import signals


@click.command()
def abort() -> bool:
    """Take back a switch or an update that is not committed yet: all is as it was before.

    What you wrote where a conflict was is kept: `git stash pop` brings it back.
    """
    signals.hold()
    from scaffold.git.lock import alone
    from scaffold.git.repository import find_place
    from scaffold.merge.rollback import take_back
    from scaffold.merge.stash import RETRIEVE
    from scaffold.names import some

    place = find_place(Path.cwd())
    with alone(place):
        taken = take_back(place)
    click.echo(f"taken back: {taken.message}")
    if taken.kept:
        click.echo(f"kept what you wrote in {some(taken.kept)}: {RETRIEVE}")
    return True
