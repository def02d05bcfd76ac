"""`scaffold choose`: recommends a method."""

import sys
from functools import partial

import click

from scaffold.catalog.choose import ADDS_A_DEPENDENCY, GOALS, advise
from scaffold.catalog.methods import METHODS
from scaffold.names import check_choice
from scaffold.terminal import ask, show_json


@click.command()
@click.option("--goal", help=f"What the project is for ({', '.join(GOALS)}).")
@click.option("--no-extra-dependencies", is_flag=True, help="Nothing beside torch.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def choose(goal: str | None, no_extra_dependencies: bool, as_json: bool) -> None:
    """Find the method that fits, by questions or flags."""
    options, check = ", ".join(GOALS), partial(check_choice, "goal", choices=GOALS)
    if goal is None:
        if sys.stdin.isatty():
            click.echo("\n".join(f"  {name:14}{text}" for name, text in GOALS.items()), err=True)
        remedy = f"add --goal with one of: {options}"
        goal = ask("--goal", "What is the project for", remedy, check)
        if goal in ADDS_A_DEPENDENCY and not no_extra_dependencies:
            question = "May the project depend on a library beside torch"
            no_extra_dependencies = not click.confirm(question, default=True, err=True)
    check(goal)
    advice = advise(goal, no_extra_dependencies)
    command = f"scaffold new --method {advice.method} myproj"
    if as_json:
        show_json({**advice._asdict(), "command": command})
        return
    click.echo(
        f"{advice.method}: {METHODS[advice.method].title}\n"
        f"  because    {advice.reason}\n"
        f"  runner-up  {advice.runner_up}, when {advice.runner_up_when}\n"
        f"  next       {command}"
    )
