"""The command line: parses, calls, prints. Everything it says beyond results goes to stderr."""

import signal
import sys
from shlex import quote
from typing import Any

import click

from scaffold import __version__
from scaffold.choose import ADDS_A_DEPENDENCY, GOALS, advise
from scaffold.errors import FAILURE, USAGE, ScaffoldError
from scaffold.methods import METHODS
from scaffold.names import check_name, printable
from scaffold.shares import shares as compute_shares
from scaffold.shares import table

EXAMPLES = """\b
Examples:
  scaffold new --method fabric myproj     a project that trains on two GPUs, or on a CPU
  scaffold choose                         which of the four methods
  scaffold shares                         which samples each rank sees, method by method
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="scaffold %(version)s")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def cli() -> None:
    """Generate multi-GPU PyTorch training projects that are yours.

    One project, four ways to train it on several GPUs: spawn, torchrun, fabric, accelerate.
    """


class QuestionsAsFlags(click.Command):
    """A command with a flag for each question of copier.yml, so that there is one list of them."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        # reads the template only when this command is called: the others start faster
        from scaffold.template import questions

        flags = []
        for question in questions():
            choices = f" ({', '.join(question.choices)})" if question.choices else ""
            flag = f"--{question.name.replace('_', '-')}"
            flags.append(click.Option([flag], help=f"{question.sentence}{choices}."))
        return [*flags, *super().get_params(ctx)]


@cli.command(
    cls=QuestionsAsFlags,
    epilog="""\b
Examples:
  scaffold new --method torchrun myproj
  scaffold new --method fabric --dry-run myproj
""",
)
@click.argument("path", required=False)
@click.option("--defaults", is_flag=True, help="Ask nothing; take the default of what is missing.")
@click.option("--no-git", is_flag=True, help="Make no git repository and no commit.")
@click.option("--dry-run", is_flag=True, help="List the files and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def new(
    path: str | None, defaults: bool, no_git: bool, dry_run: bool, as_json: bool, **given: Any
) -> None:
    """Make a project in the new folder PATH."""
    if path is None:
        path = ask("PATH", "Folder of the project", "scaffold new --method fabric myproj")
    from pathlib import Path  # only here: every command would start more slowly

    answers = complete(given, Path(path).resolve().name if path.strip() else "", defaults)
    check_name(answers["project_name"])
    from scaffold import project  # imports copier, which takes half a second

    target = Path(path)
    names = (
        project.preview(target, answers) if dry_run else project.new(target, answers, not no_git)
    )
    method = METHODS[answers["method"]]
    steps = [
        f"cd {quote(path)}",
        "python3 -m venv .venv",
        ". .venv/bin/activate",
        "pip install -e '.[test]'",
        method.launch,
    ]
    if as_json:
        result = {"path": str(target), **answers, "files": names, "next": steps}
        show_json(result)
    elif dry_run:
        click.echo("\n".join(names))
    else:
        click.echo(f"{path}: {method.title}, {len(names)} files\n")
        if not no_git and not (target / ".git").exists():
            click.echo("it lies in a git repository already, so nothing was committed", err=True)
        click.echo("\n".join(f"  {step}" for step in steps))


def complete(given: dict[str, Any], folder: str, defaults: bool) -> dict[str, str]:
    """An answer to every question: as given, asked for on a terminal, or the default."""
    from scaffold.template import questions

    answers = {}
    for question in questions():
        answer, options = given[question.name], ", ".join(question.choices)
        if answer is None and question.name == "project_name":
            answer = folder
        # off a terminal, which method is the one question that must be answered
        asked = question.name == "method" or sys.stdin.isatty()
        if answer is None and (defaults or not asked):
            answer = question.default
        if answer is None:
            flag = f"--{question.name.replace('_', '-')}"
            remedy = f"add {flag} with one of: {options}"
            answer = ask(flag, f"{question.sentence} ({options})", remedy, question.default)
        if question.choices and answer not in question.choices:
            fact = f"{question.name} `{printable(answer)}` does not exist"
            raise ScaffoldError(fact, f"choose one of: {options}", USAGE)
        answers[question.name] = answer
    return answers


def show_json(result: Any) -> None:
    """Print a result as JSON."""
    import json  # only here: every command would start more slowly

    click.echo(json.dumps(result, indent=2))


def ask(what: str, prompt: str, remedy: str, default: str | None = None) -> str:
    """Ask on a terminal; elsewhere refuse to guess."""
    if not sys.stdin.isatty():
        raise ScaffoldError(f"{what} is missing", remedy, USAGE)
    answer: str = click.prompt(prompt, default=default, err=True)
    return answer


@cli.command()
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


@cli.command()
@click.option("--goal", help=f"What the project is for ({', '.join(GOALS)}).")
@click.option("--no-extra-dependencies", is_flag=True, help="Nothing beside torch.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def choose(goal: str | None, no_extra_dependencies: bool, as_json: bool) -> None:
    """Find the method that fits, by questions or flags."""
    options = ", ".join(GOALS)
    if goal is None:
        if sys.stdin.isatty():
            click.echo("\n".join(f"  {name:14}{text}" for name, text in GOALS.items()), err=True)
        goal = ask("--goal", "What is the project for", f"add --goal with one of: {options}")
        if goal in ADDS_A_DEPENDENCY and not no_extra_dependencies:
            question = "May the project depend on a library beside torch"
            no_extra_dependencies = not click.confirm(question, default=True, err=True)
    if goal not in GOALS:
        raise ScaffoldError(
            f"goal `{printable(goal)}` does not exist", f"choose one of: {options}", USAGE
        )
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


@cli.command()
@click.option("--method", help=f"One method only ({', '.join(METHODS)}).")
@click.option("--samples", type=int, default=20, show_default=True, help="Samples in the data.")
@click.option("--batch-size", type=int, default=10, show_default=True, help="Per rank and step.")
@click.option("--ranks", type=int, default=2, show_default=True, help="Processes.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def shares(method: str | None, samples: int, batch_size: int, ranks: int, as_json: bool) -> None:
    """Show which samples each rank sees, step by step, unshuffled."""
    if method is not None and method not in METHODS:
        remedy = f"choose one of: {', '.join(METHODS)}"
        raise ScaffoldError(f"method `{printable(method)}` does not exist", remedy, USAGE)
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


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion for SHELL, to be put into its start-up file."""
    from click.shell_completion import get_completion_class

    complete_class = get_completion_class(shell)
    assert complete_class is not None, "click knows the three shells"
    click.echo(complete_class(cli, {}, "scaffold", "_SCAFFOLD_COMPLETE").source())


def main() -> None:
    """Run the command line and end the program with its exit status."""
    # ends like any error, so that what was begun is cleaned up
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        cli.main(prog_name="scaffold", standalone_mode=False)
    except ScaffoldError as error:
        fail(error, error.fact, error.remedy, error.status)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(USAGE)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "scaffold"
        fail(error, error.format_message().rstrip("."), f"{where} --help", USAGE)
    except (click.Abort, KeyboardInterrupt) as error:
        fail(error, "interrupted", "nothing was changed", 130)
    except OSError as error:
        fact = f"{error.strerror}: `{error.filename}`" if error.filename else str(error)
        fail(error, fact, "mend the cause and run it again; --debug shows where", FAILURE)


def fail(error: BaseException, fact: str, remedy: str, status: int) -> None:
    """Say what is wrong and what to do, and end the program."""
    if "--debug" in sys.argv:
        raise error
    click.echo(f"error: {fact}\nhint: {remedy}", err=True)
    sys.exit(status)
