"""The four train files say the same thing: only what the method changes differs."""

import ast
import difflib
import itertools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import TEMPLATE
from repositories import conflicts
from scaffold.catalog.methods import METHODS

PAIRS = list(itertools.combinations(METHODS, 2))
HEADERS = [
    "1. processes", "2. data", "3. model", "4. resume",
    "5. train", "6. validate", "7. checkpoint", "8. end",
]  # fmt: skip

# ratchets: what was reached; lower them when a change allows, raise them only with a reason
MOST = {  # hunks, and lines on the longer side
    ("spawn", "torchrun"): (5, 17),
    ("spawn", "fabric"): (12, 30),
    ("spawn", "accelerate"): (14, 32),
    ("torchrun", "fabric"): (12, 25),  # the stream on which Fabric wraps; its environment
    ("torchrun", "accelerate"): (12, 22),
    ("fabric", "accelerate"): (14, 25),
}
MOST_CONFLICTS = {"replaced": 26, "inserted": 4}  # edits, over all 12 directions


def train_file(method: str) -> Path:
    return TEMPLATE / f"train_{method}.py"


def lines(method: str) -> list[str]:
    return train_file(method).read_text().splitlines(keepends=True)


def main_of(method: str) -> ast.FunctionDef:
    tree = ast.parse(train_file(method).read_text())
    return next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")


def hunks(a: str, b: str) -> list[tuple[int, int, int, int]]:
    """(first line, lines, first line, lines) of each place where two train files differ."""
    files = [str(train_file(a)), str(train_file(b))]
    options = ["--no-index", "--no-ext-diff", "--no-color", "--diff-algorithm=myers", "--unified=0"]
    command = ["git", "diff", *options, *files]
    diff = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", diff, re.MULTILINE)
    assert found, diff
    return [(int(i), int(n or 1), int(j), int(m or 1)) for i, n, j, m in found]


@pytest.mark.parametrize("method", METHODS)
def test_the_eight_sections_stand_in_order(method: str) -> None:
    found = re.findall(r"^ +# ---- (\d\. \w+): \w", train_file(method).read_text(), re.MULTILINE)
    assert found == HEADERS


def test_the_sections_have_the_same_headers() -> None:
    assert len({tuple(line for line in lines(m) if "# ----" in line) for m in METHODS}) == 1


def test_main_binds_the_same_names() -> None:
    def bound(method: str) -> set[str]:
        names = [n for n in ast.walk(main_of(method)) if isinstance(n, ast.Name)]
        return {name.id for name in names if isinstance(name.ctx, ast.Store)}

    own = {
        "spawn": {"cuda"},
        "torchrun": {"cuda"},
        "fabric": {"fabric"},
        "accelerate": {"accelerator"},
    }
    shared = {method: bound(method) - own[method] for method in METHODS}
    assert len(set(map(frozenset, shared.values()))) == 1, shared
    canonical = {"rank", "world_size", "device", "net", "model", "optimizer"}
    assert canonical | {"train_batches", "val_batches"} <= shared["spawn"]


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_few_hunks_differ(a: str, b: str) -> None:
    found = hunks(a, b)
    longer = max(sum(hunk[1] for hunk in found), sum(hunk[3] for hunk in found))
    assert len(found) <= MOST[a, b][0]
    assert longer <= MOST[a, b][1]


@pytest.mark.parametrize(("a", "b"), [*PAIRS, *((b, a) for a, b in PAIRS)])
def test_a_comment_stands_above_and_a_gap_below_each_line_of_the_method(a: str, b: str) -> None:
    text, body = lines(a), main_of(a)
    assert body.end_lineno is not None
    for first, count, _, _ in hunks(a, b):
        if body.lineno <= first <= body.end_lineno and count:
            above, below = text[first - 2].strip(), text[first - 1 + count].strip()
            assert above.startswith(("#", ")")), (
                f"line {first}: no comment above\n{text[first - 1]}"
            )
            assert not below or below.startswith(("#", ")")), f"line {first}: no gap below"


def test_a_switch_seldom_conflicts_with_an_edit(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """In all 12 directions a user replaces each shared line, or inserts one after it."""
    found = {"replaced": 0, "inserted": 0}
    for a, b in itertools.permutations(METHODS, 2):
        base, theirs = lines(a), lines(b)
        matcher = difflib.SequenceMatcher(None, base, theirs, autojunk=False)
        blocks = matcher.get_matching_blocks()
        shared = [i for block in blocks for i in range(block.a, block.a + block.size)]
        code = [i for i in shared if base[i].strip() and not base[i].strip().startswith("#")]
        for i in code:
            replaced = [*base[:i], base[i].rstrip("\n") + "  # user\n", *base[i + 1 :]]
            inserted = [*base[: i + 1], "user_line()\n", *base[i + 1 :]]
            found["replaced"] += conflicts(replaced, base, theirs, tmp_path)
            found["inserted"] += conflicts(inserted, base, theirs, tmp_path)
    record_property("conflicts of a switch with an edit at a shared line of train.py", found)
    assert found["replaced"] <= MOST_CONFLICTS["replaced"]
    assert found["inserted"] <= MOST_CONFLICTS["inserted"]


@pytest.mark.parametrize("method", METHODS)
def test_shares_uses_the_lines_that_training_uses(method: str) -> None:
    """Each line of shares.py that starts processes or shares data out stands in train.py too."""

    def statements(path: Path) -> set[str]:
        tree = ast.parse(path.read_text())
        main = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
        return {ast.unparse(statement) for statement in main.body}

    seen = statements(TEMPLATE / f"shares_{method}.py") - statements(train_file(method))
    allowed = (
        "data, size = ",
        "start = ",
        "shares = ShardedBatches(len(data), size",
        "for step",
        "agreement.check_ranks(config)",  # which agreement.Stop does in training
        "distributed.end()",  # without a network
    )
    assert all(line.startswith(allowed) for line in seen), seen


@pytest.mark.parametrize("method", METHODS)
def test_the_training_is_read_in_one_sitting(method: str) -> None:
    body = main_of(method)
    loop = next(n for n in body.body if isinstance(n, ast.For))
    assert body.end_lineno is not None
    assert loop.end_lineno is not None
    assert body.end_lineno - body.lineno + 1 <= 110
    assert loop.end_lineno - loop.lineno + 1 <= 60
