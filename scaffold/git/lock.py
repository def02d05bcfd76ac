"""One at a time: neither two of this tool, nor git beside it, change a repository."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git.repository import Place
from scaffold.git.run import AGAIN
from scaffold.names import printable

LOCK = "scaffold-move.lock"


@contextmanager
def alone(place: Place) -> Iterator[None]:
    """Keep another scaffold out of the repository; the lock goes with this process."""
    with (place.git_dir / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            fact = "another scaffold is at work in this repository"
            raise ScaffoldError(fact, AGAIN, PRECONDITION) from error
        yield


def check_git(place: Place) -> None:
    """Raise ScaffoldError where git is at work in the repository, or was killed there."""
    if (place.git_dir / "index.lock").exists():
        fact = f"git is at work in `{printable(str(place.top))}`"
        remedy = f"wait for it; if it was killed, remove {place.git_dir / 'index.lock'}"
        raise ScaffoldError(fact, remedy, PRECONDITION)
