"""What was found of one thing that training needs."""

from typing import NamedTuple


class Finding(NamedTuple):
    """What was found of one thing; `fail` where training would not start."""

    name: str
    state: str  # ok, warn or fail
    fact: str
    remedy: str = ""
