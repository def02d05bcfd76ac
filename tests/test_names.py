"""A project name is accepted or refused in one line, and an accepted one works.

SOAK=1 (make soak) tries more names.
"""

import keyword
import re
import string
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from conftest import TEMPLATE, examples, scaffold
from scaffold.errors import PRECONDITION, USAGE, ScaffoldError
from scaffold.names import DEVICES, LIBRARIES, NAME, check_name, check_new_name
from scaffold.template.verify import verify

BATCH = 20
BATCHES = examples(2, 7, 47)  # with those by hand 100 names, 200, or 1000
HOSTILE = [
    "", " ", ".", "..", "...", "-", "--", "-h", "--help", "--method=spawn",
    "../up", "a/../../up", "/absolute", "a/b", "a//b", "a\\b", "C:\\x", "~", "~root", "$HOME",
    "a b", " a", "a ", "a\n", "\na", "a\tb", "a\rb", "a\x1b[31mb", "a\x7fb", "\ufeffa",
    "a;ls", "a|b", "a&b", "a>b", "`id`", "$(id)", "a'b", 'a"b', "a#b", "*",
    "{{ 7*7 }}", "{% raw %}", "{# a #}", "%s", "%(a)s", "${a}", "a: b", "!!python/name:os", "&a",
    "naïve", "проект", "项目", "a\u202eb", "a\u200bb", "😀", "x" * 65, "x" * 300,
    "@a", "con", "torch",
]  # fmt: skip


def refused(name: str) -> ScaffoldError | None:
    try:
        check_name(name)
    except ScaffoldError as error:
        return error
    return None


@given(st.text(max_size=80) | st.text(string.ascii_letters + string.digits + "._-", max_size=70))
def test_any_text_is_a_package_name_or_a_refusal(name: str) -> None:
    refusal = refused(name)
    if refusal:
        assert refusal.status == USAGE
        assert refusal.fact
        assert refusal.remedy
        assert "\n" not in refusal.fact + refusal.remedy
        check_new_name(suggested(refusal))
        return
    assert Requirement(name).name == name
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name)
    assert name not in sys.stdlib_module_names


@given(st.from_regex(NAME, fullmatch=True).filter(lambda name: len(name) <= 60))
def test_a_plain_name_with_a_suffix_is_accepted(name: str) -> None:
    check_name(f"{name}-x1")


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("", "the project has no name"),
        ("a/b", "not made of letters"),
        ("../up", "not made of letters"),
        ("1st", "not made of letters"),
        ("-rf", "not made of letters"),
        ("proj.", "not made of letters"),
        ("proj\n", "not made of letters"),
        ('a"b', "not made of letters"),
        ("naïve", "not made of letters"),
        ("{{ x }}", "not made of letters"),
        ("class", "a word of Python"),
        ("json", "a module of Python"),
        ("JSON", "a module of Python"),
        ("torch", "a library that projects use"),
        ("PyTorch_Lightning", "a library that projects use"),
        ("con", "a device on Windows"),
        ("x" * 65, "too long"),
    ],
)
def test_these_names_are_refused(name: str, fact: str) -> None:
    with pytest.raises(ScaffoldError, match=fact) as caught:
        check_name(name)
    check_new_name(suggested(caught.value))


def suggested(refusal: ScaffoldError) -> str:
    return re.split(", for example |, ", refusal.remedy)[1]


TAKEN = sorted({*LIBRARIES, *DEVICES, *keyword.kwlist, *sys.stdlib_module_names, "engine"})
ODD = st.text("-_. /\u00e9", max_size=3)


@given(
    st.builds("{}{}{}{}".format, ODD, st.sampled_from(TAKEN), ODD, st.sampled_from(["", "x" * 60]))
)
@example("numpy_")
@example("engine_")
@example("con." + "x" * 60)
@example("1st")
def test_what_is_suggested_in_place_of_a_name_is_accepted(name: str) -> None:
    try:
        check_new_name(name)
    except ScaffoldError as refusal:
        check_new_name(suggested(refusal))


@pytest.mark.parametrize("name", ["myproj", "My-Proj_2.0", "a", "vision-torch", "x" * 64])
def test_these_names_are_accepted(name: str) -> None:
    check_name(name)


def test_no_project_has_the_name_of_a_library_that_it_depends_on() -> None:
    text = re.sub(r"{%.*?%}", "", (TEMPLATE / "pyproject.toml.jinja").read_text())
    declared = tomllib.loads(text)["project"]
    groups = [declared["dependencies"], *declared["optional-dependencies"].values()]
    names = {Requirement(line).name for lines in groups for line in lines}
    assert {"torch", "wandb", "mlflow-skinny", "matplotlib"} <= names
    assert names <= LIBRARIES


def try_to_make(name: str, folder: Path, as_path: bool) -> None:
    """Make a project of this name: whole and alone in its folder, or refused in two lines."""
    folder.mkdir(parents=True)
    (folder / "kept").write_text("mine")
    flags = [] if as_path else [f"--project-name={name}"]
    path = name if as_path else "made"
    words = ["new", "--no-git", "--method", "torchrun", *flags, "--", path]
    result = scaffold(*words, folder=folder)
    assert "Traceback" not in result.out + result.err, name
    found = {entry.name for entry in folder.iterdir()} - {"kept"}
    assert (folder / "kept").read_text() == "mine"
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name], name
    if result.status == 0:
        assert found == {path}, name
        verify(folder / path)
        made = tomllib.loads((folder / path / "pyproject.toml").read_text())["project"]["name"]
        assert made == name
        return
    assert result.status in (USAGE, PRECONDITION), name
    assert [line.split(" ")[0] for line in result.err.splitlines()] == ["error:", "hint:"], name
    assert result.err.replace("\n", "").isprintable(), name
    assert found == set(), name


def try_all(names: list[str], parent: Path) -> None:
    """Try names, each in a place of its own."""
    for n, name in enumerate(names):
        # a path with a slash may well lead out of the folder
        try_to_make(name, parent / str(n) / "in", n % 2 == 0 and "/" not in name)


def test_hostile_names_make_a_whole_project_or_nothing(tmp_path: Path) -> None:
    assert len(set(HOSTILE)) == 60
    try_all(HOSTILE, tmp_path)


# any letter, and what a shell, YAML, Jinja, TOML, a file system or a terminal take for more
HOSTILE_TEXT = st.text(max_size=12) | st.lists(
    st.sampled_from([*"ab1-_./\\ '\"`$(){}%#&*!:;<>|?~\n\t\x1b", "..", "{{", "}}", "é", "\u202e"]),
    min_size=1,
    max_size=6,
).map("".join)


@settings(max_examples=BATCHES, database=None)
@given(st.lists(HOSTILE_TEXT, min_size=BATCH, max_size=BATCH, unique=True))
def test_any_text_makes_a_whole_project_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    # no system can hand over a NUL or half a character
    given_over = [re.sub("[\0\ud800-\udfff]", "", name) for name in names]
    try_all(given_over, tmp_path_factory.mktemp("names"))
