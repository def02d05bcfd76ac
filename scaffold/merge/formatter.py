"""Formats both renders as a team formats its project, so that a merge sees what else differs.

A team whose formatter has other settings than the template has rewritten most lines of most files.
Its own program, with its own settings, makes of both renders what it has made of the project.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scaffold.files import alike, files_in
from scaffold.git.index import blob_name
from scaffold.git.repository import Place
from scaffold.git.run import QUIET, git
from scaffold.merge.collisions import PLAIN
from scaffold.merge.sandbox import Copy, contents, rearranged
from scaffold.merge.soundness import parse_python
from scaffold.names import printable

KINDS = (".py", ".pyi", ".md")  # newer ruffs format the Python blocks of Markdown, too
SECONDS = 60  # for one file; it needs hundredths of one
RUFF = ("--no-cache", "--force-exclude", "--stdin-filename")
# what a team may run, in the order in which it is tried: words after the program, one after another
WAYS: dict[str, list[list[tuple[str, ...]]]] = {
    "ruff": [
        [("check", "--select=I", "--fix-only", *RUFF), ("format", *RUFF)],
        [("format", *RUFF)],
    ],
    "black": [[("--quiet", "--stdin-filename")]],
}


@dataclass(frozen=True)
class Way:
    """A program, and how it is called to format what it reads."""

    program: Path
    calls: list[tuple[str, ...]]

    def format(self, path: Path, code: bytes) -> bytes:
        """What it makes of a file with the settings of its place; lines end with LF.

        Raises ValueError with its reason where it fails.
        """
        for words in self.calls:
            try:
                done = subprocess.run(
                    [self.program, *words, path, "-"],
                    input=code,
                    capture_output=True,
                    timeout=SECONDS,
                    check=False,
                    process_group=0,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise ValueError(str(error)) from error
            if done.returncode != 0:
                lines = done.stderr.decode(errors="replace").split("\n")
                told = [line.strip() for line in lines if line.strip()]
                raise ValueError(": ".join(told[:2]) or f"status {done.returncode}")
            code = done.stdout
        return unix(code)


@dataclass
class Habits:
    """How the files of a project are formatted, as far as a merge needs to know."""

    place: Place
    ways: dict[str, Way] = field(default_factory=dict)  # of files that are as one leaves them
    looked_at: list[str] = field(default_factory=list)
    is_absent: bool = False  # no program was found
    failed: list[str] = field(default_factory=list)  # what a program said that does not work

    def follow(self, copy: Copy, old: Path, new: Path, moved: dict[str, str]) -> Copy:
        """Format both renders, and what was rewritten of the project: the copy that has it.

        moved: files of the project that have other names by now.
        """
        ways = {moved.get(name, name): way for name, way in self.ways.items()}
        names = [name for name in ways if all((side / name).is_file() for side in (old, new))]
        there = contents(copy, names)
        codes = {}
        for name in names:
            path = self.place.top / self.place.prefix / name
            try:
                sides = {side / name: (side / name).read_bytes() for side in (old, new)}
                made = {file: ways[name].format(path, code) for file, code in sides.items()}
                mine = ways[name].format(path, unix(there[name]))
            except ValueError:  # it could format the project's
                continue
            for file, code in made.items():
                file.write_bytes(code)
            if mine != unix(there[name]):
                ends = copy.line_ends[name] == "crlf"
                codes[name] = mine.replace(b"\n", b"\r\n") if ends else mine
        return rearranged(copy, {}, codes) if codes else copy

    def notes(self, conflicts: Iterable[str], has_settings: bool) -> list[str]:
        """What its owner should know."""
        left = bool(set(self.looked_at) & set(conflicts))
        if self.is_absent and self.looked_at and (left or has_settings):
            return [f"no {' or '.join(WAYS)} is installed here: merged as the files are"]
        return [f"{reason}; merged without it" for reason in self.failed]


def habits(place: Place, copy: Copy, old: Path, new: Path, may_move: bool) -> Habits:
    """How the files are formatted that are other than in the old render and are to change.

    may_move: also those that both renders have alike.
    """
    found = Habits(place)
    renders = [name for name in files_in(old) if name.endswith(KINDS)]
    same = set() if may_move else alike(old, new)
    wanted = {name: (old / name).read_bytes() for name in renders if name not in same}
    ends = tuple(f"/{name}" for name in wanted)
    names = [
        name
        for name, (mode, blob, _) in copy.entries.items()
        if mode.startswith(PLAIN)
        and (name in wanted or name.endswith(ends))
        and not (name in wanted and blob == blob_name(wanted[name], blob))  # which asks git nothing
    ]
    codes = {name: unix(code) for name, code in contents(copy, names).items()}
    found.looked_at = [name for name in names if codes[name] != wanted.get(name)]
    if not found.looked_at:
        return found
    ways = [
        Way(path, calls)
        for name in WAYS
        for path in [_program(name)]
        for calls in WAYS[name]
        if path is not None
    ]
    found.is_absent = not ways
    for name in found.looked_at:
        for way in list(ways):
            try:
                made = way.format(place.top / place.prefix / name, codes[name])
            except ValueError as error:
                if _is_python(name, codes[name]):  # then it is the program that does not work
                    ways.remove(way)
                    found.failed.append(f"{way.program.name}: {printable(str(error))}")
                continue
            if made == codes[name]:
                found.ways[name] = way
                break
    found.failed = sorted(set(found.failed))
    return found


def unix(code: bytes) -> bytes:
    """The code with lines that end with LF."""
    return code.replace(b"\r\n", b"\n")


def _is_python(name: str, code: bytes) -> bool:
    try:
        parse_python(code)
    except (SyntaxError, ValueError):
        return False
    return not name.endswith(".md")


def _program(name: str) -> Path | None:
    """The program of the active environment or of PATH, and never one that a repository tracks."""
    for folder in _folders():
        path = (folder / name).absolute()
        can_run = path.is_file() and os.access(path, os.X_OK)
        if can_run and not any(_is_tracked(each) for each in {path, path.resolve()}):
            return path
    return None


def _folders() -> Iterator[Path]:
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environment := os.environ.get(variable):
            yield Path(environment, "bin")
    yield from map(Path, filter(None, os.get_exec_path()))


def _is_tracked(path: Path) -> bool:
    words = ("ls-files", "--error-unmatch", "--", path.name)
    return git(path.parent, *QUIET, *words, GIT_LITERAL_PATHSPECS="1").returncode == 0
