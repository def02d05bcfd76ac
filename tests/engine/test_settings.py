"""The settings of a run: where they come from, and that wrong ones start nothing."""

import re
import sys
import tomllib
from dataclasses import fields, make_dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import Config
from conftest import BIN, MODULES, TEMPLATE, environment, fork, launch, metrics, run, train
from engine import limits
from engine.limits import problems
from engine.settings import parse
from scaffold.catalog.methods import METHODS

ASK = re.compile(r"\bconfig\.(?!py\b|toml\b)([a-z_]+)")


def test_flags_win_over_the_file_and_the_file_over_defaults(
    projects: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_text('steps = 3\nlr = 0.5\nprecision = "fp32"\nlog_every = 1\n')
    run_dir = tmp_path / 'a "run"'
    flags = ("--config", tmp_path / "a.toml", "--lr", 0.25)
    train(projects["fabric"], run_dir, *flags, forked=True)
    saved = tomllib.loads((run_dir / "config.toml").read_text())
    assert (saved["steps"], saved["lr"], saved["seed"]) == (3, 0.25, 0)
    assert saved.keys() == {field.name for field in fields(Config)} - {
        "config",
        "run_dir",
        "devices",
        "step_timeout",
        "async_save",
        "check",
        "fresh_optimizer",
        "profile",
    }
    assert [line["step"] for line in metrics(run_dir)] == [1, 2, 3, 3]
    # what was saved is a settings file itself
    saved_file = ("--config", run_dir / "config.toml")
    again = train(projects["fabric"], tmp_path / "again", *saved_file, forked=True)
    assert [line.get("loss") for line in metrics(again)] == [
        line.get("loss") for line in metrics(run_dir)
    ]


@pytest.mark.parametrize("method", METHODS)
def test_wrong_settings_start_nothing_and_are_told_all_at_once(
    projects: dict[str, Path], method: str, tmp_path: Path
) -> None:
    flags = ["--steps", 0, "--lr", -1, "--global_batch_size", 30, "--micro_batch_size", 10]
    result = launch(projects[method], "--run_dir", tmp_path / "run", *flags, forked=True)
    assert result.status != 0
    lines = [line for line in result.err.splitlines() if line.startswith(("error: ", "hint: "))]
    assert lines == [
        "error: steps `0` is not in 1..1e+09",
        "hint: set --steps 200",
        "error: lr `-1.0` is not in 0..1e+06",
        "hint: set --lr 0.008",
        "error: micro_batch_size `10` x ranks `2` = 20 does not divide global_batch_size `30`",
        "hint: set --micro_batch_size 5",
    ]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stepz", "3"], "--stepz"),
        (["--steps", "many"], "--steps"),
        (["--precision", "fp16"], "--precision"),
        (["--run_dir", "train.py/x"], "error: run_dir `train.py/x`: `train.py` is a file\nhint: "),
        (["--profile", "300:301"], "error: profile `300:301` is no FIRST:LAST of the 200 steps"),
        (["--config", "missing.toml"], "error: cannot read `missing.toml`"),
        (["--config", "train.py"], "error: cannot read `train.py`"),
        (
            ["--config", "stray.toml"],
            "error: stray.toml: `stepz` is no setting\nhint: settings are ",
        ),
        (["--config", "types.toml"], "error: types.toml: steps: `many` is no int\nhint: "),
        (
            ["--run_dir", "train.py"],
            "error: run_dir `train.py`: `train.py` is a file\nhint: set --run_dir",
        ),
    ],
)
def test_a_wrong_command_line_or_file_is_told(
    projects: dict[str, Path], flags: list[str], message: str
) -> None:
    project = projects["torchrun"]
    (project / "stray.toml").write_text("stepz = 3\n")
    (project / "types.toml").write_text('steps = "many"\n')
    result = fork(["python", "train.py", *flags], project)
    for name in ("stray.toml", "types.toml"):
        (project / name).unlink()
    assert result.status == 2
    assert message in result.out + result.err
    assert "Traceback" not in result.err


def test_devices_must_be_the_launcher_s(projects: dict[str, Path]) -> None:
    result = launch(projects["torchrun"], "--devices", 3, "--lr", "inf", forked=True)
    assert result.status != 0
    assert "error: devices `3`, but processes here: 2\nhint: torchrun " in result.err
    assert "error: lr `inf` is not in 0..1e+06" in result.err


def test_spawn_does_not_start_processes_from_a_launcher_s(projects: dict[str, Path]) -> None:
    result = fork(["torchrun", "--nproc-per-node", "1", "train.py"], projects["spawn"])
    assert "error: train.py starts its processes itself\nhint: python train.py " in result.err


@given(st.integers(-2, 300), st.integers(-2, 300), st.integers(1, 9))
def test_accepted_sizes_make_the_global_batch(batch: int, micro: int, world_size: int) -> None:
    config = Config(global_batch_size=batch, micro_batch_size=micro, devices=1)
    found = problems(config, world_size)
    if not found:
        assert config.accumulate(world_size) * micro * world_size == batch
    elif min(batch, micro) >= 1:
        # the remedy works
        ((_, remedy),) = found
        name, value = remedy.removeprefix("set --").split()
        other = {"micro_batch_size": micro, "global_batch_size": batch} | {name: int(value)}
        fixed = Config(devices=1, **other)  # type: ignore[arg-type]  # the two are numbers
        assert not problems(fixed, world_size)


@pytest.mark.parametrize(
    ("precision", "matmul", "words"),
    [
        ("fp32", "highest", "float32"),
        ("tf32", "high", "float32, for this device has no TF32"),
        ("bf16", "highest", "bfloat16 in the forward pass"),
    ],
)
def test_the_precision_is_set_and_check_says_it(
    projects: dict[str, Path], precision: str, matmul: str, words: str, tmp_path: Path
) -> None:
    code = (
        "import sys, torch; sys.path.insert(0, '')\n"
        "from config import Config; from engine import distributed\n"
        "distributed.set_precision(Config(precision=sys.argv[1]))\n"
        "print(torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)"
    )
    (tmp_path / "said.py").write_text(code)
    said = fork(["python", str(tmp_path / "said.py"), precision], MODULES / "digits")
    assert said.out == f"{matmul} {precision == 'tf32'}\n", said.err
    checked = launch(projects["torchrun"], "--check", "--precision", precision, forked=True)
    assert f"check: precision {precision}: {words}\n" in checked.out, checked.err


def test_a_program_may_have_a_debugger_that_does_not_say_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As pdb of Python 3.11; multiprocessing and Fabric want to know it."""
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.delattr(sys.modules["__main__"], "__spec__")
    parse()
    assert sys.modules["__main__"].__spec__ is None


@pytest.mark.full
@pytest.mark.parametrize("method", METHODS)
def test_a_program_runs_in_a_debugger(projects: dict[str, Path], method: str) -> None:
    """On as many processes as it starts itself, each with a worker."""
    processes = 2 if method in ("spawn", "fabric") else 0
    command = [str(BIN / "python"), "-m", "pdb", "-c", "continue", "-c", "quit", "shares.py"]
    command += ["--workers", "1", "--devices", str(processes)]
    result = run(command, projects[method], env=environment())
    assert "The program finished" in result.out, result.out + result.err
    assert f"step 1 rank {max(processes, 1) - 1}: " in result.out


def test_a_config_that_lacks_what_the_engine_asks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a team has kept at an update."""
    assert limits.missing() == []
    kept = [(f.name, f.type, f) for f in fields(Config) if f.name != "fresh_optimizer"]
    monkeypatch.setattr(limits, "Config", make_dataclass("Config", kept))
    assert [fact for fact, _ in limits.missing()] == [
        f"Config in config.py has no `{name}`, which engine/ reads"
        for name in ("accumulate", "fresh_optimizer", "nodes", "processes")
    ]


def test_what_the_engine_asks_of_a_config_is_listed() -> None:
    files = [*(TEMPLATE / "engine").glob("*.py"), *TEMPLATE.glob("train_*.py")]
    asked = {name for path in files for name in ASK.findall(path.read_text())}
    assert asked == {*limits.ASKED.split()}
