"""What it costs to make a project: CPU time of `scaffold new`, beside copier on the same files."""

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns
from tempfile import TemporaryDirectory

from measure import Comparison, Pair, compare, cpu_seconds

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
ROUNDS = 7
NAME, METHOD = "digits", "fabric"


def comparisons() -> list[Comparison]:
    """`scaffold new` beside `copier copy`, each into a fresh folder of the same name."""
    with TemporaryDirectory(prefix="scaffold-bench-") as folder:
        template = Path(folder, "template")
        copy_template(template)
        new = [str(BIN / "scaffold"), "new", "--no-git", "--method", METHOD]
        answers = ["--data", f"project_name={NAME}", "--data", f"method={METHOD}"]
        copy = [str(BIN / "copier"), "copy", "--quiet", "--defaults", *answers, str(template)]
        ours, theirs = Path(folder, "ours"), Path(folder, "theirs")
        pair = Pair(
            "`scaffold new --no-git` / `copier copy`", maker(new, ours), maker(copy, theirs), 1.1
        )
        found = compare([pair], ROUNDS, warm_up=True)
        assert contents(ours) == contents(theirs), "both make the same files"
        return found


def copy_template(target: Path) -> None:
    """Copy copier.yml and template/ to a folder that is no git repository.

    copier would clone a repository at its last tag; of a folder it takes the files as they are.
    """
    target.mkdir()
    copyfile(ROOT / "copier.yml", target / "copier.yml")
    ignored = ignore_patterns("__pycache__", ".*_cache", "runs")
    copytree(ROOT / "template", target / "template", ignore=ignored)


def maker(command: list[str], parent: Path) -> Callable[[], float]:
    """A function that makes one more project under the parent and gives its CPU seconds."""
    numbers = count()

    def make() -> float:
        folder = parent / str(next(numbers))
        folder.mkdir(parents=True)
        return cpu_seconds([*command, str(folder / NAME)])

    return make


def contents(folder: Path) -> dict[Path, bytes]:
    """The files under a folder, by their relative paths."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
