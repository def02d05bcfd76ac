"""Recipes: what an owner changes in a fresh project for work of another kind."""

from dataclasses import dataclass
from pathlib import Path

from scaffold.names import check_choice

PACKAGE = Path(__file__).parents[1]
INSTALLED = PACKAGE / "_recipes"  # what a wheel carries
CHECKOUT = PACKAGE.parent / "docs/recipes"  # where they lie in the repository


@dataclass(frozen=True)
class Recipe:
    """A page with the reasons, and a patch of a project that begins with the digits."""

    name: str
    page: str  # Markdown
    patch: str  # for `git apply`

    @property
    def title(self) -> str:
        """The heading of the page."""
        return self.page.splitlines()[0].removeprefix("# ")


def names() -> list[str]:
    """The names of all recipes, sorted."""
    return sorted(path.stem for path in folder().glob("*.patch"))


def recipe(name: str) -> Recipe:
    """The recipe of a name; raises ScaffoldError where there is none."""
    check_choice("recipe", name, names())
    page, patch = (folder() / f"{name}.{kind}" for kind in ("md", "patch"))
    return Recipe(name, page.read_text("utf-8"), patch.read_text("utf-8"))


def folder() -> Path:
    """Where pages and patches lie."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT
