"""What a run prints never ends it: a reader may leave, a log be full, a stream be closed."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest

from conftest import MODULES, fork, launch_line, represented, run
from engine import output
from probe import FLAGS, make_probe
from scaffold.catalog.methods import METHODS

LINES = "from engine import output; import sys; output.guard()\n"
LINES += "for line in range(10**5): print(line)\n"
LINES += "sys.stdout.flush(); open(sys.argv[1], 'w').write('done')"


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        ("| head -1", "warning: stdout cannot be written any more (Broken pipe); the run goes on"),
        (">/dev/full", "(No space left on device); the run goes on"),
        ("2>&1 | head -1", ""),
        ("2>/dev/full >&2", ""),
        (">&- 2>&- <&-", ""),
    ],
)
def test_a_program_outlives_who_reads_it(streams: str, said: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", LINES, str(tmp_path / "done")]
    ended = run(f"{shlex.join(words)} {streams}", MODULES / "digits")
    assert ended.status == 0, ended.err
    assert said in ended.err
    assert len(ended.err.splitlines()) == bool(said), ended.err
    assert (tmp_path / "done").read_text() == "done"


@pytest.mark.parametrize("patience", ["0.2", ""])
def test_a_run_goes_on_where_its_reader_pauses_and_other_programs_wait(
    patience: str, tmp_path: Path
) -> None:
    """Ctrl-S, `| less`; what predict.py prints is what it is started for."""
    lines = LINES.replace("guard()", f"guard({patience})")
    words = [sys.executable, "-c", lines, str(tmp_path / "done")]
    pausing = f"(for _ in {{1..80}}; do [ -e {tmp_path / 'done'} ] || sleep 0.05; done; cat)"
    ended = run(f"{shlex.join(words)} | {pausing}", MODULES / "digits", text="")
    assert ended.status == 0, ended.err
    read = ended.out.splitlines()
    if patience:
        assert read[0] == "0"
        assert len(read) < 10**5
    else:
        assert read == [str(line) for line in range(10**5)]


def test_a_run_goes_on_where_its_terminal_pauses(tmp_path: Path) -> None:
    reader, writer = os.openpty()
    lines = LINES.replace("guard()", "guard(0.2)")
    words = [sys.executable, "-c", lines, str(tmp_path / "done")]
    subprocess.run(words, cwd=MODULES / "digits", stdout=writer, check=True, timeout=30)
    read = read_all(reader)
    assert read.startswith(b"0\n1\n2\n")
    assert (tmp_path / "done").read_text() == "done"
    os.close(reader)
    os.close(writer)


def test_a_worker_that_prints_keeps_no_run_waiting_for_its_reader(tmp_path: Path) -> None:
    """A library that warns of a sample, where rank 0 has filled the pipe."""
    code = f"""
import multiprocessing, os, sys
sys.path.insert(0, {str(MODULES / "digits")!r})
from engine import output, workers
reader, writer = os.pipe()
os.dup2(writer, 1)
sys.stdout = open(1, "w", closefd=False)
output.PATIENCE = 0.2
def work():
    workers.end_with_parent(0)
    print("x" * 10**6, flush=True)
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join(20)
print(worker.exitcode, file=sys.stderr)
worker.kill()
os._exit(0)
"""
    (tmp_path / "program.py").write_text(code)
    assert fork(["python", "program.py"], tmp_path).err == "0\n"


@pytest.mark.parametrize("stream", ["pipe", "terminal"])
def test_what_a_reader_has_missed_is_told_when_it_goes_on(stream: str) -> None:
    """Of a terminal whose other end pauses there is room for less than a line."""
    reader, writer = os.pipe() if stream == "pipe" else os.openpty()
    lasting = output.Lasting(writer, "stdout", 0.05)
    signal.signal(signal.SIGALRM, fail)  # or a write that waits would wait for ever
    signal.alarm(10)
    line, written = b"a line" * 20 + b"\n", 0
    while not lasting.missed:
        written += lasting.write(line)
    missed = lasting.missed
    read = read_all(reader)
    lasting.write(b"another\n" * 3)
    signal.alarm(0)
    note = b"\n(%d bytes were not read in time)\n" % missed
    assert read_all(reader) == note + b"another\n" * 3
    assert read == (line * (written // len(line)))[:-missed]
    assert os.get_blocking(writer)
    os.close(reader)
    os.close(writer)


def fail(_number: int, _frame: FrameType | None) -> None:
    pytest.fail("a write waits for its reader")


def read_all(reader: int) -> bytes:
    """What is there to read, with the ends of lines as they were written."""
    os.set_blocking(reader, False)
    read = b""
    with suppress(BlockingIOError):
        while block := os.read(reader, 2**20):
            read += block
            time.sleep(0.02)  # the system passes a terminal's text on bit by bit
    return read.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("method", represented(METHODS, "spawn"))
def test_a_run_outlives_who_reads_it(method: str, tmp_path: Path) -> None:
    project, run_dir = make_probe(tmp_path / "probe", method), tmp_path / "run"
    words = launch_line(project, *FLAGS, "--run_dir", run_dir)
    ended = run(f"{shlex.join(words)} | head -3", project)
    assert ended.status == 0, ended.err
    assert len(ended.out.splitlines()) == 3
    assert "stdout cannot be written any more (Broken pipe)" in ended.err
    assert json.loads((run_dir / "run_state.json").read_text())["state"] == "finished"
