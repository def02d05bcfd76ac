"""A project name is accepted or refused in one line, and an accepted one works."""

import re
import string
import sys
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from conftest import TEMPLATE
from scaffold.errors import USAGE, ScaffoldError
from scaffold.names import LIBRARIES, NAME, check_name


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
    if "for example" in caught.value.remedy and "shorter" not in caught.value.remedy:
        check_name(caught.value.remedy.split("for example ")[1])  # the example is a good name


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
