"""How this project says what is wrong: a fact and what to do, by rank 0, and the program ends."""

import os
import sys
import time

from engine.variables import launched


def this_rank() -> int:
    """The rank of this process, as a launcher says; 0 where there is none, or none yet."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0))) if launched() else 0


def is_first() -> bool:
    """Whether this process speaks for all."""
    return this_rank() == 0


class Refusal(SystemExit):
    """The end of the program by `leave_if`, with what was wrong first."""

    def __init__(self, status: int, fact: str, remedy: str) -> None:
        super().__init__(status)
        self.status, self.fact, self.remedy = status, fact, remedy


def leave_if(found: list[tuple[str, str]], status: int = 2) -> None:
    """End the program with all problems, if there are any. Status 2: the settings are wrong."""
    if not found:
        return
    # once per machine: settings may be wrong on one of them alone
    speaks = is_first() or (status == 2 and os.environ.get("LOCAL_RANK") == "0")
    for fact, remedy in found if speaks else ():
        print(f"error: {fact}\nhint: {remedy}", file=sys.stderr)
    if not is_first():
        time.sleep(1)  # a launcher ends all when one leaves: let the first one speak
    raise Refusal(status, *found[0])
