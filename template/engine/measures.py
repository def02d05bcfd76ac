"""What is logged of the sums: the loss, and what metrics in model.py makes; and which is best."""

import math
import re
from collections.abc import Callable
from typing import Any

from torch import Tensor

from engine.errors import leave_if
from engine.hints import METRICS

Metrics = Callable[[dict[str, Tensor]], dict[str, Any]]  # of model.py
Best = tuple[str, str]  # of model.py: the name of a metric, and whether it is good low or high
NAME = re.compile(r"[\w./:-]+", re.ASCII)  # which the terminal and all trackers take
# what else stands in a line, or would after `val_`
TAKEN = {"step", "loss", "lr", "grad_norm", "samples", "samples_per_second", "targets_per_second"}
TAKEN |= {"peak_memory_mib"}


def measure(metrics: Metrics, best: Best, sums: dict[str, Tensor]) -> dict[str, float]:
    """The loss and each metric of the sums of all ranks, float64 on the CPU.

    Ends the program where metrics gives what cannot be logged, or none of the name in BEST.
    """
    loss = sums["loss"].item() / (sums["targets"].item() or math.nan)
    try:
        found = metrics(sums)
    except Exception as error:
        error.add_note(METRICS)
        raise
    leave_if(problems(found, best), status=1)
    return {"loss": loss, **{name: float(value) for name, value in found.items()}}


def problems(found: Any, best: Best) -> list[tuple[str, str]]:
    """What of metrics cannot be logged, and whether BEST names one of them: (fact, remedy) each."""
    gives = "metrics in model.py gives"
    if not isinstance(found, dict):
        remedy = 'return numbers by name there: {"accuracy": sums["correct"] / sums["targets"]}'
        return [(f"{gives} {type(found).__name__}, and no dict", remedy)]
    wrong = []
    for name, value in found.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            wrong.append((f"{gives} a `{name}`", "use letters, digits and any of _ . / : - alone"))
        elif name in TAKEN or name.startswith("val_"):
            fact = f"{gives} `{name}`, a name that a line has or may have already"
            wrong.append((fact, "give it another name there, without val_"))
        if not is_number(value):
            shape = list(getattr(value, "shape", ())) or ""
            fact = f"{gives} as `{name}` a {type(value).__name__} {shape}".strip()
            wrong.append((f"{fact}, and not one number", "give a number for each name there"))
    names = ["loss", *map(str, found)]
    if best[0] not in names:
        fact = f"BEST in model.py names `{best[0]}`, and metrics gives none of that name"
        wrong.append((fact, f"name one of {', '.join(names)} there, without val_"))
    return wrong


def is_number(value: object) -> bool:
    """Whether it is one real number, or a tensor of one."""
    if isinstance(value, (str, bytes)):
        return False
    try:
        float(value)  # type: ignore[arg-type]  # whether it can is the question
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def check_best(best: Any) -> None:
    """End the program where BEST is not a name and a way. Every rank must call it."""
    if not (isinstance(best, tuple) and len(best) == 2 and best[1] in ("low", "high")):
        fact = f"BEST in model.py is `{best}`, and not a name and whether that is good low or high"
        leave_if([(fact, 'write BEST = "loss", "low" there, or BEST = "accuracy", "high"')], 1)


def score(value: object, best: Best) -> float:
    """A metric as a number of which lower is better; infinite where it is none."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return math.inf
    return value if best[1] == "low" else -value


def finite(values: dict[str, float]) -> dict[str, float]:
    """Those that are numbers."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
