"""Whether a repository is ready for a merge: nothing is under way, and all of it is committed."""

from pathlib import Path

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git.lock import check_git
from scaffold.git.repository import Place, find_place, ignored
from scaffold.git.run import ask
from scaffold.merge.rollback import under_way
from scaffold.merge.sandbox import Copy
from scaffold.names import pasted, printable, some
from scaffold.template.answers import FILE

# what git leaves in its folder while something is not done
UNDERWAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "sequencer": "a cherry-pick",
    "BISECT_LOG": "a bisect",
}


def ready(root: Path) -> Place:
    """The place of the project at root.

    Raises ScaffoldError unless all that git tracks there is as in the last commit, and nothing is
    staged: what lies elsewhere in the repository may be edited.
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
    told = [entry for entry in ask(place.top, "status", submodules, *flags).split("\0") if entry]
    changed = [entry[3:] for entry in told if entry[3:].startswith(place.prefix)]
    if changed:
        remedy = "git commit -a, or git stash, and run it again; then all can be undone"
        raise ScaffoldError(f"not committed: {some(changed)}", remedy, PRECONDITION)
    if staged := [entry[3:] for entry in told if entry[0] != " "]:  # as git merge does
        fact = f"staged outside of the project, for the same commit: {some(staged)}"
        remedy = "git commit, or git restore --staged, and run it again"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    return place


def check_kept(place: Place, copy: Copy, names: list[str]) -> None:
    """Raise ScaffoldError where git does not keep the answers of the project.

    names: the files that it was made with; those that git does not keep either are told with them.
    """
    if FILE in copy.entries:
        return
    missing = [name for name in names if name not in copy.entries and (place.root / name).is_file()]
    hidden = ignored(place.root, missing)
    words = " ".join(pasted(place.root / name) for name in hidden)
    steps = [f"git add --all {pasted(place.root)}"] if len(hidden) < len(missing) else []
    steps += [f"git add --force {words}"] if hidden else []
    remedy = " && ".join([*steps, 'git commit -m "Keep the project"'])
    raise ScaffoldError(f"git does not keep `{FILE}`", remedy, PRECONDITION)
