"""`scaffold new` makes a whole project or nothing, whatever ends it, fills up or gets in its way.

SOAK=1 (make soak) tries more moments.
"""

import fcntl
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import BIN, ROOT, Result, environment, examples, run, scaffold
from repositories import call, commit, repository, state, write
from scaffold import staging
from scaffold.errors import FAILURE, PRECONDITION, ScaffoldError
from scaffold.ops import create
from scaffold.template import render, source
from scaffold.template.source import template_folder
from scaffold.template.verify import verify

SOAK = "SOAK" in os.environ
MOMENTS, RACES = examples(8, 12, 200), examples(2, 5, 50)
SIZES = range(4, 1000, 20) if SOAK else (4, 300, 500, 650)  # KiB of a disk; 700 are enough
NEW = [str(BIN / "scaffold"), "new", "--project-name", "digits"]
# the command line with a template that lies in ../installed, as one of a wheel
INSTALLED = """
from pathlib import Path
from scaffold.template import source
from scaffold.cli import main
source.INSTALLED = Path("../installed").resolve()
main()
"""
ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a project; git's own are not the same each time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_refused(result: Result, status: int, fact: str = "") -> bool:
    """Whether a command ended in two lines, with this status and fact.

    Who finds the project of another has its files listed first.
    """
    lines = [line for line in result.err.splitlines() if not line.startswith("already there: ")]
    assert (result.status, result.out) == (status, ""), result
    assert [line.partition(" ")[0] for line in lines] == ["error:", "hint:"], result.err
    assert lines[0].startswith(f"error: {fact}"), result.err
    return True


def begin(
    folder: Path, *words: str, ignored: tuple[int, ...] = (), program: str | None = None
) -> subprocess.Popen[str]:
    """Start `scaffold new` where signals mean what they mean at a terminal."""

    def at_a_terminal() -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", program, *NEW[1:]] if program else NEW
    return subprocess.Popen(
        [*command, *words], cwd=folder, env=environment(), preexec_fn=at_a_terminal, **streams
    )


def end(process: subprocess.Popen[str]) -> Result:
    out, err = process.communicate(timeout=60)
    return Result(process.returncode, out, err)


def room_of(process: subprocess.Popen[str], folder: Path, begun: str = "project") -> Path:
    """The folder in which a `scaffold new` makes its project, once it has begun this there."""
    while process.poll() is None:
        for room in folder.glob(f"{staging.PREFIX}*"):
            if (room / begun).exists():
                return room
        time.sleep(0.001)
    raise AssertionError(end(process))


@pytest.fixture(scope="module")
def expected(projects: dict[str, Path]) -> dict[str, dict[str, bytes]]:
    """Without what others compiled, who may have trained in them."""
    return {
        method: {name: data for name, data in contents(folder).items() if "__pycache__" not in name}
        for method, folder in projects.items()
    }


@pytest.fixture(scope="module")
def seconds(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long `scaffold new` takes here and now."""
    before = time.monotonic()
    result = end(begin(tmp_path_factory.mktemp("timed"), "--method", "spawn", "a"))
    assert result.status == 0, result.err
    return time.monotonic() - before


def test_a_signal_at_any_moment_leaves_a_whole_project_or_nothing(
    expected: dict[str, dict[str, bytes]], seconds: float, tmp_path: Path
) -> None:
    chance, ends = random.Random(0), []
    for moment in range(MOMENTS):
        folder = tmp_path / str(moment)
        folder.mkdir()
        number = (*ENDING, signal.SIGKILL)[moment % 4]
        process = begin(folder, "--method", "torchrun", "digits")
        # a chance moment of each part of its time: it imports, writes files, is done
        part = (moment // 4 + chance.random()) / (MOMENTS // 4)
        time.sleep(1.1 * seconds * part)
        process.send_signal(number)
        result = end(process)
        made = (folder / "digits").exists()
        if made:
            assert contents(folder / "digits") == expected["torchrun"]
            assert (folder / "digits/.git/refs/heads/main").exists()
        if number == signal.SIGKILL:
            rooms = listing(folder)
            assert len(rooms) <= 1 + made
            wait_until_swept(folder)
        else:
            # killed at once while it starts, told while it works, too late when it is done
            assert (result.status == 0) == made
            assert result.status in (0, 128 + number, -number), result
            if result.status == 128 + number and "interrupted" not in result.err:
                assert is_refused(result, 128 + number, f"ended by {number.name}")
        assert listing(folder) == ["digits"] * made
        ends.append(result.status)
        shutil.rmtree(folder)
    assert any(ends)  # the first part is over before a run is, on any machine


def wait_until_swept(folder: Path) -> None:
    """Sweep a folder until no room is left: the git of a killed run may live a little longer."""
    end = time.monotonic() + 10
    while list(folder.glob(f"{staging.PREFIX}*")):
        assert time.monotonic() < end, listing(folder)
        staging.sweep(folder)


@pytest.mark.parametrize("number", [*ENDING, signal.SIGKILL])
def test_a_signal_in_the_midst_of_rendering(number: signal.Signals, tmp_path: Path) -> None:
    process = begin(tmp_path, "--method", "torchrun", "digits")
    room = room_of(process, tmp_path)
    process.send_signal(number)
    result = end(process)
    if number == signal.SIGKILL:
        assert listing(tmp_path) == [room.name]
        assert scaffold("new", "--method", "spawn", "--no-git", "a", folder=tmp_path).status == 0
        assert listing(tmp_path) == ["a"]  # the next run has swept it
    else:
        assert is_refused(result, 128 + number, f"ended by {number.name}")
        assert result.err.endswith("hint: nothing was changed; run it again\n")
        assert listing(tmp_path) == []


def test_a_signal_while_git_commits_ends_it_before_the_rename(tmp_path: Path) -> None:
    process = begin(tmp_path, "--method", "torchrun", "digits")
    room_of(process, tmp_path, "project/.git")
    process.send_signal(signal.SIGTERM)
    assert is_refused(end(process), 143, "ended by SIGTERM")
    assert listing(tmp_path) == []


def test_signals_that_come_together_or_again_are_one(tmp_path: Path) -> None:
    process = begin(tmp_path, "--method", "torchrun", "digits")
    room_of(process, tmp_path)
    while process.poll() is None:
        for number in ENDING:
            process.send_signal(number)
        time.sleep(0.001)
    assert is_refused(end(process), 129, "ended by SIGHUP")
    assert listing(tmp_path) == []


def test_a_signal_that_the_caller_ignores_is_ignored(tmp_path: Path) -> None:
    """As under nohup."""
    process = begin(tmp_path, "--method", "torchrun", "digits", ignored=(signal.SIGHUP,))
    room_of(process, tmp_path)
    process.send_signal(signal.SIGHUP)
    assert end(process).status == 0
    assert listing(tmp_path) == ["digits"]


def test_of_two_that_make_the_same_project_one_wins(
    expected: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    for race in range(RACES):
        folder = tmp_path / str(race)
        folder.mkdir()
        if race % 2:
            (folder / "digits").mkdir()  # a rename replaces an empty folder, but only one does
        pair = {
            method: begin(folder, "--no-git", "--method", method, "digits")
            for method in ("torchrun", "accelerate")
        }
        results = {method: end(process) for method, process in pair.items()}
        winners = [method for method, result in results.items() if result.status == 0]
        assert len(winners) == 1, results
        assert contents(folder / "digits") == expected[winners[0]]
        (lost,) = (result for result in results.values() if result.status)
        assert is_refused(lost, PRECONDITION, "`digits` ")
        assert listing(folder) == ["digits"]
        shutil.rmtree(folder)


def test_a_sweep_leaves_the_room_of_a_run_that_is_alive(
    expected: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    first = begin(tmp_path, "--no-git", "--method", "torchrun", "digits")
    room = room_of(first, tmp_path)
    first.send_signal(signal.SIGSTOP)
    assert scaffold("new", "--method", "spawn", "--no-git", "a", folder=tmp_path).status == 0
    assert listing(tmp_path) == [room.name, "a"]
    first.send_signal(signal.SIGCONT)
    assert end(first).status == 0
    assert contents(tmp_path / "digits") == expected["torchrun"]
    assert listing(tmp_path) == ["a", "digits"]


def test_a_sweep_takes_what_is_surely_ours_and_nothing_else(tmp_path: Path) -> None:
    def lookalike(end: str, *files: str) -> Path:
        folder = tmp_path / f"{staging.PREFIX}{end}"
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("mine")
        return folder

    ours = [lookalike("0" * 16, staging.LOCK), lookalike("1" * 16, staging.LOCK, "project/a")]
    ours.append(tmp_path / f"{staging.PREFIX}{'2' * 16}")
    ours[-1].mkdir()  # killed before it had its lock
    lookalike("3" * 16, "project/train.py")  # no lock
    lookalike("4" * 15, staging.LOCK)  # another name
    lookalike("backup", staging.LOCK)
    (tmp_path / f"{staging.PREFIX}{'5' * 16}").write_text("mine")  # no folder
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / staging.LOCK).write_text("mine")
    (elsewhere / "project").mkdir()
    (elsewhere / "project/a").write_text("mine")
    (tmp_path / f"{staging.PREFIX}{'6' * 16}").symlink_to(elsewhere)
    (lookalike("7" * 16, "project/a") / staging.LOCK).symlink_to(elsewhere / staging.LOCK)
    held = lookalike("8" * 16, staging.LOCK, "project/a")
    if os.getuid() == 0:
        os.chown(lookalike("9" * 16, staging.LOCK), 12345, 12345)
    kept = {name: contents(tmp_path / name) for name in listing(tmp_path)}
    with (held / staging.LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        staging.sweep(tmp_path)
        for folder in ours:
            del kept[folder.name]
        assert {name: contents(tmp_path / name) for name in listing(tmp_path)} == kept
    staging.sweep(tmp_path)
    assert not held.exists()  # nobody has its lock any more


def test_a_room_that_is_swept_before_it_is_locked_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moments between the folder, its file and its lock, each with a sweep in it."""
    opened, locked = os.open, staging._lock
    moments = ["opened", "locked"]

    def sweep_at(moment: str) -> None:
        if moments[:1] == [moment]:
            moments.pop(0)
            staging.sweep(tmp_path)

    def open_after_a_sweep(path: Path, *rest: Any, **more: Any) -> int:
        if rest[0] & os.O_CREAT:
            sweep_at("opened")
        return opened(path, *rest, **more)

    def lock_after_a_sweep(file: int) -> bool | None:
        sweep_at("locked")
        return locked(file)

    monkeypatch.setattr(staging.os, "open", open_after_a_sweep)  # type: ignore[attr-defined]
    monkeypatch.setattr(staging, "_lock", lock_after_a_sweep)
    with staging.staging(tmp_path) as room:
        assert moments == []
        assert listing(tmp_path) == [room.name]
        staging.sweep(tmp_path)
        assert listing(tmp_path) == [room.name]
    assert listing(tmp_path) == []


def on_a_disk(options: str, command: str, folder: Path) -> Result:
    """Run a command beside `disk`, a file system of its own; for it TMPDIR has space."""
    (folder / "disk").mkdir(exist_ok=True)
    mount = f"mount -t tmpfs -o {options} tmpfs disk"
    words = [
        "unshare",
        "--map-root-user",
        "--mount",
        "bash",
        "-c",
        f"{mount} || exit 77; {command}",
    ]
    result = run(words, folder, env=environment(PATH=f"{BIN}:/usr/bin:/bin:/usr/sbin:/sbin"))
    if result.status == 77 or "unshare failed" in result.err:
        pytest.skip("this user may not mount a disk")
    return result


@pytest.mark.parametrize(
    "options", ["nr_inodes=2", "nr_inodes=3", "nr_inodes=60", *(f"size={s}k" for s in SIZES)]
)
def test_a_disk_that_is_full_at_any_moment_is_named_and_left_empty(
    options: str, expected: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    words = "new --method fabric --project-name digits a"
    command = f"cd disk; scaffold {words} >../told; status=$?; ls -A; cp -r . ../copy; exit $status"
    result = on_a_disk(options, command, tmp_path)
    if result.status == 0:  # it was enough
        assert result.out == "a\n"
        assert contents(tmp_path / "copy/a") == expected["fabric"]
        return
    assert is_refused(result, FAILURE, "no space is left in `")


def test_the_disk_of_temporary_files_may_be_full(tmp_path: Path) -> None:
    command = "export TMPDIR=$PWD/disk; scaffold new --method fabric a >&2; ls -A . disk"
    result = on_a_disk("size=4k", command, tmp_path)
    assert result.out == ".:\na\ndisk\n\ndisk:\n", result.err
    command = "export TMPDIR=$PWD/disk; scaffold new --dry-run --method fabric b"
    assert is_refused(on_a_disk("size=4k", command, tmp_path), FAILURE, "no space is left in `")


def test_a_file_that_the_system_refuses_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for all that can go wrong while one is written."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    words = [*NEW, "--method", "fabric", "a"]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(), preexec_fn=limited, capture_output=True, text=True
    )
    result = Result(done.returncode, done.stdout, done.stderr)
    assert is_refused(result, FAILURE, "File too large")
    assert listing(tmp_path) == []


def test_a_place_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    if os.getuid():
        (tmp_path / "disk").mkdir(mode=0o555)
        result = scaffold("new", "--method", "fabric", "disk/a", folder=tmp_path)
    else:  # no mode of a folder stops root
        result = on_a_disk("ro", "scaffold new --method fabric disk/a", tmp_path)
    assert is_refused(result, PRECONDITION, "`disk` is not writable")
    assert listing(tmp_path / "disk") == []


def test_a_disk_cannot_be_replaced(tmp_path: Path) -> None:
    result = on_a_disk("size=16m", "scaffold new --method fabric disk", tmp_path)
    assert is_refused(result, PRECONDITION, "`disk` cannot be made (Device or resource busy)")
    assert listing(tmp_path) == ["disk"]


def test_without_a_home_or_git_and_in_the_c_locale_it_works(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "dépôt").mkdir()
    bare = {"HOME": "", "LC_ALL": "C", "USER": "", "PATH": str(tmp_path / "bin")}
    words = ["new", "--method", "fabric", "--no-git", "--project-name", "digits"]
    assert scaffold(*words, "dépôt/é", folder=tmp_path, **bare).status == 0
    assert (tmp_path / "dépôt/é/train.py").exists()
    result = scaffold("new", "--method", "fabric", "a", folder=tmp_path, HOME="", LC_ALL="C")
    assert result.status == 0, result.err
    # here Python can neither read nor show what is not ASCII
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = scaffold(*words, "dépôt/b", folder=tmp_path, **ascii_only)
    assert is_refused(result, 2, "path `d\\udcc3")
    assert scaffold(*words, "b", folder=tmp_path / "dépôt", **ascii_only).status == 0
    assert listing(tmp_path / "dépôt") == ["b", "é"]


def test_a_repository_that_the_caller_works_in_is_left_alone(tmp_path: Path) -> None:
    """As in a hook, where GIT_DIR and others are set; copier begins a repository to ask git."""
    outside = {"GIT_DIR": str(tmp_path / "dir"), "GIT_WORK_TREE": str(tmp_path)}
    words = ["new", "--method", "fabric", "digits"]
    assert scaffold(*words, folder=tmp_path, **outside).status == 0
    assert listing(tmp_path) == ["digits"]
    assert (tmp_path / "digits/.git/refs/heads/main").exists()


@pytest.mark.parametrize(
    ("path", "status", "fact"),
    [
        ("loop/a", 5, "`loop` is not a folder"),
        ("a\nb", 2, "path `a\\nb` has characters that cannot be shown"),
        ("a\x1b[2Jb", 2, "path `a\\x1b[2Jb` has characters"),
        (os.fsdecode(b"caf\xe9"), 2, "path `caf\\udce9` has characters"),
        ("a" * 256, 5, f"`{'a' * 256}`: File name too long"),
        ("a/" * 3000, 5, "`a/a/a"),
        ("-a/b", 5, "`-a` is not a folder"),
    ],
)
def test_a_path_that_no_project_can_have_is_refused(
    path: str, status: int, fact: str, tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    words = ["new", "--method", "fabric", "--project-name", "digits", "--", path]
    assert is_refused(scaffold(*words, folder=tmp_path), status, fact)
    assert listing(tmp_path) == ["loop"]


def test_a_word_too_many_is_shown_on_one_line(tmp_path: Path) -> None:
    result = scaffold("new", "--method", "fabric", "a", "b\nc", folder=tmp_path)
    assert is_refused(result, 2, "Got unexpected extra argument (b\\nc)")
    assert is_refused(scaffold("a\nb"), 2, "No such command")


def test_a_path_like_a_flag_can_be_pasted_from_what_is_printed(tmp_path: Path) -> None:
    words = ["new", "--method", "fabric", "--no-git", "--project-name", "digits", "--", "-P"]
    step = scaffold(*words, folder=tmp_path).out.splitlines()[2]
    assert run(f"{step.strip()} && ls train.py", tmp_path).out == "train.py\n"


def test_a_folder_that_was_removed_is_no_place(tmp_path: Path) -> None:
    command = f"mkdir gone && cd gone && rmdir ../gone && {BIN}/scaffold new --method fabric "
    for path in ("a", str(tmp_path / "a")):
        result = run(command + path, tmp_path)
        assert is_refused(result, PRECONDITION, "the current folder was removed")
    assert listing(tmp_path) == []


@pytest.mark.parametrize("program", [None, INSTALLED])
def test_a_parent_that_is_removed_meanwhile_stays_removed(
    program: str | None, tmp_path: Path
) -> None:
    """From an installed template copier would go on, and make the folders that it misses."""
    shutil.copytree(ROOT / "template", tmp_path / "installed/template")
    shutil.copy(ROOT / "copier.yml", tmp_path / "installed")
    parent = tmp_path / "work/parent"
    for moment in range(4 if program else 1):
        parent.mkdir(parents=True)
        process = begin(parent.parent, "--no-git", "--method", "spawn", "parent/a", program=program)
        room_of(process, parent)
        time.sleep(moment / 50)
        process.send_signal(signal.SIGSTOP)
        shutil.rmtree(parent)
        process.send_signal(signal.SIGCONT)
        assert is_refused(end(process), PRECONDITION, f"`{parent}` was removed meanwhile")
        assert listing(parent.parent) == []


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    process = begin(tmp_path, "--method", "torchrun", "digits")
    room_of(process, tmp_path)
    (tmp_path / "digits").write_text("mine")
    result = end(process)
    assert is_refused(result, PRECONDITION, "`digits` appeared meanwhile (Not a directory)")
    assert (tmp_path / "digits").read_text() == "mine"
    assert listing(tmp_path) == ["digits"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("train.py", "def main(:\n", "invalid syntax"),
        ("train.py", "a\0b", "source code string cannot contain null bytes"),
        ("pyproject.toml", '[project]\nname = "a', "Unterminated string"),
        (".github/workflows/ci.yml", "on: [push\n", "while parsing a flow sequence"),
        ("settings.json", "{", "Expecting property name"),
    ],
)
def test_a_project_with_a_file_that_does_not_parse_is_seen(
    projects: dict[str, Path], name: str, content: str, why: str, tmp_path: Path
) -> None:
    made = shutil.copytree(projects["fabric"], tmp_path / "made")
    verify(made)
    (made / name).write_text(content)
    with pytest.raises(ScaffoldError, match="the installed template is damaged") as caught:
        verify(made)
    assert f"`{name}`: {why}" in caught.value.fact
    assert "\n" not in caught.value.fact


def test_a_damaged_template_makes_no_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "template", tmp_path / "checkout/template")
    shutil.copy(ROOT / "copier.yml", tmp_path / "checkout")
    monkeypatch.setattr(source, "CHECKOUT", tmp_path / "checkout")
    (tmp_path / "work").mkdir()
    answers = {"project_name": "digits", "method": "fabric"}
    create.new(tmp_path / "work/whole", answers, git=False)
    damaged = tmp_path / "checkout/template/engine/distributed.py"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2] + b"\n(")
    with pytest.raises(ScaffoldError, match=r"`engine/distributed\.py`") as caught:
        create.new(tmp_path / "work/digits", answers, git=False)
    assert caught.value.status == FAILURE
    damaged.unlink()
    damaged.symlink_to("/etc/passwd")
    verified: list[Path] = []
    monkeypatch.setattr(render, "verify", verified.append)
    with staging.staging(tmp_path / "work") as room:
        folder = render.render(template_folder(room), answers, room / "project")
        (folder / "a_link.py").symlink_to("/etc/passwd")
        with pytest.raises(ScaffoldError, match=r"`a_link\.py`: no plain file"):
            verify(folder)
    assert verified == [folder]
    assert listing(tmp_path / "work") == ["whole"]


@pytest.fixture(scope="module")
def imported() -> Callable[[str], set[str]]:
    """The modules that a command has imported when it ends."""

    def modules(words: str) -> set[str]:
        program = (
            "import sys; from scaffold.cli import main\n"
            f"sys.argv[1:] = {words.split()}\n"
            "try: main()\n"
            "finally: print(*sys.modules)"
        )
        return set(run([sys.executable, "-c", program]).out.splitlines()[-1].split())

    return modules


@pytest.mark.parametrize(
    "words", ["--help", "methods", "shares", "choose --goal unsure", "shares --help"]
)
def test_a_command_starts_without_what_it_does_not_need(
    words: str, imported: Callable[[str], set[str]]
) -> None:
    slow = {"copier", "torch", "yaml", "jinja2", "json", "dataclasses", "tempfile", "subprocess"}
    slow |= {"fcntl"} if words == "--help" else {"pathlib", "scaffold.commands.new"}
    assert not imported(words) & slow


def hostile_git(folder: Path, clean: str) -> dict[str, str]:
    """The variables of a user whose git ignores, converts, filters and hooks what it can."""
    files = {
        "gitconfig": f"[core]\nexcludesFile = {folder}/ignored\nattributesFile = {folder}/rules\n"
        f"hooksPath = {folder}/hooks\nautocrlf = true\nsafecrlf = true\n"
        f"[init]\ntemplateDir = {folder}/init\n"
        f'[filter "odd"]\nclean = {clean}\nrequired = true\n[commit]\ngpgSign = true\n',
        "ignored": "*.gz\n.*\ndata*\nengine/\n",
        "rules": "*.py filter=odd\n* text working-tree-encoding=UTF-16\n",
        "hooks/pre-commit": "#!/bin/sh\nexit 1\n",
        "init/hooks/commit-msg": "#!/bin/sh\nexit 1\n",
        "init/info/exclude": "*.toml\n",
        "init/info/attributes": "* text eol=crlf\n",
    }
    write(folder, files)
    for hook in folder.glob("*/**/*-*"):
        hook.chmod(0o755)
    return {"GIT_CONFIG_GLOBAL": str(folder / "gitconfig")}


@pytest.mark.parametrize("clean", ["tr a b", "git-lfs-that-is-not-installed"])
def test_the_first_commit_has_every_file_whatever_git_is_set_to(
    clean: str, expected: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    words = ["new", "--method", "fabric", "digits"]
    result = scaffold(*words, folder=tmp_path, **hostile_git(tmp_path / "user", clean))
    assert (result.status, result.err) == (0, "")
    call(tmp_path, "clone", "--quiet", "digits", "clone")
    assert contents(tmp_path / "clone") == contents(tmp_path / "digits") == expected["fabric"]


def test_what_a_repository_around_it_ignores_is_named_with_how_to_add_it(tmp_path: Path) -> None:
    write(repository(tmp_path), {".gitignore": "*.gz\n", "a b/.gitignore": "data*\n/digits/engine"})
    words = ["new", "--method", "fabric", "a b/digits"]
    result = scaffold(*words, "--project-name", "digits", folder=tmp_path)
    note, ignored = result.err.splitlines()
    assert note == "it lies in a git repository already, so nothing was committed"
    assert ignored.startswith(
        "that repository ignores `data.py`, `digits.csv.gz`, `engine/__init__.py` and "
    )
    call(tmp_path, "add", "--all")
    run(ignored.partition(": ")[2], tmp_path)
    kept = call(tmp_path, "ls-files", "-z", "a b/digits").split("\0")[:-1]
    assert kept == [f"a b/digits/{name}" for name in contents(tmp_path / "a b/digits")]
    told = json.loads(scaffold(*words[:-1], "--json", "plain", folder=tmp_path).out)
    assert told["ignored"] == ["digits.csv.gz"]


def distrusting_git(folder: Path) -> dict[str, str]:
    """The variables of somebody to whom no repository belongs, and who trusts none."""
    write(folder, {"config": "", "bin/git": "#!/bin/sh\nexport GIT_TEST_ASSUME_DIFFERENT_OWNER=1\n"
                   f'exec {shutil.which("git")} "$@"\n'})  # fmt: skip
    (folder / "bin/git").chmod(0o755)
    path = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
    return {"GIT_CONFIG_GLOBAL": str(folder / "config"), "PATH": path}


def older_git(folder: Path) -> dict[str, str]:
    """The variables of somebody whose git is that of Ubuntu 20.04, without what came later."""
    later = "*--path-format*|*--initial-branch*|*--object-format*|*zdiff3*"
    refusal = 'echo "error: unknown option" >&2; exit 129'
    script = f"""#!/bin/sh
case "$*" in {later}) {refusal};; *" version") echo git version 2.25.1; exit;; esac
exec {shutil.which("git")} "$@"
"""
    write(folder, {"git": script})
    (folder / "git").chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_an_older_git_will_do(tmp_path: Path) -> None:
    root, user = tmp_path / "team", older_git(tmp_path / "bin")
    words = ["new", "--method", "torchrun"]
    assert scaffold(*words, "team", folder=tmp_path, **user).status == 0
    assert call(root, "branch", "--show-current") == "main\n"
    words = [*words, "--project-name", "digits", "services/digits"]
    (root / "services").mkdir()
    assert scaffold(*words, folder=root, **user).status == 0
    call(root, "config", "user.name", "somebody")
    call(root, "config", "user.email", "somebody@localhost")
    commit(root)
    for project in (root, root / "services/digits"):
        before = state(root)
        result = scaffold("switch", "--method", "fabric", folder=project, **user)
        assert (result.status, result.err) == (0, "")
        assert "lightning" in (project / "pyproject.toml").read_text()
        assert scaffold("abort", folder=project, **user).status == 0
        assert state(root) == before


def test_in_a_repository_that_git_distrusts_nothing_is_made_and_git_s_remedy_is_told(
    tmp_path: Path,
) -> None:
    root, user = repository(tmp_path / "team"), distrusting_git(tmp_path / "user")
    words = ["new", "--method", "fabric", "--project-name", "digits"]
    for place in ("inner", "."):
        result = scaffold(*words, place, folder=root, **user)
        assert is_refused(result, FAILURE, "git failed: fatal: detected dubious ownership")
        remedy = f"hint: git config --global --add safe.directory {root}; nothing was changed"
        assert remedy in result.err
    assert listing(root) == [".git"]
    assert scaffold(*words, "--no-git", "inner", folder=root, **user).status == 0
    assert not (root / "inner/.git").exists()
    assert scaffold(*words, "alone", folder=tmp_path, **user).status == 0
    for command in (("status",), ("switch", "--method", "spawn"), ("abort",)):
        result = scaffold(*command, folder=root / "inner", **user)
        assert is_refused(result, FAILURE, "git failed: fatal: detected dubious ownership")
        assert f"hint: git config --global --add safe.directory {root}; " in result.err


def test_in_a_repository_that_is_broken_nothing_is_made(tmp_path: Path) -> None:
    """As a worktree whose repository has gone."""
    write(tmp_path, {"team/.git": "gitdir: /nowhere\n"})
    result = scaffold("new", "--method", "fabric", "team/inner", folder=tmp_path)
    assert is_refused(result, FAILURE, "git failed: fatal: not a git repository: /nowhere")
    assert listing(tmp_path / "team") == [".git"]


@pytest.mark.parametrize("kind", ["parameters", "count"])
def test_a_trust_that_is_told_by_the_environment_is_honoured(kind: str, tmp_path: Path) -> None:
    root, user = repository(tmp_path / "team"), distrusting_git(tmp_path / "user")
    told = {
        "parameters": {"GIT_CONFIG_PARAMETERS": f"'safe.directory={root}'"},
        "count": {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
                  "GIT_CONFIG_VALUE_0": str(root)},
    }[kind]  # fmt: skip
    trusting = user | told
    assert scaffold("new", "--method", "fabric", ".", folder=root, **trusting).status == 0
    assert scaffold("abort", folder=root, **trusting).status == 0
    result = scaffold("new", "--method", "fabric", "inner", folder=root, **trusting)
    assert result.err == "it lies in a git repository already, so nothing was committed\n"
    assert not (root / "inner/.git").exists()
