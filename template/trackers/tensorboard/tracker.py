"""Where metrics go beside metrics.jsonl: TensorBoard. `tensorboard --logdir runs` shows them."""

from textwrap import indent

from torch.utils.tensorboard import SummaryWriter

from config import Config
from engine.settings import to_toml


class Tracker:
    """Made by rank 0 alone, when a run starts or goes on."""

    def __init__(self, config: Config, first_step: int) -> None:
        """Begin, or go on after first_step: what is known of later steps is hidden."""
        self.writer = SummaryWriter(str(config.run_dir), purge_step=first_step + 1)
        # four spaces make it code where TensorBoard shows Markdown
        self.writer.add_text("settings", indent(to_toml(config), "    "), first_step)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Take the numbers of a step; a step with a validation comes twice."""
        for name, value in values.items():
            group = "" if name.startswith("val_") else "train/"
            self.writer.add_scalar(group + name.replace("val_", "val/", 1), value, step)
        # otherwise the last two minutes are lost when the run is killed
        self.writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()
