"""Sets some files of a repository, and what git's index has of them; nothing else is touched."""

from contextlib import suppress
from pathlib import Path

from scaffold.changes import Entry, is_whole, staged
from scaffold.git import ask
from scaffold.place import Place

Entries = dict[str, list[Entry]]  # of paths in the repository; none where a file is gone


def index_entries(place: Place, paths: list[str]) -> Entries:
    """What the index has of these paths."""
    literal = {"GIT_LITERAL_PATHSPECS": "1"}
    found = staged(ask(place.top, "ls-files", "--stage", "-z", "--", *paths, **literal))
    return {path: found.get(path, []) for path in paths}


def set_index(place: Place, entries: Entries) -> None:
    """Let the index have these entries: all, or none of them where git fails."""
    lines = []
    for path, found in entries.items():
        lines.append(f"0 {'0' * len(place.head)} 0\t{path}\0")
        lines += [f"{mode} {blob} {stage}\t{path}\0" for mode, blob, stage in found]
    ask(place.top, "update-index", "-z", "--index-info", text="".join(lines))


def set_files(place: Place, entries: Entries) -> None:
    """Let the files be as the index has them; those in conflict are left as they are."""
    for path, found in entries.items():
        if not found:
            remove(place, path)
    whole = [path for path, found in entries.items() if is_whole(found)]
    paths = "".join(f"{path}\0" for path in whole)
    ask(place.top, "checkout-index", "--force", "--index", "-z", "--stdin", text=paths)


def remove(place: Place, path: str) -> None:
    """Remove a file, and the folders that are empty then."""
    with suppress(FileNotFoundError, NotADirectoryError):
        (place.top / path).unlink()
    for parent in Path(path).parents[:-1]:
        with suppress(OSError):  # not empty
            (place.top / parent).rmdir()
