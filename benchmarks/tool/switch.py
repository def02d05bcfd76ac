"""What it costs to change the method: CPU time of `scaffold switch`, beside `copier update`."""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

from measure import Comparison, Pair, compare, cpu_seconds
from scaffold import __version__
from scaffold.template.answers import FILE
from tool.new import BIN, copy_template

ROUNDS = 7
IDENTITY = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")


def comparisons() -> list[Comparison]:
    """Both take a fresh copy of the same project from Fabric to torchrun."""
    with TemporaryDirectory(prefix="scaffold-bench-") as folder:
        source, project = Path(folder, "source"), Path(folder, "digits")
        copy_template(source)
        commit(source)
        git(source, "tag", f"v{__version__}")
        words = ["new", "--no-git", "--method", "fabric", str(project)]
        cpu_seconds([str(BIN / "scaffold"), *words])
        commit(project)
        for_copier = copytree(project, Path(folder, "for-copier"))
        answers = for_copier / FILE
        answers.write_text(
            answers.read_text().replace("_src_path: scaffold", f"_src_path: {source}")
        )
        commit(for_copier)
        ours = [sys.executable, "-m", "scaffold", "switch", "--method", "torchrun"]
        theirs = [sys.executable, "-m", "copier", "update", "--quiet", "--defaults"]
        theirs += ["--data", "method=torchrun"]
        pair = Pair(
            "`scaffold switch` / `copier update`",
            switcher(ours, project, Path(folder, "ours")),
            switcher(theirs, for_copier, Path(folder, "theirs")),
            0.6,
        )
        found = compare([pair], ROUNDS, warm_up=True)
        made = [Path(folder, side, "0/train.py").read_bytes() for side in ("ours", "theirs")]
        assert made[0] == made[1] != (project / "train.py").read_bytes(), "both have switched"
        return found


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *IDENTITY, *words], check=True, capture_output=True)


def commit(folder: Path) -> None:
    """Let git keep a folder as it is."""
    git(folder, "init")
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "as it is")


def switcher(command: list[str], project: Path, parent: Path) -> Callable[[], float]:
    """A function that switches one more copy of the project and gives the CPU seconds of it."""
    numbers = count()

    def switch() -> float:
        folder = copytree(project, parent / str(next(numbers)))
        before = Path.cwd()
        os.chdir(folder)  # both work on the project they are in
        try:
            return cpu_seconds(command)
        finally:
            os.chdir(before)

    return switch
