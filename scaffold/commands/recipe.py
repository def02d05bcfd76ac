"""`scaffold recipe`: shows what to change for work of another kind."""

import click

from scaffold.catalog import recipes
from scaffold.errors import USAGE, ScaffoldError
from scaffold.terminal import show_json


@click.command()
@click.argument("name", required=False)
@click.option("--patch", is_flag=True, help="Print the patch of the recipe, for git apply.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def recipe(name: str | None, patch: bool, as_json: bool) -> None:
    """Show what to change in a project for work of another kind.

    Without NAME the list. A patch is for a fresh project that begins with the digits:
    scaffold recipe NAME --patch | git apply
    """
    names = recipes.names()
    if name is None:
        if patch:
            raise ScaffoldError("--patch needs a recipe", f"name one of: {', '.join(names)}", USAGE)
        found = [recipes.recipe(each) for each in names]
        if as_json:
            show_json([{"name": one.name, "title": one.title} for one in found])
            return
        width = max(map(len, names))
        click.echo("\n".join(f"{one.name:{width}}  {one.title}" for one in found))
        return
    one = recipes.recipe(name)
    if as_json:
        shown = {"name": one.name, "title": one.title, "page": one.page, "patch": one.patch}
        show_json(shown)
        return
    click.echo(one.patch if patch else one.page, nl=False)
