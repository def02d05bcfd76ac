"""The releases of this repository: the commits in which the version changed, tagged or not.

A wheel carries their templates as one git bundle. This module is also run while a wheel is built,
where nothing is installed but Python and git.
"""

import re
from pathlib import Path

from scaffold.git.run import NOBODY, ask

VERSION_FILE = "scaffold/__init__.py"
TEMPLATE = ("copier.yml", "template")
LINE = re.compile(r'^commit (\w+)$|^\+__version__ = "(\d+\.\d+\.\d+)"$', re.MULTILINE)
# the same bytes on every machine with the same git
SAME = ("-c", "pack.threads=1", "-c", "core.compression=9")


def release_commits(repository: Path) -> dict[str, str]:
    """{version: commit}, the oldest first; nothing of a shallow clone: its first is none."""
    if ask(repository, "rev-parse", "--is-shallow-repository").strip() == "true":
        return {}
    flags = (
        *("--first-parent", "-m", "--reverse", "--format=commit %H", "--patch", "--no-color"),
        *("--text", "--encoding=UTF-8", "--no-ext-diff", "--no-textconv"),
    )
    log = ask(repository, "log", *flags, "--", VERSION_FILE)
    found, commit = {}, ""
    for match in LINE.finditer(log):
        if match[1]:
            commit = match[1]
        else:
            found[match[2]] = commit
    return found


def write_bundle(repository: Path, target: Path, room: Path) -> bool:
    """Write the templates of all releases into one file; False where there is none.

    One commit per release, with its tag: v0.1.0, v0.2.0, ...
    """
    releases = release_commits(repository)
    bare = room / "releases.git"
    ask(room, "init", "--quiet", "--bare", str(bare))
    objects = ask(repository, "rev-parse", "--path-format=absolute", "--git-path", "objects")
    (bare / "objects/info/alternates").write_text(objects)
    parent: list[str] = []
    for version, commit in releases.items():
        tree = ask(bare, "mktree", text=ask(bare, "ls-tree", commit, *TEMPLATE)).strip()
        date = ask(bare, "show", "--no-patch", "--format=%ct +0000", commit).strip()
        variables = NOBODY | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        words = ("commit-tree", tree, *parent)
        made = ask(bare, *words, text=f"v{version}\n", **variables).strip()
        ask(bare, "update-ref", f"refs/tags/v{version}", made)
        parent = ["-p", made]
    if releases:
        ask(bare, *SAME, "bundle", "create", "--quiet", str(target), "--tags")
    return bool(releases)
