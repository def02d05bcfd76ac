"""Finds the command line that was meant by one that is wrong, where it is plain: to be pasted."""

import re
import shlex

import click

from scaffold.catalog.choose import GOALS
from scaffold.commands.new import WAYS
from scaffold.names import nearest
from scaffold.template.source import questions

# what the value of an option looks like, where it is none of a few
SHAPES = {
    "to": re.compile(r"v?\d+(\.\d+)+"),
    "python": re.compile(r"(.*/)?python[\d.]*"),
}
# how like another word one has to be
LIKELY = 0.7  # an option: `--dry` is `--dry-run`, and `--json` is no `--version`
SURE = 0.8  # what may be something else: `test` is no `text`


def meant(error: click.UsageError, words: list[str]) -> str:
    """The command line that was meant; empty where it is not plain.

    words: those behind the name of the program.
    """
    context, made = error.ctx, list[str]()
    if isinstance(error, click.NoSuchOption):
        made = _respelt(error, words)
    elif context and context.parent is None:
        made = _commanded(context, words)
    elif context and type(error) is click.UsageError:  # not one of a value, or of a flag without
        made = _flagged(context, words)
    line = shlex.join(["scaffold", *made]) if made else ""
    return line if line.isprintable() else ""


def _commanded(context: click.Context, words: list[str]) -> list[str]:
    """The words with the command that theirs is like."""
    assert isinstance(context.command, click.Group), "it has the commands"
    word = next(word for word in words if not word.startswith("-"))
    near = nearest(word, context.command.list_commands(context))
    return _replaced(words, word, [near]) if near else []


def _respelt(error: click.NoSuchOption, words: list[str]) -> list[str]:
    """The words with the option that theirs is like."""
    near = nearest(error.option_name, error.possibilities or (), LIKELY)
    for word in words if near else ():
        name, equals, value = word.partition("=")
        if name == error.option_name:
            return _replaced(words, word, [f"{near}{equals}{value}"])
    return []


def _flagged(context: click.Context, words: list[str]) -> list[str]:
    """The words, with its flag before each value that has none."""
    at = words.index(str(context.info_name)) + 1
    before, rest = words[:at], words[at:]
    given, left, _ = context.command.make_parser(context).parse_args(list(rest))
    parameters = context.command.get_params(context)
    options = [each for each in parameters if isinstance(each, click.Option)]
    options = [each for each in options if each.name not in given]
    flags = {word: _flag(word, options, SURE) for word in left}
    if not all(flags.values()):
        # a value may stand where the path does, which has come behind it then
        places = [given[each.name] for each in parameters if isinstance(each, click.Argument)]
        found = {word: _flag(word, options, 1) for word in (*places, *left)}
        flags = {word: flag for word, flag in found.items() if flag}
    if not len(flags) == len(left) == len({flag for flag, *_ in flags.values()}):
        return []
    for word, flag in flags.items():
        rest = _replaced(rest, word, flag)
    return [*before, *rest]


def _flag(word: str, options: list[click.Option], sure: float) -> list[str]:
    """The option that a word is a value of, with the value; empty where it is of none."""
    choices = {question.name: question.choices for question in questions()}
    choices |= {"goal": tuple(GOALS), "way": WAYS}
    for option in options:
        name, flag = str(option.name), option.opts[0]
        if option.is_flag and word == flag.removeprefix("--"):
            return [flag]
        if name in SHAPES and SHAPES[name].fullmatch(word):
            return [flag, word]
        if near := nearest(word, choices.get(name, ()), sure):
            return [flag, near]
    return []


def _replaced(words: list[str], word: str, made: list[str]) -> list[str]:
    at = words.index(word)
    return [*words[:at], *made, *words[at + 1 :]]
