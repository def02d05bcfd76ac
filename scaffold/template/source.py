"""Where the template lies, and the questions it asks."""

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from shutil import copyfile

import yaml

PACKAGE = Path(__file__).parents[1]
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


def root() -> Path:
    """The folder with copier.yml and template/."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT


def questions(text: str | None = None) -> list[Question]:
    """The questions that a person answers, in their order; text: a copier.yml, else ours."""
    entries = yaml.safe_load(text or (root() / "copier.yml").read_text("utf-8"))
    return [
        Question(name, entry["help"], tuple(entry.get("choices", ())), entry.get("default"))
        for name, entry in entries.items()
        if not name.startswith("_") and entry.get("when") is not False
    ]


def template_folder(room: Path) -> Path:
    """A folder with copier.yml and template/ that copier can render; a copy of them in the room.

    Of an installed template no copy is needed. In a repository copier would clone it at its last
    tag; a copy gives the files as they are.
    """
    if INSTALLED.is_dir():
        return INSTALLED
    folder = room / "template"
    folder.mkdir()
    copyfile(CHECKOUT / "copier.yml", folder / "copier.yml")
    _copy(CHECKOUT / "template", folder / "template")
    return folder


def _copy(source: Path, target: Path) -> None:
    """Copy a folder without what running leaves in it, up to the first error; copytree goes on."""
    target.mkdir()
    for path in source.iterdir():
        if path.is_file():
            copyfile(path, target / path.name)
        elif not (path.name in ("__pycache__", "runs") or fnmatch(path.name, ".*_cache")):
            _copy(path, target / path.name)
