"""Where metrics go beside metrics.jsonl: MLflow, to MLFLOW_TRACKING_URI or else runs/mlflow.db.

`pip install mlflow` brings the page: `mlflow ui --backend-store-uri sqlite:///runs/mlflow.db`.
"""

import fcntl
import logging
import os
import re
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

# mlflow reports its own use to its makers, from its import on
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
from mlflow.entities import Metric, Param, RunTag
from sqlalchemy.exc import SQLAlchemyError

from config import Config
from engine.errors import leave_if
from engine.settings import to_toml

EXPERIMENT = os.environ.get("MLFLOW_EXPERIMENT_NAME") or Path(__file__).resolve().parent.name


class Tracker:
    """Made by rank 0 alone, when a run starts or goes on."""

    def __init__(self, config: Config, first_step: int) -> None:
        """Begin, or go on after first_step in the same MLflow run; a repeated step stands twice."""
        path = config.run_dir / "mlflow_id"
        try:
            with local_store(config.run_dir.resolve().parent), impatience():
                # unlike mlflow.start_run, the client records no user, git remote or command line
                self.client = mlflow.MlflowClient()
                found = self.client.get_experiment_by_name(EXPERIMENT)
                number = found.experiment_id if found else self.client.create_experiment(EXPERIMENT)
            if first_step == 0 or not path.exists():
                run = self.client.create_run(number, run_name=config.run_dir.name)
                path.write_text(run.info.run_id)
            self.run_id = path.read_text()
            self.record(tomllib.loads(to_toml(config)))
        # the server; the database, its library, its folder
        except (mlflow.MlflowException, SQLAlchemyError, ImportError, OSError) as error:
            remedy = f"check MLFLOW_TRACKING_URI, or delete {path} to begin a new MLflow run"
            # on one line, and without the password of an address
            fact = re.sub(r"//[^/@ ]*@", "//", " ".join(str(error).split()))
            leave_if([(f"mlflow: {fact}", remedy)], status=1)

    def record(self, settings: dict[str, object]) -> None:
        """The settings as parameters, which MLflow never changes; as tags where they changed."""
        data = self.client.get_run(self.run_id).data
        params, tags = [], []
        for name, value in settings.items():
            if name not in data.params:
                params.append(Param(name, str(value)))
            elif name in data.tags or data.params[name] != str(value):
                tags.append(RunTag(name, str(value)))
        self.client.log_batch(self.run_id, params=params, tags=tags)
        self.client.update_run(self.run_id, "RUNNING")

    def log(self, step: int, values: dict[str, float]) -> None:
        """Take the numbers of a step; a step with a validation comes twice."""
        now, metrics = time.time_ns() // 10**6, []
        for name, value in values.items():
            group = "" if name.startswith("val_") else "train/"
            metrics.append(Metric(group + name.replace("val_", "val/", 1), value, now, step))
        # in a thread: the store takes 24 ms, and one that does not answer must not end the training
        self.client.log_batch(self.run_id, metrics, synchronous=False)

    def close(self) -> None:
        """Write what is left."""
        mlflow.flush_async_logging()
        try:
            self.client.set_terminated(self.run_id)
        except mlflow.MlflowException as error:  # the training itself is done, and well
            print(f"mlflow: the end of the run is not recorded: {error}", flush=True)


@contextmanager
def impatience() -> Iterator[None]:
    """For a server that does not answer: it is known after 20 seconds, which MLflow makes minutes.

    Only as the run begins: later, metrics wait beside the training for a server to come back.
    """
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    unset = [name for name in limits if name not in os.environ]
    os.environ.update({name: limits[name] for name in unset})
    try:
        yield
    finally:
        for name in unset:
            del os.environ[name]


@contextmanager
def local_store(folder: Path) -> Iterator[None]:
    """Without MLFLOW_TRACKING_URI: set mlflow.db in the folder, and keep other runs out meanwhile.

    Two runs that come first at the same time would both make its tables (7 seconds), and fail.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    if os.environ.get("MLFLOW_TRACKING_URI"):
        yield
        return
    mlflow.set_tracking_uri(f"sqlite:///{quote(str(folder / 'mlflow.db'))}")
    with (folder / ".mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
