"""Which sample makes a loss or a gradient no number. It is read again: nothing is kept for this."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from config import Config
from engine import retention, storage
from engine.batch import parts, to_device
from engine.sums import Sums

Finding = tuple[str, str]  # what is wrong, and what to do
PROJECT = Path(__file__).parents[1]
HALF = re.compile(r"torch\.(float16|half)\b|\.half\(\)")


@dataclass(frozen=True)
class Case:
    """What is asked again."""

    net: nn.Module
    loss_sums: Callable[[nn.Module, Any], Sums]  # of model.py
    loader: DataLoader[Any]
    config: Config
    data: str = "training"
    gradient: bool = False  # whether it is the gradient that is no number, and not a loss


def in_batches(case: Case, batches: list[list[Any]]) -> Finding | None:
    """The first sample of a step that is no number, or that leads to none."""
    for keys in batches:
        if found := in_data(case, keys):
            return found
    if not renewed(case):
        return None
    bad = [keys for keys in batches if wrong(case, case.loader.collate_fn(items(case, keys)))]
    # where all of them are bad it is for no sample
    return in_loss(case, bad[0]) if bad and (len(bad[0]) > 1 or len(bad) < len(batches)) else None


def in_data(case: Case, keys: list[Any]) -> Finding | None:
    """The first sample of a batch that holds what is no number."""
    for key, item in zip(keys, items(case, keys), strict=True):
        for part in parts(case.loader.collate_fn([item])):
            if isinstance(part, Tensor) and not finite(part):
                value = "nan" if part.isnan().any() else "inf"
                return f"{name(case, key)} holds {value}", "mend it, or leave it out in data.py"
    return None


def finite(part: Tensor) -> bool:
    """Whether all are numbers, as far as torch can tell: not of sparse ones and of float8."""
    with suppress(RuntimeError):  # NotImplementedError is one
        return bool(part.isfinite().all())
    return True


def in_loss(case: Case, keys: list[Any]) -> Finding | None:
    """The first sample of a batch whose loss or gradient is no number, where not all are so."""
    each = [wrong(case, case.loader.collate_fn([item])) for item in items(case, keys)]
    bad = [(key, why) for key, why in zip(keys, each, strict=True) if why]
    if not bad or len(bad) == len(keys) > 1:
        return None
    remedy = advice(case, "see what loss_sums in model.py makes of it, or leave it out in data.py")
    return f"{name(case, bad[0][0])} has {bad[0][1]}", remedy


def items(case: Case, keys: list[Any]) -> list[Any]:
    """The samples of a batch as they were read."""
    dataset: Any = case.loader.dataset
    found: list[Any] = dataset.__getitems__(keys)
    return found


def name(case: Case, key: Any) -> str:
    return f"sample {key[1] if isinstance(key, tuple) else key} of the {case.data} data"


def wrong(case: Case, batch: Any) -> str | None:
    """What the network makes of a batch, where that is no number."""
    weights = [weight for weight in case.net.parameters() if weight.requires_grad]
    device = weights[0].device
    with torch.set_grad_enabled(case.gradient):
        with torch.autocast(device.type, torch.bfloat16, case.config.precision == "bf16"):
            sums = case.loss_sums(case.net, to_device(batch, device))
        loss, targets = sums["loss"], sums["targets"]
        if not loss.isfinite():
            return f"a loss of {loss.item()}{'' if targets else ', and no target'}"
        if case.gradient:
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            if not all(found.isfinite().all() for found in gradients if found is not None):
                return "a gradient that is no number"
    return None


def renewed(case: Case) -> bool:
    """Whether the network has weights that are numbers again; the run ends, and trains no more.

    Those of the last checkpoint, or without one new ones.
    """
    case.net.eval()
    for module in case.net.modules():
        if callable(renew := getattr(module, "reset_parameters", None)):
            renew()
    for _, folder in retention.steps(case.config.run_dir / "checkpoints")[-1:]:
        path = folder / storage.STATE
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        case.net.load_state_dict(state["model"])
    return all(bool(weight.isfinite().all()) for weight in case.net.parameters())


def advice(case: Case, otherwise: str) -> str:
    """What to do. Where the project computes in float16, that may be the cause as well."""
    texts = (path.read_text(errors="replace") for path in PROJECT.glob("*.py"))
    half = any(weight.dtype == torch.float16 for weight in case.net.parameters())
    if half or any(map(HALF.search, texts)):
        return f"leave float16, which ends at 65504, for --precision bf16; or {otherwise}"
    return otherwise
