"""Where metrics go beside metrics.jsonl: Weights & Biases.

WANDB_MODE=offline keeps them in the run directory until `wandb sync RUN_DIR/wandb/offline-run-*`;
WANDB_PROJECT, WANDB_ENTITY and the like are heard.
"""

import os
import secrets
import tomllib
from pathlib import Path

# seconds; without it, a server that does not answer is known after 90
os.environ.setdefault("WANDB_INIT_TIMEOUT", "15")

import wandb

from config import Config
from engine.errors import leave_if
from engine.settings import to_toml

PROJECT = os.environ.get("WANDB_PROJECT") or Path(__file__).resolve().parent.name


class Tracker:
    """Made by rank 0 alone, when a run starts or goes on."""

    def __init__(self, config: Config, first_step: int) -> None:
        """Begin, or go on after first_step in the same W&B run; a repeated step stands twice."""
        path = config.run_dir / "wandb_id"
        if first_step == 0 or not path.exists():
            path.write_text(secrets.token_hex(4))
        try:
            # by default it also records the terminal, git, the command line and every SLURM_
            # variable, and SLURM_JWT is a token
            settings = wandb.Settings(
                console="off", quiet=True, disable_git=True, disable_code=True, x_disable_meta=True
            )
            self.run = wandb.init(
                project=PROJECT,
                id=path.read_text(),
                name=config.run_dir.name,
                dir=str(config.run_dir),
                config=tomllib.loads(to_toml(config)),
                resume="allow",
                settings=settings,
            )
        except (wandb.Error, ValueError) as error:  # the latter: a WANDB_ variable with no meaning
            # on one line, and without the value, which may be a key
            fact = " ".join(str(error).split()).split(" [type=")[0]
            remedy = "wandb login, correct the WANDB_ variables, or set WANDB_MODE=offline"
            leave_if([(f"wandb: {fact}", remedy)], status=1)
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
