"""A git that hangs, as on a disk that does not answer, ends with the command that waits for it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from shutil import which

import pytest

from conftest import BIN, environment, make, represented
from probe import alive, wait_until
from repositories import content, repository, state

# a git that hangs in one of its commands; what it does on a signal stands in the second place
GIT = """#!/bin/sh
for word; do
  [ "$word" = {command} ] && {{ {answer} echo $$ >{pid}; {hang}; }}
done
exec {git} "$@"
"""
# the command line, which waits less long for a git that is nearly done
PROGRAM = """
import sys
from scaffold.git import run
run.PATIENCE = run.GRACE = 0.3
sys.argv[1:] = {words}
from scaffold.__main__ import main
main()
"""
NEW = "new --method spawn --defaults made"
CASES = [
    ("switch --method torchrun", "update-index", signal.SIGINT, False),
    ("switch --method torchrun --json", "rev-parse", signal.SIGTERM, False),
    ("switch --method torchrun", "cherry-pick", signal.SIGHUP, True),
    ("update", "rev-parse", signal.SIGTERM, False),
    ("diff --method torchrun", "rev-parse", signal.SIGINT, False),
    ("status", "ls-files", signal.SIGINT, False),
    ("status", "rev-parse", signal.SIGTERM, True),
    (NEW, "hash-object", signal.SIGTERM, True),
    (NEW, "rev-parse", signal.SIGINT, False),
]


@pytest.mark.parametrize(
    ("words", "command", "number", "deaf"), represented(CASES, CASES[0], CASES[6], CASES[7])
)
def test_a_signal_ends_a_git_that_hangs(
    words: str, command: str, number: signal.Signals, deaf: bool, tmp_path: Path
) -> None:
    root = repository(make(tmp_path / "digits", "fabric"))
    before, pid, rooms = state(root), tmp_path / "pid", tmp_path / "rooms"
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    hang, answer = ("sleep 100", "trap '' HUP INT TERM;") if deaf else ("exec sleep 100", "")
    facts = {"command": command, "answer": answer, "pid": pid, "hang": hang, "git": which("git")}
    wrapper.write_text(GIT.format(**facts))
    wrapper.chmod(0o755)
    rooms.mkdir()
    path = f"{wrapper.parent}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(words=words.split())],
        cwd=tmp_path if words == NEW else root,
        env=environment(PATH=path, TMPDIR=str(rooms)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert wait_until(lambda: pid.exists() and bool(pid.read_text()), 60)
        begin = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        if left := alive(int(pid.read_text())):
            os.killpg(int(pid.read_text()), signal.SIGKILL)
    assert process.returncode == 128 + number, err
    assert err.startswith(f"error: ended by {number.name}"), err
    assert time.monotonic() - begin < 10
    assert not left
    assert not (root / ".git/index.lock").exists()
    assert not list(rooms.iterdir())
    assert not (tmp_path / "made").exists()
    assert state(root) == before
    assert content(root) == before[2]
