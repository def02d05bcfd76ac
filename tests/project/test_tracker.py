"""Each tracker holds what metrics.jsonl holds, also of a run that went on and repeated steps.

The launches of a tracker are shared by its tests; MLflow's store alone takes 7 s to make.
"""

import json
import multiprocessing
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import TEMPLATE, VARYING, fork, launch, make, metrics, train

# mlflow reports its own use to its makers, from its import on
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

# what SQLAlchemy 2.1 says about mlflow 3.17
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")

TRACKERS = ["none", "tensorboard", "wandb", "mlflow"]
NAMES = {
    **{name: f"train/{name}" for name in ("loss", "accuracy", "lr", "grad_norm")},
    **{name: f"train/{name}" for name in VARYING},
    **{f"val_{name}": f"val/{name}" for name in ("loss", "accuracy", "samples")},
}
# what a tracker's own search of the environment could find
SECRETS = {
    **{"SLURM_JWT": "hunter2", "SLURM_JOB_ID": "1", "WANDB_API_KEY": "hunter2" * 6},
    **{"MY_API_TOKEN": "hunter2", "AWS_SECRET_ACCESS_KEY": "hunter2"},
}
OWN = {"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": "", "MLFLOW_EXPERIMENT_NAME": ""}
Curves = dict[str, dict[int, float]]  # name -> step -> value
Trained = Callable[[str], Path]  # tracker -> run directory


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A function: the run of a tracker, 20 steps, then from step 10 to 30, without a secret."""

    @cache
    def runs(tracker: str) -> Path:
        project = make(tmp_path_factory.mktemp("trackers") / "digits", "torchrun", tracker=tracker)
        flags = ("--log_every", 5, "--validate_every", 10, "--checkpoint_every", 10)
        env = SECRETS | OWN
        run_dir = project / "runs" / "default"
        train(project, run_dir, *flags, "--steps", 20, processes=2, forked=True, **env)
        checkpoint = run_dir / "checkpoints" / "step-000000020"
        checkpoint.rename(run_dir / "lost")  # as if the run had been killed before it
        train(project, run_dir, *flags, "--steps", 30, processes=2, forked=True, **env)
        files = [path for path in run_dir.parent.rglob("*") if path.is_file()]
        assert [path for path in files if b"hunter2" in path.read_bytes()] == []
        return run_dir

    return runs


def logged(run_dir: Path) -> Curves:
    """The curves of metrics.jsonl, under the trackers' names."""
    lines = metrics(run_dir)
    curves = {new: {x["step"]: x[old] for x in lines if old in x} for old, new in NAMES.items()}
    assert {name: list(curve) for name, curve in curves.items()} == {
        name: [5, 10, 15, 20, 25, 30] if name.startswith("train/") else [10, 20, 30]
        for name in NAMES.values()
    }
    return curves


def test_tensorboard_shows_each_step_once_with_the_value_of_metrics_jsonl(trained: Trained) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = trained("tensorboard")
    events = EventAccumulator(str(run_dir)).Reload()
    shown = {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    assert shown == {
        name: [(step, float(np.float32(value))) for step, value in curve.items()]
        for name, curve in logged(run_dir).items()
    }
    settings = events.Tensors("settings/text_summary")
    assert [event.step for event in settings] == [0, 10]
    assert b"    steps = 30\n" in settings[-1].tensor_proto.string_val[0]
    writers = list(run_dir.parent.rglob("events.out.tfevents.*"))
    assert len(writers) == 2  # one for each start


def test_mlflow_has_one_run_with_each_step_and_the_settings(trained: Trained) -> None:
    import mlflow

    run_dir = trained("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{run_dir.parent}/mlflow.db")
    experiments = {found.name: found.experiment_id for found in client.search_experiments()}
    assert set(experiments) == {"digits", "Default"}
    (only,) = client.search_runs(list(experiments.values()))
    assert only.info.experiment_id == experiments["digits"]
    assert (only.info.run_name, only.info.status) == ("default", "FINISHED")
    assert (run_dir / "mlflow_id").read_text() == only.info.run_id
    assert set(only.data.metrics) == set(NAMES.values())
    for name, curve in logged(run_dir).items():
        history = client.get_metric_history(only.info.run_id, name)
        # MLflow takes nothing back: of a repeated step the later value counts
        history.sort(key=lambda metric: metric.timestamp)
        assert {metric.step: metric.value for metric in history} == curve
    # a parameter never changes: the new number of steps is a tag
    assert (only.data.params["lr"], only.data.params["steps"]) == ("0.008", "20")
    assert only.data.tags == {"mlflow.runName": "default", "steps": "30"}


def track(project: Path, name: str) -> None:
    """Begin a run, as train.py does."""
    os.chdir(project)
    os.environ.update(OWN)
    sys.path.insert(0, str(project))
    sys.modules.pop("tracker", None)
    from config import Config
    from tracker import Tracker

    run_dir = Path("runs", name)
    run_dir.mkdir(parents=True)
    Tracker(Config(run_dir=run_dir), 0)


def test_two_mlflow_runs_that_come_first_together_share_one_store(tmp_path: Path) -> None:
    import mlflow

    project = make(tmp_path / "digits", "torchrun", tracker="mlflow")
    forked = multiprocessing.get_context("fork")  # they have mlflow already
    runs = [forked.Process(target=track, args=(project, name)) for name in ("a", "b")]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
        assert run.exitcode == 0
    client = mlflow.MlflowClient(f"sqlite:///{project}/runs/mlflow.db")
    assert len(client.search_runs(["1"])) == 2


def test_wandb_offline_keeps_one_folder_per_start_of_the_same_run(trained: Trained) -> None:
    run_dir = trained("wandb")
    files = sorted(run_dir.rglob("*.wandb"))
    assert [path.parent.name[:11] for path in files] == ["offline-run"] * 2
    starts = [list(records(path)) for path in files]
    headers = [record.run for start in starts for record in start if record.HasField("run")]
    name = (run_dir / "wandb_id").read_text()
    assert [(run.run_id, run.project, run.display_name, run.resume) for run in headers] == [
        (name, "digits", "default", True)
    ] * 2
    settings = {item.key: json.loads(item.value_json) for item in headers[-1].config.update}
    assert (settings["lr"], settings["steps"]) == (0.008, 30)
    curves: Curves = {name: {} for name in NAMES.values()}
    steps = []
    for record in (record for start in starts for record in start if record.HasField("history")):
        row = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        steps.append(row["step"])
        for name in set(row) & set(NAMES.values()):
            curves[name][row["step"]] = row[name]
    assert steps == [5, 10, 10, 15, 20, 20, 15, 20, 20, 25, 30, 30]
    assert curves == logged(run_dir)


@pytest.mark.parametrize(
    ("tracker", "variables", "fact"),
    [
        ("wandb", {}, "wandb: No API key configured"),
        ("wandb", {"WANDB_MODE": "of"}, "wandb: 1 validation error for Settings mode Input should"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "http://me:hunter2@127.0.0.1:9"}, "mlflow: API request"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "sqlite:///tracker.py"}, "mlflow: (sqlite3.DatabaseErr"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "sqlite:////proc/no/a.db"}, "mlflow: [Errno 2] No such"),
    ],
)
def test_a_tracker_that_does_not_start_is_two_lines(
    tracker: str, variables: dict[str, str], fact: str, tmp_path: Path
) -> None:
    """Within seconds: MLflow by itself tries for minutes to reach a server."""
    project = make(tmp_path / "digits", "torchrun", tracker=tracker)
    (project / "start.py").write_text("from tracker import *; Tracker(Config(run_dir=Path()), 0)")
    # a home without credentials; standard input is no terminal, where wandb would ask
    env = {"HOME": str(tmp_path), "WANDB_MODE": "", "WANDB_API_KEY": "", **variables}
    result = fork(["python", "start.py"], project, **env)
    assert result.status == 1
    first, second = result.err.splitlines()
    assert first.startswith(f"error: {fact}")
    assert second.startswith(
        {
            "wandb": "hint: wandb login, correct the WANDB_ variables, or set WANDB_MODE=offline",
            "mlflow": "hint: check MLFLOW_TRACKING_URI, or delete mlflow_id to begin",
        }[tracker]
    )
    assert "hunter2" not in first + second


def test_a_tracker_that_does_not_start_ends_the_run_soon(tmp_path: Path) -> None:
    project = make(tmp_path / "digits", "spawn", tracker="mlflow")
    env: dict[str, Any] = OWN | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    begin = time.monotonic()
    result = launch(project, forked=True, **env)
    assert time.monotonic() - begin < 45  # it was 130
    assert result.status == 1
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1  # no other rank takes the loss of the first for the cause
    assert errors[0].startswith("error: mlflow: API request to http://127.0.0.1:9/")
    assert "Traceback" not in result.err
    assert not list(project.glob("runs/default/checkpoints"))


def test_none_leaves_nothing_beside_metrics_jsonl(trained: Trained) -> None:
    run_dir = trained("none")
    logged(run_dir)
    assert {path.name for path in run_dir.iterdir()} == {
        *("checkpoints", "config.toml", "lost", "metrics.jsonl", "run_state.json", ".lock")
    }
    assert [path.name for path in run_dir.parent.iterdir()] == ["default"]


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_project_has_the_file_and_library_of_its_tracker_alone(
    tracker: str, tmp_path: Path
) -> None:
    project = make(tmp_path / "digits", "torchrun", tracker=tracker)
    source = TEMPLATE / "trackers" / tracker / "tracker.py"
    assert (project / "tracker.py").read_bytes() == source.read_bytes()
    assert [path.name for path in project.rglob("*tracker*")] == ["tracker.py"]
    others = set(TRACKERS[1:]) - {tracker}
    assert not any(other in (project / "pyproject.toml").read_text() for other in others)


def records(path: Path) -> Iterator[Any]:
    """What a .wandb file holds: after 7 bytes, blocks of 32 KiB as in LevelDB's log format.

    A piece is (CRC32, length, kind) in 7 bytes, then its bytes; kinds 1 and 4 end a record.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left  # a block's last bytes that hold no piece
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""
