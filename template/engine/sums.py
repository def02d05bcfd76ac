"""What loss_sums of model.py gives, summed over the passes of a step and over the ranks."""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from engine.errors import leave_if

Sums = dict[str, Any]  # tensors and numbers by name; "loss" and "targets" are there
Layout = list[tuple[str, tuple[int, ...]]]  # names and shapes in their order
GIVES = "loss_sums in model.py gives"
FORM = 'return {"loss": loss, "targets": len(targets), "correct": correct} there'


class Totals:
    """Sums by name, of this rank, and when `flat` was added up over the ranks, of all.

    They lie in one tensor, float64[N], for one all-reduce: a row of each rank with its loss, its
    targets and one number more (whether it was asked to stop, or its samples in a validation), and
    behind these all other sums. Only the first `add` and `named` wait for anything.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.layout = device, Layout()
        self.arrange()

    def arrange(self) -> None:
        """Make the tensor, and what shows parts of it."""
        ranks = dist.get_world_size()
        rest = [(name, shape) for name, shape in self.layout if name not in ("loss", "targets")]
        sizes = [3 * ranks, *(math.prod(shape) for _, shape in rest)]
        self.flat = torch.zeros(sum(sizes), dtype=torch.float64, device=self.device)
        head, *parts = self.flat.split(sizes)
        self.rows = head.view(ranks, 3)
        self.mine = self.rows[dist.get_rank()]
        self.others = {
            name: part.view(shape) for (name, shape), part in zip(rest, parts, strict=True)
        }

    def clear(self) -> None:
        """Begin anew."""
        self.flat.zero_()

    def add(self, sums: Sums, more: float, row: Tensor | None = None) -> None:
        """Add the sums of a batch, and what is third in a row: this rank's, or one of float64[3].

        Ends the program where they cannot be added, or are others than before. In the first batch
        of a run the ranks compare theirs, and every rank must call it.
        """
        if not self.layout:
            self.compare(sums)
        elif (now := layout(sums)) != self.layout:
            fact = f"{GIVES} {told(now)}, and in the first step {told(self.layout)}"
            leave_if([(fact, "give the same for each batch: zeros where nothing is counted")], 1)
        loss, targets, third = self.mine if row is None else row
        third.add_(more)
        places = {"loss": loss, "targets": targets, **self.others}
        for name, value in sums.items():
            # a number is no copy to the device
            places[name].add_(value.detach() if isinstance(value, Tensor) else value)

    def compare(self, sums: Any) -> None:
        """Take names and shapes for those of the run, if they are the same on all ranks."""
        found: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(found, (problems(sums, self.device), layout(sums)))
        leave_if(next((wrong for wrong, _ in found if wrong), []), status=1)
        for rank, (_, here) in enumerate(found):
            if here != found[0][1]:
                fact = f"{GIVES} {told(here)} on rank {rank}, and {told(found[0][1])} on rank 0"
                leave_if([(fact, "give the same on each: zeros where nothing is counted")], 1)
        self.layout = layout(sums)
        self.arrange()

    @property
    def targets(self) -> Tensor:
        """The targets of all ranks: float64[]."""
        found: Tensor = self.rows[:, 1].sum()
        return found

    @property
    def samples(self) -> Tensor:
        """The samples of all ranks in a validation: float64[]."""
        found: Tensor = self.rows[:, 2].sum()
        return found

    def named(self) -> dict[str, Tensor]:
        """All sums as they are now: float64 on the CPU, in their order. Waits for the device."""
        sizes = [self.rows.numel(), *(part.numel() for part in self.others.values())]
        head, *parts = self.flat.to("cpu", copy=True).split(sizes)
        loss, targets, _ = head.view(-1, 3).sum(dim=0)
        found = {"loss": loss, "targets": targets, **dict(zip(self.others, parts, strict=True))}
        return {name: found[name].view(shape) for name, shape in self.layout}


def layout(sums: Any) -> Layout:
    """Names and shapes in their order; of what is no dict its own."""
    each = sums if isinstance(sums, dict) else {type(sums).__name__: sums}
    return [(str(name), tuple(getattr(value, "shape", ()))) for name, value in each.items()]


def told(found: Layout) -> str:
    return ", ".join(f"{name} {list(shape)}" if shape else name for name, shape in found)


def problems(sums: Any, device: torch.device) -> list[tuple[str, str]]:
    """What keeps sums from being added: (fact, remedy), the first alone."""
    if not isinstance(sums, dict):
        fact = f"{GIVES} a {told(layout(sums))}, and no sums by name"
        return [(fact, f"{FORM}; what is logged beside the loss is made by metrics(sums)")]
    if missing := [f"`{name}`" for name in ("loss", "targets") if name not in sums]:
        return [(f"{GIVES} no {' and no '.join(missing)}", FORM)]
    for name, value in sums.items():
        if not isinstance(name, str):
            return [(f"{GIVES} a sum whose name is `{name}`, and no text", FORM)]
        shape = tuple(getattr(value, "shape", ()))
        if shape and name in ("loss", "targets"):
            remedy = 'give their sum, as `.sum()` or reduction="sum" makes it'
            return [(f"{GIVES} a {name} of shape {list(shape)}, and not one number", remedy)]
        if name == "loss" and not (isinstance(value, Tensor) and value.requires_grad):
            remedy = "compute it from what model(...) gives, without detach() and item()"
            return [(f"{GIVES} a loss that has no gradient", remedy)]
        if why := cannot_add(value, shape, device):
            fact = f"{GIVES} `{name}`, which cannot be added: {why}"
            return [(fact, f"give a number, or a real tensor on {device.type}, where the loss is")]
    return []


def cannot_add(value: Any, shape: tuple[int, ...], device: torch.device) -> str:
    """Why a value cannot be added to float64 of this shape on a device; empty where it can."""
    if isinstance(value, Tensor):
        value = value.detach()
        if shape and value.device.type != device.type:
            return f"it is on {value.device.type}"
    try:
        torch.zeros(shape, dtype=torch.float64, device=device).add_(value)
    except (RuntimeError, TypeError) as error:
        return str(error).splitlines()[0]
    return ""
