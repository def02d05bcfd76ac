"""What git's index has of some files of a repository; nothing else in it is touched."""

import hashlib

from scaffold.git.repository import Place
from scaffold.git.run import QUIET, ask, git

Entry = tuple[str, str, str]  # mode, blob and stage, which is 0 unless there is a conflict
Entries = dict[str, list[Entry]]  # of paths in the repository; none where a file is gone
LITERAL = {"GIT_LITERAL_PATHSPECS": "1"}  # a name is a name, whatever signs are in it


def index_entries(place: Place, paths: list[str]) -> Entries:
    """What the index has of these paths."""
    found = staged(ask(place.top, "ls-files", "--stage", "-z", "--", *paths, **LITERAL))
    return {path: found.get(path, []) for path in paths}


def unseen(place: Place, paths: list[str]) -> list[str]:
    """Which of these paths git was told not to look at: assume-unchanged, or sparse."""
    listed = ask(place.top, "ls-files", "-v", "-z", "--", *paths, **LITERAL).split("\0")
    return [entry[2:] for entry in listed if entry[:1].islower() or entry[:1] == "S"]


def set_index(place: Place, entries: Entries, **variables: str) -> None:
    """Let the index have these entries: all, or none of them where git fails."""
    lines = [f"0 {'0' * len(place.head)} 0\t{path}\0" for path in entries]
    for path, found in entries.items():
        lines += [f"{mode} {blob} {stage}\t{path}\0" for mode, blob, stage in found]
    ask(place.top, "update-index", "-z", "--index-info", text="".join(lines), **variables)


def look_again(place: Place) -> None:
    """Let the index know the files that were written beside it; a conflict is no failure here."""
    git(place.top, *QUIET, "update-index", "-q", "--refresh")


def is_whole(entries: list[Entry]) -> bool:
    """Whether these are the entries of a file that is there, and without a conflict."""
    return [stage for _, _, stage in entries] == ["0"]


def staged(told: str) -> dict[str, list[Entry]]:
    """The entries of each path that `ls-files --stage -z` has told."""
    found: dict[str, list[Entry]] = {}
    for entry in filter(None, told.split("\0")):
        facts, _, path = entry.partition("\t")
        mode, blob, stage = facts.split()
        found.setdefault(path, []).append((mode, blob, stage))
    return found


def blob_name(code: bytes, like: str) -> str:
    """The name that git gives to a content, in a repository where such names are like this one."""
    kind = hashlib.sha256 if len(like) == 64 else hashlib.sha1
    return kind(b"blob %d\0" % len(code) + code).hexdigest()
