"""Where the template lies, and the questions it asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns
from tempfile import TemporaryDirectory

import yaml

PACKAGE = Path(__file__).parent
INSTALLED = PACKAGE / "_template"  # what a wheel carries
CHECKOUT = PACKAGE.parent  # where it lies in the repository


@dataclass(frozen=True)
class Question:
    """One question of copier.yml."""

    name: str
    help: str
    choices: tuple[str, ...]  # empty where any text will do
    default: str | None

    @property
    def sentence(self) -> str:
        """The help with a capital first letter."""
        return self.help[:1].upper() + self.help[1:]


def questions() -> list[Question]:
    """The questions that a person answers, in their order."""
    root = INSTALLED if INSTALLED.is_dir() else CHECKOUT
    entries = yaml.safe_load((root / "copier.yml").read_text("utf-8"))
    return [
        Question(name, entry["help"], tuple(entry.get("choices", ())), entry.get("default"))
        for name, entry in entries.items()
        if not name.startswith("_") and entry.get("when") is not False
    ]


@contextmanager
def template_folder() -> Iterator[Path]:
    """A folder with copier.yml and template/ that copier can render."""
    if INSTALLED.is_dir():
        yield INSTALLED
        return
    # copier would clone the repository at its last tag; a copy gives the files as they are
    with TemporaryDirectory(prefix="scaffold-template-") as folder:
        copyfile(CHECKOUT / "copier.yml", Path(folder, "copier.yml"))
        ignored = ignore_patterns("__pycache__", ".*_cache", "runs")
        copytree(CHECKOUT / "template", Path(folder, "template"), ignore=ignored)
        yield Path(folder)
