"""Whether a repository is ready for a merge: nothing is under way, and all is committed."""

from pathlib import Path

from scaffold import undo
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git import ask
from scaffold.names import printable
from scaffold.place import Place, find_place

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
    if undo.is_half_done(place):
        raise ScaffoldError("the last move was killed half-way", "scaffold abort", PRECONDITION)
    for name, what in UNDERWAY.items():
        if (place.git_dir / name).exists():
            fact = f"{what} is under way in `{printable(str(place.top))}`"
            raise ScaffoldError(fact, "finish or abort it first: git status", PRECONDITION)
    if (place.git_dir / "index.lock").exists():
        fact = f"git is at work in `{printable(str(place.top))}`"
        remedy = f"wait for it; if it was killed, remove {place.git_dir / 'index.lock'}"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    flags = ("--porcelain", "--no-renames", "--untracked-files=no", "-z")
    submodules = "--ignore-submodules=dirty"
    told = ask(place.top, "status", submodules, *flags).split("\0")
    changed = [entry[3:] for entry in told if entry[2:3]]
    if changed:
        shown = ", ".join(printable(name) for name in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        remedy = "git commit -a, or git stash, and run it again; then all can be undone"
        raise ScaffoldError(f"not committed: {shown}{more}", remedy, PRECONDITION)
    return place
