"""The one error of this program that a user sees: a fact, a remedy and an exit status."""

import sys
from itertools import takewhile

FAILURE = 1  # it was right to try, and it went wrong
USAGE = 2  # the command line is wrong
CONFLICTS = 3  # it was done, and left something to decide
UPDATE_WAITS = 4  # `scaffold status --check`: the installed version is newer
PRECONDITION = 5  # the place or the state it was run in is wrong
INTERRUPTED = "interrupted", "nothing was changed", 130  # fact, remedy and status of a Ctrl-C


def json_is_asked() -> bool:
    """Whether the command line has --json, which no command has to have parsed for this."""
    return "--json" in takewhile("--".__ne__, sys.argv)


class ScaffoldError(Exception):
    """Shown as two lines, `error: FACT` and `hint: REMEDY`, before the program ends."""

    def __init__(self, fact: str, remedy: str, status: int) -> None:
        super().__init__(fact)
        self.fact, self.remedy, self.status = fact, remedy, status

    def as_dict(self) -> dict[str, str | int]:
        """What --json shows of it."""
        return {"error": self.fact, "hint": self.remedy, "status": self.status}
