"""The command line where stdin, stdout or stderr is closed, full, or of a reader who has left."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import BIN, Result, environment, make, represented, run, scaffold
from repositories import commit, repository

EVERYTHING = dict.fromkeys((0, 1, 2), "closed")
# what is wrong with which stream
STATES: list[dict[int, str]] = [
    {0: "closed"},
    *({number: state} for number in (1, 2) for state in ("closed", "full", "left")),
    EVERYTHING,
    {1: "full", 2: "full"},
    {1: "left", 2: "left"},
]
LOST = "error: stdout cannot be written: No space left on device\nhint: "
DONE = "stdout cannot be written: No space left on device; what it tells of is done\n"


def with_streams(streams: dict[int, str], *words: object, folder: Path) -> Result:
    """Run the command line with some of its streams in such a state."""

    def arrange() -> None:
        for number, state in streams.items():
            if state == "closed":
                os.close(number)
            elif state == "full":
                os.dup2(os.open("/dev/full", os.O_WRONLY), number)
            else:
                reader, writer = os.pipe()
                os.dup2(writer, number)
                os.close(reader)
                os.close(writer)

    done = subprocess.run(
        [str(BIN / "scaffold"), *map(str, words)],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=arrange,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in git where a line of the method is edited; tests must not change it."""
    folder = repository(make(tmp_path_factory.mktemp("made") / "digits", "fabric"))
    text = (folder / "train.py").read_text()
    (folder / "train.py").write_text(text.replace("fabric.launch()", "fabric.launch()  # ours"))
    commit(folder)
    return folder


@pytest.mark.parametrize(
    "words",
    represented(
        ["--help", "--version", "methods", "methods --json", "shares", "choose --goal unsure",
         "completion zsh", "new --help", "status", "status --json", "diff --method torchrun",
         "new --method fabric --dry-run a", "switch --method spawn --dry-run"],
        *("--help", "methods", "status --json"),
    ),
)  # fmt: skip
def test_what_only_shows_something_ends_well_without_a_reader(words: str, made: Path) -> None:
    """But a full disk, on which somebody will look for it, is told."""
    expected = 3 if words.startswith("switch") else 0
    for streams in STATES:
        result = with_streams(streams, *words.split(), folder=made)
        lost = streams.get(1) == "full" and not expected
        assert result.status == (1 if lost else expected), (streams, result)
        assert "Traceback" not in result.err
        assert "ignored" not in result.err
        if lost and 2 not in streams:
            assert LOST in result.err


@pytest.mark.parametrize(
    ("words", "status"),
    represented(
        [("new --method fabric a", 0), ("new --method fabric --json a", 0), ("abort", 0),
         ("switch --method torchrun", 3), ("switch --method torchrun --json", 3), ("update", 0)],
        *(("new --method fabric a", 0), ("switch --method torchrun", 3)),
    ),
)  # fmt: skip
def test_what_was_done_is_no_failure_where_it_cannot_be_told(
    words: str, status: int, made: Path, tmp_path: Path
) -> None:
    for number, streams in enumerate([{1: "full"}, {1: "left"}, {2: "full"}, EVERYTHING]):
        folder = shutil.copytree(made, tmp_path / str(number), symlinks=True)
        if words == "abort":
            assert scaffold("switch", "--method", "spawn", folder=folder).status == 3
        result = with_streams(streams, *words.split(), folder=folder)
        assert result.status == status, (streams, result)
        assert "Traceback" not in result.err
        if streams == {1: "full"}:
            assert result.err.endswith("scaffold abort\n" if status else DONE)
        changed = run("git status --porcelain", folder).out
        if words.startswith("new"):
            assert (folder / "a/train.py").exists()
        else:
            assert ("UU train.py" in changed) == (status == 3), changed


@pytest.mark.parametrize(
    ("words", "status"),
    [("shares --json --ranks x", 2), ("choose", 2), ("new torch", 2)],
)
def test_what_is_refused_is_refused_with_its_status(words: str, status: int, made: Path) -> None:
    for streams in STATES:
        result = with_streams(streams, *words.split(), folder=made)
        assert result.status == status, (streams, result)
        assert "Traceback" not in result.err


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Or what git says of it would be written into a lock, or into the project."""
    program = (
        "import os, sys; from scaffold import streams; streams.keep()\n"
        "opened = os.open('file', os.O_RDWR | os.O_CREAT); print(opened, file=open('told', 'w'))\n"
        "os.write(2, b'an error'); print('a result')"
    )
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        result = run(f'python -c "{program}" {closed}', tmp_path)
        assert result.status == 0
        assert int((tmp_path / "told").read_text()) > 2
        assert (tmp_path / "file").read_text() == ""


REFUSED = [
    ("new --method ddp a", 2, "method `ddp` does not exist"),
    ("new --nope a", 2, "No such option '--nope'"),
    ("new torch --method fabric", 2, "project name `torch` is a library that projects use"),
    ("new", 2, "PATH is missing"),
    ("choose", 2, "--goal is missing"),
    ("shares --ranks 0", 2, "--ranks `0` is not in 1..100000"),
    ("shares --ranks x", 2, "Invalid value for '--ranks'"),
    ("methods --nope", 2, "No such option '--nope'"),
    ("status", 5, "`"),
    ("diff", 5, "`"),
    ("diff --method spawn --to 1", 2, "--method and --to are two moves"),
    ("switch", 5, "`"),
    ("switch --method spawn", 5, "`"),
    ("update", 5, "`"),
    ("doctor --nope", 2, "No such option '--nope'"),
]


@pytest.mark.parametrize(("words", "status", "fact"), REFUSED)
def test_a_refusal_is_an_object_where_json_is_asked_for(
    words: str, status: int, fact: str, tmp_path: Path
) -> None:
    result = scaffold(*words.split(), "--json", folder=tmp_path)
    told = json.loads(result.out)
    assert (result.status, told["status"]) == (status, status)
    assert told["error"].startswith(fact)
    assert result.err == f"error: {told['error']}\nhint: {told['hint']}\n"
    assert list(told) == ["error", "hint", "status"]
    assert scaffold(*words.split(), folder=tmp_path).out == ""


def test_an_error_of_the_system_and_conflicts_are_objects_too(made: Path, tmp_path: Path) -> None:
    (tmp_path / ".copier-answers.yml").mkdir()
    result = scaffold("status", "--json", folder=tmp_path)
    assert json.loads(result.out)["status"] == result.status == 5
    command = "mkdir gone; cd gone; rmdir ../gone; scaffold switch --json --method spawn"
    result = run(command, tmp_path)
    assert json.loads(result.out)["error"].startswith("No such file or directory")
    assert json.loads(result.out)["status"] == result.status == 1
    result = scaffold("switch", "--json", "--dry-run", "--method", "torchrun", folder=made)
    told = json.loads(result.out)
    assert list(told["conflicts"]) == ["train.py"]
    assert (result.status, told["status"]) == (3, 3)
    assert result.err == f"error: {told['error']}\nhint: {told['hint']}\n"
