"""Settles what git leaves of imports and dependencies: lists whose order says nothing.

A team has added a line right beside one that a method has and another has not. For git both have
changed the same place; here the team's line stays, and the method's become the other's.
"""

import re
from pathlib import Path

ENTRIES = {
    ".py": re.compile(rb"(?:import|from) [^(\\]+|#.*|\s*"),
    ".toml": re.compile(rb'\s*"[^"]+",\s*(?:#.*)?|\s*#.*|\s*'),
}
NAME = re.compile(rb'\s*"([\w.-]+)')  # of what a dependency needs
HUNK = re.compile(
    rb"^<{7} [^\n]*\n(.*?)^\|{7} [^\n]*\n(.*?)^={7}\r?\n(.*?)^>{7} [^\n]*\n",
    re.DOTALL | re.MULTILINE,
)


def settle(path: Path) -> bool:
    """Settle the conflicts of a file, if all of them are of this kind; else it stays as it is."""
    entry = ENTRIES.get(path.suffix)
    if entry is None:
        return False
    text = path.read_bytes()
    hunks = [match.groups() for match in HUNK.finditer(text)]
    merged = iter([_merged(entry, *hunk) for hunk in hunks])
    made = HUNK.sub(lambda match: next(merged) or match[0], text)
    if not hunks or re.search(rb"^(<{7}|>{7}) ", made, re.MULTILINE):
        return False
    path.write_bytes(made)
    return True


def _merged(entry: re.Pattern[bytes], ours: bytes, base: bytes, theirs: bytes) -> bytes | None:
    """What both have, where ours is the base with lines around it; None where it is not."""
    lines, before, after = (side.splitlines(keepends=True) for side in (ours, base, theirs))
    if not all(entry.fullmatch(line.rstrip(b"\r\n")) for line in (*lines, *before, *after)):
        return None
    known = {match[1] for line in after if (match := NAME.match(line))}
    for at in range(len(lines) - len(before) + 1):
        if lines[at : at + len(before)] != before:
            continue
        added = [*lines[:at], *lines[at + len(before) :]]
        if known & {match[1] for line in added if (match := NAME.match(line))}:
            return None
        return b"".join([*lines[:at], *after, *lines[at + len(before) :]])
    return None
