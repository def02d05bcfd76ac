"""Where metrics go beside metrics.jsonl: Weights & Biases.

WANDB_MODE=offline keeps them in the run directory until `wandb sync RUN_DIR/wandb/offline-run-*`;
WANDB_PROJECT, WANDB_ENTITY and the like are heard.
"""

import os
import secrets
import tomllib
from pathlib import Path

import wandb

from config import Config
from settings import leave_if, to_toml

PROJECT = os.environ.get("WANDB_PROJECT") or Path(__file__).resolve().parent.name


class Tracker:
    """Made by rank 0 alone, when a run starts or goes on."""

    def __init__(self, config: Config, first_step: int) -> None:
        """Begin, or go on after first_step in the same W&B run; a repeated step stands twice."""
        path = config.run_dir / "wandb_id"
        if first_step == 0 or not path.exists():
            path.write_text(secrets.token_hex(4))
        # by default it also records the terminal, git, the command line and every SLURM_ variable,
        # and SLURM_JWT is a token
        settings = wandb.Settings(
            console="off", quiet=True, disable_git=True, disable_code=True, x_disable_meta=True
        )
        try:
            self.run = wandb.init(
                project=PROJECT,
                id=path.read_text(),
                name=config.run_dir.name,
                dir=str(config.run_dir),
                config=tomllib.loads(to_toml(config)),
                resume="allow",
                settings=settings,
            )
        except wandb.Error as error:
            leave_if([(f"wandb: {error}", "wandb login, or set WANDB_MODE=offline")], status=1)
        # wandb's own step may only grow: a run that goes on would lose the steps it repeats
        self.run.define_metric("*", step_metric="step")

    def log(self, step: int, values: dict[str, float]) -> None:
        """Take the numbers of a step; a step with a validation comes twice."""
        row: dict[str, float] = {"step": step}
        for name, value in values.items():
            group = "" if name.startswith("val_") else "train/"
            row[group + name.replace("val_", "val/", 1)] = value
        self.run.log(row)

    def close(self) -> None:
        """Write what is left."""
        self.run.finish()
