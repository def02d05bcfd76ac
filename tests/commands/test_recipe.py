"""`scaffold recipe`: the list, the pages and the patches."""

import json
from pathlib import Path

import pytest

from conftest import BIN, ROOT, run, scaffold

PAGES = ROOT / "docs/recipes"
RECIPES = sorted(path.stem for path in PAGES.glob("*.patch"))


def test_the_list_has_each_recipe_with_the_heading_of_its_page() -> None:
    shown = scaffold("recipe").out.splitlines()
    listed = json.loads(scaffold("recipe", "--json").out)
    assert [line.split()[0] for line in shown] == [one["name"] for one in listed] == RECIPES
    for line, one in zip(shown, listed, strict=True):
        heading = (PAGES / f"{one['name']}.md").read_text().splitlines()[0]
        assert heading == f"# {one['title']}"
        assert line.endswith(f"  {one['title']}")


@pytest.mark.parametrize("name", RECIPES[:1])
def test_a_page_and_a_patch_come_as_they_are(name: str) -> None:
    page, patch = (PAGES / f"{name}.md").read_text(), (PAGES / f"{name}.patch").read_text()
    assert scaffold("recipe", name).out == page
    assert scaffold("recipe", name, "--patch").out == patch
    assert json.loads(scaffold("recipe", name, "--json").out) == {
        **{"name": name, "title": page.splitlines()[0].removeprefix("# ")},
        **{"page": page, "patch": patch},
    }


def test_a_patch_goes_into_a_fresh_project(tmp_path: Path) -> None:
    """All of them in all methods: recipes/test_recipes.py."""
    scaffold("new", "--method", "torchrun", tmp_path / "digits")
    command = f"{BIN}/scaffold recipe {RECIPES[0]} --patch | git apply"
    assert run(command, tmp_path / "digits").status == 0
    assert run("git status --short", tmp_path / "digits").out.startswith(" M ")


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("nope",), "recipe `nope` does not exist"),
        (("nope", "--patch"), "recipe `nope` does not exist"),
        (("../metrics",), "recipe `../metrics` does not exist"),
        (("--patch",), "--patch needs a recipe"),
    ],
)
def test_what_is_no_recipe_is_two_lines(words: tuple[str, ...], fact: str) -> None:
    result = scaffold("recipe", *words)
    said, remedy = result.err.splitlines()
    assert (result.status, said, result.out) == (2, f"error: {fact}", "")
    assert remedy.endswith(f"of: {', '.join(RECIPES)}")
