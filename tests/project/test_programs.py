"""How the programs of a project end that train nothing, and train.py before it trains."""

import ast
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import torch as safetensors
from torch import nn

import plot
from conftest import TEMPLATE, environment, represented, run
from engine.inference import export
from scaffold.catalog.methods import METHODS

PROGRAMS = ["plot.py", *(f"examples/{name}/predict.py" for name in ("digits", "text"))]
PROGRAMS += [f"shares_{name}.py" for name in METHODS]
BEGIN = dict.fromkeys(PROGRAMS, "begin") | {f"train_{name}.py": "interrupt" for name in METHODS}
LINE = '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n'


@pytest.mark.parametrize("name", BEGIN)
def test_a_program_begins_with_what_lets_it_end_well(name: str) -> None:
    body = ast.parse((TEMPLATE / name).read_text()).body
    assert ast.unparse(body[1]) == f"from engine import {BEGIN[name]}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an engine, a run, and a program which says that it is here and stays."""
    (tmp_path / "engine").mkdir()
    for name in (
        "engine/__init__.py",
        "engine/begin.py",
        "engine/interrupt.py",
        "engine/output.py",
        "plot.py",
    ):
        shutil.copy(TEMPLATE / name, tmp_path / name)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/metrics.jsonl").write_text(LINE)
    return tmp_path


@pytest.mark.parametrize(
    ("first", "said"),
    [("begin", ""), ("interrupt", "stopped by SIGINT before the first step: nothing is lost\n")],
)
def test_a_ctrl_c_ends_it_without_a_traceback(project: Path, first: str, said: str) -> None:
    program = (
        f"from engine import {first}\nimport time\nprint('here', flush=True)\n"
        "for _ in range(300): time.sleep(0.1)  # one right before a sleep does not cut it short"
    )
    (project / "predict.py").write_text(program)
    process = subprocess.Popen(
        [sys.executable, "predict.py"],
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", said)
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize(
    "streams",
    represented(["<&-", ">&-", "2>&-", ">/dev/full", "2>/dev/full", "| true"], ">/dev/full"),
)
def test_plot_is_done_whoever_reads_of_it(streams: str, project: Path) -> None:
    result = run(f"python plot.py run {streams}", project)
    assert result.status == 0
    assert "Traceback" not in result.err
    assert (project / "curves.png").stat().st_size > 1000
    assert not list(project.glob(".curves*"))


def test_a_picture_and_an_export_are_written_whole_or_stay_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(*words: Any, **_: Any) -> None:
        next(Path(word) for word in words if not isinstance(word, nn.Module)).write_text("half")
        raise OSError(28, "No space left on device")

    (tmp_path / "before.png").write_text("whole")
    figure = type("Figure", (), {"savefig": staticmethod(half)})
    with pytest.raises(OSError, match="No space left"):
        plot.save(figure, tmp_path / "before.png")
    monkeypatch.setattr(safetensors, "save_model", half)
    with pytest.raises(SystemExit):
        export(nn.Linear(1, 1), tmp_path / "before.png")
    assert [path.name for path in tmp_path.iterdir()] == ["before.png"]
    assert (tmp_path / "before.png").read_text() == "whole"


def test_windows_is_told_where_it_runs(project: Path) -> None:
    program = "import runpy, sys; sys.modules['fcntl'] = None; runpy.run_path('plot.py')"
    result = run([sys.executable, "-c", program], project)
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "error: this needs Linux or macOS, and Windows is neither\n"
        "hint: install and run it in WSL, Windows' own Linux: wsl --install\n"
    )
