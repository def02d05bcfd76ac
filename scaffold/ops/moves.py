"""The two moves that a project can make: to another method, and to a later version."""

from pathlib import Path

from scaffold import __version__
from scaffold.catalog.methods import METHODS
from scaffold.errors import USAGE, ScaffoldError
from scaffold.names import printable
from scaffold.ops.update import Move
from scaffold.template.answers import find_project, read_answers
from scaffold.template.releases import numbers, questions_of, unknown, versions


def switching(folder: Path, method: str) -> Move:
    """The project that a folder lies in, with another method and all else as it was.

    Raises ScaffoldError where the method does not exist.
    """
    if method not in METHODS:
        fact = f"method `{printable(method)}` does not exist"
        raise ScaffoldError(fact, f"choose one of: {', '.join(METHODS)}", USAGE)
    root = find_project(folder)
    answers = read_answers(root)
    old, new = answers.values, answers.values | {"method": method}
    message = f"Switch from {old['method']} to {method}"
    return Move(root, message, answers.version, old, answers.version, new)


def updating(folder: Path, to: str | None) -> Move:
    """The project that a folder lies in, as a later version makes it; None: the installed one.

    Raises ScaffoldError where that version is not known, or not a later one.
    """
    root = find_project(folder)
    answers = read_answers(root)
    version = (to or __version__).removeprefix("v")
    known = versions()
    if version not in known:
        fact = f"version `{printable(version)}` does not exist"
        raise ScaffoldError(fact, f"choose one of: {', '.join(known)}", USAGE)
    if answers.version not in known:
        raise unknown(answers.version)
    if numbers(version) < numbers(answers.version):
        fact = f"{version} is older than {answers.version}, which made the project"
        raise ScaffoldError(fact, "git revert brings an update back", USAGE)
    old, new = answers.values, {}
    for question in questions_of(version):
        answer = old.get(question.name, question.default)
        if answer is None or (question.choices and answer not in question.choices):
            fact = f"scaffold {version} has no {question.name} `{printable(str(answer))}`"
            raise ScaffoldError(fact, f"choose an earlier one: {', '.join(known)}", USAGE)
        new[question.name] = answer
    message = f"Update from scaffold {answers.version} to {version}"
    return Move(root, message, answers.version, old, version, new)
