"""`scaffold new`: makes a project."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaffold import signals
from scaffold.catalog.methods import METHODS
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.names import check_choice, check_new_name, check_path, pasted, printable, some
from scaffold.terminal import ask, show_json

if TYPE_CHECKING:
    from scaffold.template.source import Question

WAYS = ("fail", "skip", "overwrite", "merge")  # what to do with files that are there already


class QuestionsAsFlags(click.Command):
    """A command with a flag for each question of copier.yml, so that there is one list of them."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        # reads the template only when this command is called: the others start faster
        from scaffold.template.source import questions

        flags = []
        for question in questions():
            choices = f" ({', '.join(question.choices)})" if question.choices else ""
            flag = f"--{question.name.replace('_', '-')}"
            flags.append(click.Option([flag], help=f"{question.sentence}{choices}."))
        return [*flags, *super().get_params(ctx)]


@click.command(
    cls=QuestionsAsFlags,
    epilog="""\b
Examples:
  scaffold new --method torchrun myproj
  scaffold new --method fabric --dry-run myproj
  scaffold new --method fabric --on-conflict merge .
""",
)
@click.argument("path", required=False)
@click.option("--defaults", is_flag=True, help="Ask nothing; take the default of what is missing.")
@click.option("--no-git", is_flag=True, help="Make no git repository and no commit.")
@click.option(
    "--on-conflict",
    "way",
    default="fail",
    help=f"What to do with files that PATH has already: {', '.join(WAYS)}. [default: fail]",
)
@click.option("--dry-run", is_flag=True, help="List the files and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def new(
    path: str | None,
    defaults: bool,
    no_git: bool,
    way: str,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> bool:
    """Make a project in the new folder PATH, or of the git repository that lies there.

    In a repository the files are staged for you to look at and commit; --on-conflict says what
    happens to those that it has already: skip keeps yours, overwrite takes the project's, and merge
    leaves both in a conflict of git. `scaffold abort` takes it all back.
    """
    check_choice("--on-conflict", way, WAYS)
    if path is None:
        check = partial(check_target, name=given["project_name"], way=way)
        remedy = "scaffold new --method fabric myproj"
        path = ask("PATH", "Folder of the project", remedy, check)
    check_path(path)
    target = Path(path)
    answers = complete(given, folder_name(target) if path.strip() else "", defaults)
    # until this process ends: once the project is there, it also tells so
    signals.hold()
    from scaffold.git.repository import ignored
    from scaffold.ops import adopt as adoption  # imports copier, which takes half a second
    from scaffold.ops import create

    if adoption.is_repository(target):
        adopt(path, answers, way, dry_run, as_json)
        return not dry_run
    names = create.preview(target, answers) if dry_run else create.new(target, answers, not no_git)
    method = METHODS[answers["method"]]
    steps = [
        f"cd {pasted(path)}",
        "python3 -m venv .venv",
        ". .venv/bin/activate",
        "pip install -e '.[test]'",
        method.launch,
    ]
    within = not (no_git or dry_run or (target / ".git").exists())
    hidden = ignored(target, names) if within else []
    # by their names: a forced folder would bring what the project itself ignores
    add = f"git add --force {' '.join(pasted(target / name) for name in hidden)}"
    if as_json:
        steps = [add, *steps] if hidden else steps
        result = {"path": str(target), **answers, "files": names, "ignored": hidden, "next": steps}
        show_json(result)
    elif dry_run:
        click.echo("\n".join(names))
    else:
        click.echo(f"{path}: {method.title}, {len(names)} files\n")
        if within:
            click.echo("it lies in a git repository already, so nothing was committed", err=True)
        if hidden:
            click.echo(f"that repository ignores {some(hidden)}: {add}", err=True)
        click.echo("\n".join(f"  {step}" for step in steps))
    return not dry_run


def adopt(path: str, answers: dict[str, str], way: str, dry_run: bool, as_json: bool) -> None:
    """Add a project to the folder at path, which has files of its own."""
    from scaffold.commands import report
    from scaffold.ops import adopt as adoption

    there = adoption.listed(Path(path), answers)
    if there and not as_json:
        click.echo(f"already there: {', '.join(map(printable, there))}", err=True)
    if way == "fail" and adoption.is_taken(Path(path)):
        raise adoption.refusal(Path(path), there)
    message = f"Add a project of scaffold ({answers['method']})"
    done = adoption.adopt(Path(path), answers, way, message, dry_run)
    steps = ["pip install -e '.[test]'", METHODS[answers["method"]].launch]
    if {"train.py", "pyproject.toml"} & set(done.skipped):
        steps = []  # what these would do is not known here
    report.show(message, done, steps, dry_run, as_json)


def folder_name(path: Path) -> str:
    """The name of the folder at a path, also at `.` and `..`."""
    try:
        full = Path.cwd() / path
        return (full.resolve() if full.name == ".." else full).name
    except FileNotFoundError as error:
        remedy = "cd to one that exists; nothing was changed"
        raise ScaffoldError("the current folder was removed", remedy, PRECONDITION) from error


def check_target(path: str, name: str | None, way: str) -> None:
    """Raise ScaffoldError where no project can be made at a path, or its folder cannot name it."""
    from scaffold.ops import adopt as adoption
    from scaffold.ops import create

    check_path(path)
    target = Path(path)
    if name is None:
        check_new_name(folder_name(target))
    if not adoption.is_repository(target):
        create.check_place(target)
    elif way == "fail" and adoption.is_taken(target):
        remedy = "choose another path, or begin again with --on-conflict skip, overwrite or merge"
        raise ScaffoldError(f"`{path}` exists and is not empty", remedy, PRECONDITION)


def complete(given: dict[str, Any], folder: str, defaults: bool) -> dict[str, str]:
    """An answer to every question: as given, asked for on a terminal, or the default.

    Raises ScaffoldError where one that was given is wrong, before anything is asked.
    """
    from scaffold.template.source import questions

    answers = {"project_name": folder} | {
        name: answer for name, answer in given.items() if answer is not None
    }
    asked = questions()
    for question in asked:
        if question.name in answers:
            check_answer(answers[question.name], question)
    for question in asked:
        if question.name in answers:
            continue
        # off a terminal, which method is the one question that must be answered
        asks = question.name == "method" or sys.stdin.isatty()
        answer = None if asks and not defaults else question.default
        if answer is None:
            flag, options = f"--{question.name.replace('_', '-')}", ", ".join(question.choices)
            remedy = f"add {flag}{f' with one of: {options}' if options else ''}"
            prompt = f"{question.sentence}{f' ({options})' if options else ''}"
            check = partial(check_answer, question=question)
            answer = ask(flag, prompt, remedy, check, question.default)
        answers[question.name] = answer
    return answers


def check_answer(answer: str, question: "Question") -> None:
    """Raise ScaffoldError where it is none of the choices, or no name of a project."""
    if question.name == "project_name":
        check_new_name(answer)
    elif question.choices:
        check_choice(question.name, answer, question.choices)
