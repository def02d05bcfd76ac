"""How the command line starts: a Ctrl-C meanwhile, and a system that it is not made for."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import environment, run
from scaffold.cli import ANYWHERE, COMMANDS

# the command line, which says so and stays where it begins to import a module
HELD_UP = """
import signal, sys, time
from importlib import abc
from scaffold import __main__

class Slow(abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == {module!r}:
            try:
                print("here", file=sys.stderr, flush=True)
                for _ in range(300):  # one right before a sleep does not cut it short
                    time.sleep(0.1)
            except BaseException:  # as a finaliser or an import of something optional does
                pass

sys.meta_path.insert(0, Slow())
sys.argv[1:] = {words}
__main__.main()
"""
# the command line of a busy machine, on which what it starts is at work before it knows
LATE = """
import subprocess, sys, time
from scaffold import __main__

begin = subprocess.Popen._execute_child

def late(*words):
    begin(*words)
    time.sleep(1)

subprocess.Popen._execute_child = late
sys.argv[1:] = {words}
__main__.main()
"""
# the command line of a system that has no such module
WITHOUT = """
import sys
for name in ("fcntl", "resource", "termios", "pwd"):
    sys.modules[name] = None
from scaffold.__main__ import main
main()
"""


def start(command: list[str], folder: Path) -> "subprocess.Popen[str]":
    """Start a program that hears SIGINT, as at a terminal."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize(
    ("words", "module"),
    [
        ("choose", "click"),
        ("choose --json", "scaffold.streams"),
        ("new --json --method ddp a", "yaml"),
        ("status", "scaffold.template.answers"),
    ],
)
def test_a_ctrl_c_while_it_starts_is_two_lines_whatever_swallows_it(
    words: str, module: str, tmp_path: Path
) -> None:
    program = HELD_UP.format(module=module, words=words.split())
    process = start([sys.executable, "-c", program], tmp_path)
    assert process.stderr
    assert process.stderr.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "error: interrupted\nhint: nothing was changed\n")
    told = {"error": "interrupted", "hint": "nothing was changed", "status": 130}
    assert json.loads(out) == told if "--json" in words else out == ""


def test_a_ctrl_c_after_the_result_adds_no_second_one(tmp_path: Path) -> None:
    """The command has told its result, and the program has not heard yet that it is done."""
    program = (
        "import signal, sys; from scaffold import __main__, streams\n"
        "streams.check = lambda *_: signal.raise_signal(signal.SIGINT)\n"
        "signal.signal = lambda number, answer, real=signal.signal: "
        "answer == signal.SIG_IGN or real(number, answer)\n"
        "sys.argv[1:] = ['methods', '--json']; __main__.main()"
    )
    process = start([sys.executable, "-c", program], tmp_path)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "error: interrupted\nhint: nothing was changed\n")
    assert len(json.loads(out)) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_doctor_has_started(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "slow").write_text("#!/bin/sh\necho $$ >pid\nexec sleep 60\n")
    (tmp_path / "slow").chmod(0o755)
    program = LATE.format(words=["doctor", "--json", "--python", "./slow"])
    process = start([sys.executable, "-c", program], tmp_path)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, json.loads(out)["status"]) == (128 + number, 128 + number)
    assert "Traceback" not in err
    state = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_windows_is_told_where_this_runs(tmp_path: Path) -> None:
    for words in COMMANDS:
        command = [sys.executable, "-c", WITHOUT, words, "--json"]
        result = run(command, tmp_path)
        if words in ANYWHERE:
            assert "WSL" not in result.err, words
            continue
        assert (result.status, json.loads(result.out)["status"]) == (5, 5)
        assert result.err == (
            "error: this needs Linux or macOS, and Windows is neither\n"
            "hint: install and run it in WSL, Windows' own Linux: wsl --install\n"
        )
    assert run([sys.executable, "-c", WITHOUT, "--help"], tmp_path).status == 0
