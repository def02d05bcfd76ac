"""Lets git write the files of a move, beside the project and as it does there."""

import re
import shutil
from pathlib import Path

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import remove
from scaffold.git.index import Entries, blob_name, set_index
from scaffold.git.repository import Place
from scaffold.git.run import ask
from scaffold.merge.changes import Change
from scaffold.names import printable, some

LINK = "120000"  # the mode of a link
# what `ls-files --eol` tells of a file that is no text, and that its rules call one
BREAKS = re.compile(r"i/-text +\S+ +attr/text(?!=auto)")


def check_out(place: Place, found: list[Change], folder: Path) -> None:
    """Write the files of a move into `after/` of the folder that keeps it.

    Raises ScaffoldError where git would break one that is no text.
    """
    room = folder / "after"
    room.mkdir(parents=True, exist_ok=True)
    texts: Entries = {place.prefix + change.name: [change.text] for change in found if change.text}
    # as in a repository of these files alone: what the move says of them in .gitattributes counts
    variables = {"GIT_INDEX_FILE": str(folder / "index"), "GIT_DIR": str(place.git_dir)}
    variables["GIT_WORK_TREE"] = str(room)
    rules = {path for name in texts for path in _rules_of(name)} - texts.keys()
    for path in filter(lambda path: (place.top / path).is_file(), rules):
        (room / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place.top / path, room / path)
    set_index(place, texts, **variables)
    ask(room, "checkout-index", "--all", **variables)
    for path in rules:
        remove(room, path)
    for change in found:
        if change.text and [mode for mode, *_ in change.before] == [change.text[0]]:
            path = place.prefix + change.name
            shutil.copymode(folder / "before" / path, room / path, follow_symlinks=False)
    files = {path: text[1] for path, (text,) in texts.items() if text[0] != LINK}
    if any(blob_name((room / path).read_bytes(), blob) != blob for path, blob in files.items()):
        _check_data(place, ask(room, "ls-files", "--eol", "-z", **variables).split("\0"))


def _check_data(place: Place, listed: list[str]) -> None:
    """Raise ScaffoldError where git turns line ends in a file that is no text."""
    if broken := [entry.partition("\t")[2] for entry in listed if BREAKS.match(entry)]:
        fact = f"git is told that {some(broken)} is text, and would break it"
        rules_of_all = place.objects.with_name("info") / "attributes"
        remedy = f"add `*{Path(broken[0]).suffix} -text` to {printable(str(rules_of_all))}"
        raise ScaffoldError(fact, f"{remedy}, and run it again", PRECONDITION)


def _rules_of(path: str) -> list[str]:
    """The files of a repository in which it can say how git treats one of its files."""
    return [str(parent / ".gitattributes") for parent in Path(path).parents]
