"""Whether a repository is ready for a merge: nothing is under way, and all is committed."""

from pathlib import Path

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git.lock import check_git
from scaffold.git.repository import Place, find_place
from scaffold.git.run import ask
from scaffold.merge.rollback import under_way
from scaffold.names import printable, some

# what git leaves in its folder while something is not done
UNDERWAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "sequencer": "a cherry-pick",
}


def ready(root: Path) -> Place:
    """The place of the project at root.

    Raises ScaffoldError unless all that git tracks is as in the last commit.
    """
    place = find_place(root)
    if note := under_way(place):
        fact, remedy = "the last move was killed half-way", "scaffold abort"
        if note["done"]:
            fact = f"not committed yet: {note['message']}"
            remedy = "git diff and git status show what is left; git commit, or scaffold abort"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    for name, what in UNDERWAY.items():
        if (place.git_dir / name).exists():
            fact = f"{what} is under way in `{printable(str(place.top))}`"
            raise ScaffoldError(fact, "finish or abort it first: git status", PRECONDITION)
    check_git(place)
    flags = ("--porcelain", "--no-renames", "--untracked-files=no", "-z")
    submodules = "--ignore-submodules=dirty"
    told = ask(place.top, "status", submodules, *flags).split("\0")
    changed = [entry[3:] for entry in told if entry[2:3]]
    if changed:
        remedy = "git commit -a, or git stash, and run it again; then all can be undone"
        raise ScaffoldError(f"not committed: {some(changed)}", remedy, PRECONDITION)
    return place
