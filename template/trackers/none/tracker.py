"""Where metrics go beside metrics.jsonl: nowhere. Put your tracker here."""

from config import Config


class Tracker:
    """Made by rank 0 alone, when a run starts or goes on."""

    def __init__(self, config: Config, first_step: int) -> None:
        """Begin, or go on after first_step: what is known of later steps will be repeated."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Take the numbers of a step; a step with a validation comes twice."""

    def close(self) -> None:
        """Write what is left."""
