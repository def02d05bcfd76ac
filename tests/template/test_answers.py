"""A project's answers are read or refused in two lines, and whatever they say does nothing.

SOAK=1 (make soak) tries more of them.
"""

import json
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT, make, scaffold
from repositories import call, commit, repository
from scaffold import __version__
from scaffold.catalog.methods import METHODS
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git.run import git
from scaffold.template.answers import FILE, SETTLE, find_project, read_answers
from scaffold.template.releases import numbers

TAMPERED = 300 if "SOAK" in os.environ else 50
TODAY = f"v{__version__}"
MARK = "opened"  # a file that code in an answers file would make
GOOD = f"""# The answers that made this project; `scaffold` reads them, so leave them as they are
_commit: {TODAY}
_src_path: scaffold
example: digits
method: torchrun
project_name: "digits"
tracker: tensorboard
""".encode()
# what people and their tools have done to such files, or would do to hurt
INJECTED = [
    f"!!python/object/apply:os.system ['touch {MARK}']",
    f"!!python/object/new:pathlib.Path ['{MARK}']",
    "!!python/name:os.system",
    "!<tag:yaml.org,2002:python/module:os> x",
    "&a [*a, *a]",
    "*a",
    "{<<: {}}",
    "[" * 2000,
    "{{ ''.__class__ }}",
    "gh:somebody/template",
    "/etc/passwd",
    "../../elsewhere",
    "https://example.org/template.git",
    f"; touch {MARK}",
    f"$(touch {MARK})",
    f"`touch {MARK}`",
    "|\n  two lines",
    "2001-99-99",
    "null",
    "yes",
    "1e3",
    "0x10",
    "torch",
    "--help",
    "\x1b[31mred",
    "x" * 5000,
]
KEYS = ["_commit", "_src_path", "example", "method", "project_name", "tracker", "version"]
KEYS += ["_tasks", "_migrations", "_jinja_extensions", "_external_data", "__import__", "<<"]


def write(root: Path, content: bytes) -> Path:
    (root / FILE).write_bytes(content)
    return root


def refusal(root: Path) -> str:
    """The fact with which the answers of a project are refused."""
    with pytest.raises(ScaffoldError) as caught:
        read_answers(root)
    assert caught.value.status == PRECONDITION
    assert "\n" not in caught.value.fact + caught.value.remedy
    assert (caught.value.fact + caught.value.remedy).isprintable()
    of_a_merge = caught.value.fact.endswith("is left of a merge")
    said = "or undo the merge" if of_a_merge else "git log -p -- .copier-answers.yml"
    assert said in caught.value.remedy
    return caught.value.fact.removeprefix(f"`{root / FILE}`")


@pytest.mark.parametrize("method", METHODS)
def test_what_new_wrote_is_what_is_read(projects: dict[str, Path], method: str) -> None:
    found = read_answers(projects[method])
    assert found.version == __version__
    assert found.values == {
        "project_name": "digits", "method": method, "example": "digits", "tracker": "tensorboard"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["a", "no", "true.x", "e1", "x" * 64, "A-b_c.d", "None0"])
def test_every_kind_of_name_is_read_as_it_was_given(name: str, tmp_path: Path) -> None:
    made = make(tmp_path / "made", "spawn", project_name=name, example="text", tracker="none")
    assert read_answers(made).values == {
        "project_name": name, "method": "spawn", "example": "text", "tracker": "none"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        (b"scaffold\nex", b"gh:evil/x\nex", " line 3: `_src_path` is `gh:evil/x`, no plain word"),
        (b"scaffold\nex", b"elsewhere\nex", " line 3: `_src_path` is `elsewhere` and not"),
        (TODAY.encode(), b"HEAD", " line 2: `_commit` is `HEAD`, no version such as v0.1.0"),
        (TODAY.encode(), b"v0.1.0-evil", " line 2: `_commit` is `v0.1.0-evil`, no version"),
        (TODAY.encode(), "v\u0661.1.0".encode(), " line 2: `_commit` is `v\u0661.1.0`, no plain"),
        (b"torchrun", b"ddp", " line 5: `method` is `ddp`, none of: spawn, torchrun, fabric"),
        (b"torchrun", b"[torchrun]", " line 5: `method` is `[torchrun]`, no plain word"),
        (b"torchrun", b"", " line 5: `method` is ``, no plain word"),
        (b'"digits"', b"1", " line 6: `project_name` is `1`, no plain word"),
        (b'"digits"', b"null", " line 6: `project_name` is `null`, no plain word"),
        (b'"digits"', b"true", " line 6: `project_name` is `true`, no plain word"),
        (b'"digits"', b"2001-99-99", " line 6: `project_name` is `2001-99-99`, no plain word"),
        (b'"digits"', b'"torch"', " line 6: `project_name`: project name `torch` is a library"),
        (b'"digits"', b'"../up"', " line 6: `project_name` is `\"../up\"`, no plain word"),
        (b'"digits"', b"&a digits", " line 6: `project_name` is `&a digits`, no plain word"),
        (b'"digits"', b"*a", " line 6: `project_name` is `*a`, no plain word"),
        (b'"digits"', b"!!str digits", " line 6: `project_name` is `!!str digits`, no plain"),
        (b"tracker: tensorboard\n", b"", " line 6: `tracker` is missing"),
        (b"tracker: ", b"_tasks: ", " line 7: `_tasks` is no answer of scaffold"),
        (b"tracker: ", b"method: ", " line 7: `method` stands there twice"),
        (b"tracker: ", b"tracker:", " line 7: `tracker:tensorboard` is no YAML"),
        (b"example", b"<<<<<<< HEAD\nexample", " line 4: `<<<<<<< HEAD` is left of a merge"),
        (b"example", b"=======\nexample", " line 4: `=======` is left of a merge"),
        (b"example", b">>>>>>> x\nexample", " line 4: `>>>>>>> x` is left of a merge"),
        (b"example", b"--- \nexample", " line 4: `--- ` begins a second document"),
        (GOOD, b"- a\n", " line 1: `- a` is no answer of scaffold"),
        (GOOD, b"digits\n", " line 1: `digits` is no answer of scaffold"),
        (b"# The", b"&a # The", " line 1: `&a # The answers"),
        (b"example: digits", b"? [a]\n: b", " line 4: `? [a]` is no answer of scaffold"),
        (b"torchrun", b"|\n  torchrun", " line 5: `method` is `|`, no plain word"),
        (b"\n", b"\r", " line 1: `# The answers that made"),
        (GOOD[:1], b"\xef\xbb\xbf#", " line 1: it begins with a byte order mark"),
        (GOOD, b"", " line 1: `_commit` is missing"),
        (GOOD, b"\n\n", " line 2: `_commit` is missing"),
        (GOOD, bytes(range(256)), " line 1: `\\x00\\x01\\x02"),
        (GOOD, b"\x7fELF\x02", " line 1: `\\x7fELF\\x02` is no plain text"),
        (b"torchrun", b"torch\xffrun", " line 5: `method: torch\ufffdrun` is no plain text"),
        (b"torchrun", b"\x1b[31m", " line 5: `method: \\x1b[31m` is no plain text"),
        (b"# The", b"# \0The", " line 1: `# \\x00The answers"),
        (GOOD, b"#" * 5000, ": it has more than 4096 bytes"),
        (GOOD, b"a: &a [1]\n" + b"b: [*a, *a]\n" * 300, " line 1: `a` is no answer of scaffold"),
        (GOOD, b"[" * 4000, " line 1: `[[[[[["),
    ],
)  # fmt: skip
def test_what_is_no_more_as_it_was_written_is_named(
    old: bytes, new: bytes, fact: str, tmp_path: Path
) -> None:
    assert old in GOOD
    assert read_answers(write(tmp_path, GOOD)).values["method"] == "torchrun"
    found = refusal(write(tmp_path, GOOD.replace(old, new)))
    assert found.startswith(fact), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"# The", b"---\n# The"),
        (b"# The", b"%YAML 1.2\n---\n# The"),
        (b"tensorboard\n", b"tensorboard\n...\n"),
        (b'"digits"', b"digits"),
        (b'"digits"', b"'digits'"),
        (b": torchrun", b': "torchrun"'),
        (b"method: torchrun", b'"method": torchrun'),
        (b": torchrun", b":   torchrun"),
        (b": torchrun", b":\n  torchrun"),
        (b": torchrun", b": >-\n  torchrun"),
        (b"torchrun", b"torchrun  # ask Kim"),
        (b"torchrun", b"torchrun   "),
        (b"example", b"\n  # of the team\n\nexample"),
        (b"; `scaffold` reads", b";\n# `scaffold` reads"),
        (b"tensorboard\n", b"tensorboard"),
        (b"\n", b"\r\n"),
        (b"scaffold\nexample: digits\n", b"scaffold\n"),
    ],
)
def test_what_a_formatter_of_yaml_does_is_read_as_before(
    old: bytes, new: bytes, tmp_path: Path
) -> None:
    assert old in GOOD
    expected = read_answers(write(tmp_path, GOOD))
    text = GOOD.replace(old, new)
    if b"example: " not in text:  # sorted otherwise
        text += b"example: digits\n"
    assert read_answers(write(tmp_path, text)) == expected


def test_only_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(GOOD)
    (tmp_path / FILE).symlink_to("elsewhere")
    assert refusal(tmp_path) == ": it is no plain file"
    (tmp_path / FILE).unlink()
    os.mkfifo(tmp_path / FILE)  # reading it would wait for ever
    assert refusal(tmp_path) == ": it is no plain file"


def tampered(chance: random.Random) -> bytes:
    """The good file, changed once or more as by an accident, a tool or an enemy."""
    content = GOOD
    for _ in range(chance.randint(1, 3)):
        lines = content.split(b"\n")
        place = chance.randrange(len(lines))
        spot = chance.randrange(len(content) + 1)
        value = chance.choice(INJECTED).encode()
        key = chance.choice(KEYS).encode()
        content = chance.choice(
            [
                content[:spot] + chance.randbytes(chance.randint(1, 9)) + content[spot:],
                content[:spot],
                content[:spot] + value + content[spot:],
                b"\n".join([*lines[:place], key + b": " + value, *lines[place:]]),
                b"\n".join([*lines[:place], key + b": " + value, *lines[place + 1 :]]),
                b"\n".join([*lines[:place], lines[place].split(b":")[0] + b": " + value,
                            *lines[place + 1 :]]),
                content.replace(b"\n", chance.choice([b"\r\n", b"\r", b"\n\n", b"\n ", b"\0"])),
                chance.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"--- ", b"%YAML 1.1\n"]) + content,
                b"<<<<<<< ours\n" + content + b"=======\n" + content + b">>>>>>> theirs\n",
            ]
        )  # fmt: skip
    return content


@contextmanager
def watched() -> Iterator[set[str]]:
    """What Python is asked to do meanwhile: files it opens, and code, programs and connections."""
    seen: set[str] = set()
    on = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if on:
            seen.add(str(arguments[0]) if event == "open" else event)

    sys.addaudithook(hook)  # it stays for the life of the process
    yield seen
    on = False


def test_tampered_answers_run_nothing_and_are_refused_or_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    accepted = {}
    with watched() as seen:
        for seed in range(TAMPERED):
            content = tampered(random.Random(seed))
            write(tmp_path, content)
            try:
                accepted[content] = read_answers(tmp_path)
            except ScaffoldError as error:
                refused = (error.status, (error.fact + error.remedy).isprintable())
                assert refused == (PRECONDITION, True), seed
    assert seen == {str(tmp_path / FILE), str(ROOT / "copier.yml")}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert len(accepted) < TAMPERED / 4
    for content, found in accepted.items():  # YAML reads the same, and never another source
        read = yaml.safe_load(content)
        assert read.pop("_src_path") == "scaffold"
        assert read.pop("_commit") == f"v{found.version}"
        assert read == found.values


def test_the_command_line_refuses_them_in_two_lines(tmp_path: Path) -> None:
    for value in INJECTED[:4] + INJECTED[7:8] + INJECTED[-2:-1]:
        text = GOOD.replace(b"scaffold\nex", value.encode() + b"\nex")
        result = scaffold("status", folder=write(tmp_path, text))
        assert (result.status, result.out) == (5, "")
        first, second = result.err.splitlines()
        assert first.startswith(f"error: `{tmp_path / FILE}` line 3: `_src_path")
        assert second == f"hint: bring back what scaffold wrote: git log -p -- {FILE} shows it"
        assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_status_tells_what_a_project_was_made_with(
    projects: dict[str, Path], tmp_path: Path
) -> None:
    lines = [
        "project_name  digits", "method        fabric", "example       digits",
        "tracker       tensorboard", f"version       {__version__}", f"installed     {__version__}",
    ]  # fmt: skip
    for folder in (projects["fabric"], projects["fabric"] / "tests"):
        assert scaffold("status", folder=folder).out.splitlines() == lines
    told = json.loads(scaffold("status", "--json", folder=folder).out)
    assert told["path"] == str(projects["fabric"])
    assert (told["method"], told["newer"]) == ("fabric", False)
    write(tmp_path, GOOD.replace(TODAY.encode(), b"v0.0.9"))
    result = scaffold("status", folder=tmp_path)
    assert (result.status, result.out) == (5, "")
    assert result.err.startswith("error: scaffold 0.0.9 is not known to the installed one (")
    assert numbers("0.9.9") < numbers("0.10.0") < numbers("1.0.0")


def test_status_lists_the_conflicts_of_two_who_have_switched_differently(tmp_path: Path) -> None:
    root = repository(write(tmp_path, GOOD))
    call(root, "checkout", "--quiet", "-b", "kim")
    for branch, method in (("kim", b"fabric"), ("main", b"accelerate")):
        call(root, "checkout", "--quiet", branch)
        write(root, GOOD.replace(b"torchrun", method))
        (root / "train.py").write_bytes(method)
        commit(root)
    assert git(root, "merge", "kim").returncode == 1
    result = scaffold("status", folder=root)
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[-3:] == [
        f"conflict: {FILE}; edit it and git add it",
        "conflict: train.py; edit it and git add it",
        f"not known which side it is: {SETTLE}",
    ]
    told = json.loads(scaffold("status", "--json", folder=root).out)
    assert (told["method"], told["conflicts"]) == (None, [FILE, "train.py"])
    for words in (("status", "--check"), ("switch", "--method", "spawn"), ("update",), ("diff",)):
        result = scaffold(*words, folder=root)
        assert result.status == PRECONDITION
        assert result.err.endswith(f"is left of a merge\nhint: {SETTLE}\n")
    call(root, "add", FILE)  # with its marks
    told = json.loads(scaffold("status", "--json", folder=root).out)
    assert told["conflicts"] == [FILE, "train.py"]


def test_outside_a_project_status_says_how_to_get_one(tmp_path: Path) -> None:
    result = scaffold("status", folder=tmp_path)
    assert (result.status, result.out) == (5, "")
    assert result.err == (
        f"error: `{tmp_path}` is in no project of scaffold\n"
        "hint: cd into one, or make one: scaffold new --method fabric myproj\n"
    )


def bring_back(folder: Path) -> str:
    """Do as the hint says: the command that it was."""
    with pytest.raises(ScaffoldError) as caught:
        find_project(folder)
    command = caught.value.remedy.partition("makes this one: ")[2]
    call(folder, *command.split()[1:])
    read_answers(find_project(folder))
    return command


@pytest.mark.parametrize("root", [".", "services/a b"])
def test_git_brings_back_answers_that_were_deleted(tmp_path: Path, root: str) -> None:
    """Deleted on the disk, in the index, and in a commit that others have followed."""
    top, project = tmp_path / "top", tmp_path / "top" / root
    (project / "engine").mkdir(parents=True)
    write(project, GOOD)
    repository(top)
    before = call(top, "rev-parse", "--short", "HEAD").strip()
    (project / FILE).unlink()
    assert bring_back(project) == f"git checkout HEAD -- {FILE}"
    call(project, "rm", "--quiet", FILE)
    (project / "engine").mkdir(parents=True, exist_ok=True)
    assert bring_back(project / "engine") == f"git checkout HEAD -- ../{FILE}"
    (project / FILE).unlink()
    commit(top)
    commit(top)
    assert bring_back(project / "engine") == f"git checkout {before} -- ../{FILE}"


def test_a_project_that_has_moved_is_not_brought_back(tmp_path: Path) -> None:
    top = repository(write(tmp_path, GOOD))
    call(top, "config", "diff.renames", "false")
    (top / "services").mkdir()
    call(top, "mv", FILE, "services")
    commit(top)
    with pytest.raises(ScaffoldError, match="is in no project") as caught:
        find_project(top)
    assert "git" not in caught.value.remedy
