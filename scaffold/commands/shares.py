"""`scaffold shares`: shows which samples each rank sees."""

import click

from scaffold.catalog.methods import METHODS
from scaffold.catalog.shares import shares as compute_shares
from scaffold.catalog.shares import table
from scaffold.names import check_choice
from scaffold.terminal import show_json


@click.command()
@click.option("--method", help=f"One method only ({', '.join(METHODS)}).")
@click.option("--samples", type=int, default=20, show_default=True, help="Samples in the data.")
@click.option("--batch-size", type=int, default=10, show_default=True, help="Per rank and step.")
@click.option("--ranks", type=int, default=2, show_default=True, help="Processes.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def shares(method: str | None, samples: int, batch_size: int, ranks: int, as_json: bool) -> None:
    """Show which samples each rank sees, step by step, unshuffled."""
    if method is not None:
        check_choice("method", method, METHODS)
    shown = [method] if method else list(METHODS)
    if not as_json:
        click.echo(table(shown, samples, batch_size, ranks))
        return
    result = {
        name: [
            [[position % samples for position in share] for share in step]
            for step in compute_shares(name, samples, batch_size, ranks)
        ]
        for name in shown
    }
    show_json(result)
