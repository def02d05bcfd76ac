"""The lines that start a program, in a project whose programs lie in a folder or a package.

Its team has written `-m digits.train` or `src/train.py` where a render says `train.py`.
"""

from pathlib import Path

from scaffold.merge.home import Home

TOLD_IN = ("README.md",)  # beside the programs themselves


def follow(project: dict[str, bytes], old: Path, new: Path, home: Home) -> None:
    """Let both renders start a program as the project does, line by line.

    project: its files by their names; old and new: renders with the names of the project.
    """
    programs = [path.stem for path in (old / home.folder).glob("*.py")]
    for name in (*TOLD_IN, *(f"{home.folder}{program}.py" for program in programs)):
        files = [folder / name for folder in (old, new)]
        if name not in project or not all(file.is_file() for file in files):
            continue
        there = set(project[name].splitlines())
        before, after = (file.read_bytes().split(b"\n") for file in files)
        for program in programs:
            word = f" {program}.py".encode()
            for way in _ways(home, program):
                followed = [_followed(line, word, way, there) for line in before]
                if followed == before:
                    continue
                stay = {line for line in before if line in followed}
                after = [line if line in stay else line.replace(word, way) for line in after]
                before = followed
        for file, lines in zip(files, (before, after), strict=True):
            file.write_bytes(b"\n".join(lines))


def _ways(home: Home, program: str) -> list[bytes]:
    """How a program may be started that does not lie in the root any more."""
    module = [f" -m {home.package}.{program}".encode()] if home.package else []
    return [*module, f" {home.folder}{program}.py".encode()]


def _followed(line: bytes, word: bytes, way: bytes, there: set[bytes]) -> bytes:
    changed = line.replace(word, way)
    return changed if line not in there and changed in there else line
