"""What a run prints never ends it: a reader may leave, a log be full, a stream be closed."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from conftest import MODULES, launch_line, represented, run
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


def test_what_a_reader_has_missed_is_told_when_it_goes_on() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    stream = output.Lasting(writer, "stdout", 0.01)
    while not stream.missed:
        stream.write(b"a line\n")
    read = os.read(reader, 2**20)
    stream.write(b"another\n" * 3)
    assert os.read(reader, 2**20) == b"\n(7 bytes were not read in time)\n" + b"another\n" * 3
    assert read == b"a line\n" * (len(read) // 7)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("method", represented(METHODS, "spawn"))
def test_a_run_outlives_who_reads_it(method: str, tmp_path: Path) -> None:
    project, run_dir = make_probe(tmp_path / "probe", method), tmp_path / "run"
    words = launch_line(project, *FLAGS, "--run_dir", run_dir)
    ended = run(f"{shlex.join(words)} | head -3", project)
    assert ended.status == 0, ended.err
    assert len(ended.out.splitlines()) == 3
    assert "stdout cannot be written any more (Broken pipe)" in ended.err
    assert json.loads((run_dir / "run_state.json").read_text())["state"] == "finished"
