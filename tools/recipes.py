"""Writes the patches of docs/recipes anew for the template as it is, and the list of them.

python tools/recipes.py

A patch that no longer fits is told by `patch`; mend it by hand in the project that is left then.
"""

import re
import subprocess
from pathlib import Path
from tempfile import mkdtemp

from scaffold.catalog.recipes import CHECKOUT as PAGES
from scaffold.catalog.recipes import recipe
from scaffold.ops import create

CONTEXT = {"pyproject.toml": 1}  # lines around a change that all methods and trackers have; else 2


def main() -> None:
    room = Path(mkdtemp(prefix="recipes-"))
    rows = [row(path, room / path.stem) for path in sorted(PAGES.glob("*.patch"))]
    text = (PAGES / "README.md").read_text()
    begin = text.index("|---") + text[text.index("|---") :].index("\n") + 1
    end = begin + text[begin:].index("\n\n")
    (PAGES / "README.md").write_text(text[:begin] + "\n".join(rows) + text[end:])


def row(path: Path, project: Path) -> str:
    """Write a patch anew; its row in the list."""
    create.new(project, {"project_name": "digits", "method": "torchrun"}, git=True)
    subprocess.run(["patch", "-p1", "--no-backup-if-mismatch", "-i", path], cwd=project, check=True)
    files = shown(project, "diff", "--name-only").split()
    patch = "".join(shown(project, "diff", f"-U{CONTEXT.get(name, 2)}", name) for name in files)
    patch = re.sub(r"^index .*\n", "", patch, flags=re.MULTILINE)
    path.write_text(patch)
    lines = [line for line in patch.splitlines() if not line.startswith(("+++ ", "--- "))]
    added, gone = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    heading = recipe(path.stem).title
    names = ", ".join(f"`{name}`" for name in files)
    return f"| [{path.stem}]({path.stem}.md) | {heading} | {added} | {gone} | {names} |"


def shown(project: Path, *words: str) -> str:
    command = ["git", "-c", "core.pager=cat", *words]
    return subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
