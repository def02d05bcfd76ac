"""`scaffold methods`: compares the four methods."""

import click

from scaffold.catalog.methods import METHODS
from scaffold.terminal import show_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def methods(as_json: bool) -> None:
    """Compare the four methods."""
    if as_json:
        show_json([method.described() for method in METHODS.values()])
        return
    for method in METHODS.values():
        click.echo(
            f"{method.name}: {method.title}\n"
            f"  choose it when       {method.choose_when}\n"
            f"  choose another when  {method.choose_another_when}\n"
            f"  extra dependency     {method.requires or 'none'}\n"
            f"  launch               {method.launch}\n"
        )
