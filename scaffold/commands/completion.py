"""`scaffold completion`: completes commands and flags in a shell."""

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion for SHELL, to be put into its start-up file."""
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    complete_class = get_completion_class(shell)
    assert complete_class is not None, "click knows the three shells"
    click.echo(complete_class(root, {}, "scaffold", "_SCAFFOLD_COMPLETE").source())
