"""A file that was only formatted is told from one that was edited."""

import pytest

from conftest import TEMPLATE
from scaffold.merge.form import UNREADABLE, meaning

CODE = '''\
"""What it is."""

import os
from a import b, c  # first

# ours
from d import e

SIZES = {"one": 1, "two": 2}  # how many


def run(first: int) -> str:
    # the sum
    if first > SIZES["one"]:
        from f import g

        return g("x" + "y", first)
    return "no"  # or none
'''
SAME = {
    "quotes": [('"one"', "'one'"), ('"no"', "'no'"), ('"x"', "'x'")],
    "width": [('g("x" + "y", first)', 'g(\n            "x" + "y",\n            first,\n        )')],
    "imports one by one": [("import b, c  # first", "import c  # first\nfrom a import b")],
    "imports sorted": [
        ("import os\n", ""), ("# ours\nfrom d import e\n", "# ours\nfrom d import e\nimport os\n"),
    ],
    "comments that go with their imports": [
        ("from a import b, c  # first\n\n# ours\nfrom d import e\n",
         "# ours\nfrom d import e\nfrom a import b, c  # first\n"),
    ],
    "blank lines": [("\n\n\ndef", "\n\ndef"), ('"""\n\n', '"""\n')],
    "line ends": [("\n", "\r\n")],
    "a byte order mark": [('"""What', '\ufeff"""What')],
    "a comment above its line": [('return "no"  # or none', '# or none\n    return "no"')],
    "a comment that is wrapped": [("# the sum", "# the\n    # sum")],
    "indentation": [("    ", "\t")],
}  # fmt: skip
OTHER = {
    "a comment": [("# the sum", "# the sums")],
    "a comment more": [("# the sum", "# the sum\n    # of all")],
    "a comment less": [("  # how many", "")],
    "a comment elsewhere": [("    # the sum\n", ""), ("return g", "# the sum\n        return g")],
    "a comment of another statement": [("    # the sum\n", ""), ("def run", "# the sum\ndef run")],
    "a comment of an import": [("  # first", "  # second")],
    "an import more": [("import os", "import os\nimport os")],
    "an import less": [("import b, c", "import b")],
    "an import of another name": [("import b, c", "import b, c as d")],
    "an import elsewhere": [("from d import e\n", ""), ('"two": 2}', '"two": 2}\nfrom d import e')],
    "a name": [("first > SIZES", "first >= SIZES")],
    "a text": [('"no"', '"No"')],
    "a docstring": [("What it is", "What it was")],
}  # fmt: skip


def edited(text: str, edits: list[tuple[str, str]]) -> bytes:
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    return text.encode()


@pytest.mark.parametrize("kind", SAME)
def test_what_a_formatter_does_is_no_edit(kind: str) -> None:
    assert meaning("a.py", edited(CODE, SAME[kind])) == meaning("a.py", CODE.encode())


@pytest.mark.parametrize("kind", OTHER)
def test_what_a_person_writes_is_an_edit(kind: str) -> None:
    assert meaning("a.py", edited(CODE, OTHER[kind])) != meaning("a.py", CODE.encode())


def test_each_line_of_a_project_counts() -> None:
    """One that is dropped, and a comment before it."""
    lines = (TEMPLATE / "shares_fabric.py").read_text().splitlines(keepends=True)
    whole = meaning("shares.py", "".join(lines).encode())
    for at, line in enumerate(lines):
        for middle in ([], ["# ours\n", line]):
            code = "".join([*lines[:at], *middle, *lines[at + 1 :]])
            if middle or line.strip():
                try:
                    assert meaning("shares.py", code.encode()) != whole, (at, line)
                except UNREADABLE:
                    continue


TOML = """\
[a]
text = "one # two"  # why
list = ["b", "c"]
"""


@pytest.mark.parametrize(
    ("after", "same"),
    [
        ("list = ['b', 'c']\ntext = 'one # two'\n# why\n", True),
        ("text = 'one # two' # why\nlist = [\n  'b',\n  'c',\n]\n", True),
        ("text = 'one # three'  # why\nlist = ['b', 'c']\n", False),
        ("text = 'one # two'  # how\nlist = ['b', 'c']\n", False),
        ("text = 'one # two'\nlist = ['b', 'c']\n", False),
        ("text = 'one # two'  # why\nlist = ['c', 'b']\n", False),
    ],
)
def test_settings_are_what_they_say(after: str, same: bool) -> None:
    code = f"[a]\n{after}".encode()
    assert (meaning("a.toml", code) == meaning("a.toml", TOML.encode())) is same


def test_of_other_kinds_each_line_counts() -> None:
    assert meaning("a.md", b"\xef\xbb\xbfone\r\ntwo") == meaning("a.md", b"one\ntwo\n")
    assert meaning("a.md", b"one\n\ntwo\n") != meaning("a.md", b"one\ntwo\n")
