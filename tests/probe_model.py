"""The network of a project under test; PROBE_FAULT gives it the faults of real ones.

It stands for a user's own model.py.
"""

import asyncio
import os
import signal
import sys
import time
from multiprocessing import resource_tracker
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from config import Config
from probe_data import Batch, record

FAULT = os.environ.get("PROBE_FAULT", "")
# the call of loss_sums in which it shows: amid step 5, of two ranks
FAULT_CALL = int(os.environ.get("PROBE_CALL", 18))
PRETRAINED = os.environ.get("PROBE_PRETRAINED")  # some weights, in a file
FAULT_RANK = int(os.environ.get("PROBE_RANK", 1))
calls = 0


class Net(nn.Module):
    """float32[B, T] -> float32[B, T]; it notes the mean of what it has seen, as batch norm does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 8), nn.GELU(), nn.Linear(8, 1))
        self.dead = nn.Linear(1, 1) if FAULT in ("dead", "frozen") else nn.Identity()
        self.dead.requires_grad_(FAULT == "dead")
        self.kinds = Kinds() if FAULT == "kinds" else nn.Identity()
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        if self.training:
            self.seen = 0.9 * self.seen + 0.1 * values.detach().mean()
        scores: Tensor = self.kinds(self.layers(values.unsqueeze(-1)).squeeze(-1))
        return scores


class Kinds(nn.Module):
    """All that a layer may hold beside weights that learn; each call changes some of it."""

    halves: Tensor
    wave: Tensor
    small: Tensor
    turned: Tensor
    passing: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("halves", torch.ones(3, dtype=torch.float16))
        self.register_buffer("wave", torch.ones(3, dtype=torch.complex128))
        self.register_buffer("small", torch.ones((), dtype=torch.float8_e4m3fn))
        for kind in (torch.int16, torch.uint16, torch.uint32, torch.uint64):
            self.register_buffer(str(kind)[6:], torch.ones(3, dtype=kind))
        self.register_buffer("turned", torch.ones(2, 3).T)
        self.register_buffer("passing", torch.ones(3), persistent=False)
        self.frozen = nn.Parameter(torch.ones(3).to(torch.float8_e5m2), requires_grad=False)
        self.learned = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.shared = self.learned
        self.calls: dict[str, Any] = {"number": 0, "last": (torch.zeros(1), "none")}

    def get_extra_state(self) -> dict[str, Any]:
        return self.calls

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.calls = state

    def forward(self, scores: Tensor) -> Tensor:
        if self.training:
            number = self.calls["number"] + 1
            self.calls = {"number": number, "last": (torch.full((1,), float(number)), "some")}
            # each rank's own, until they are shared
            self.calls["rank"] = dist.get_rank()
            self.turned += dist.get_rank()
            self.wave *= 1 + 0.1j
            self.halves *= 0.9
        return scores * self.shared.abs().mean().to(scores.dtype)


class Notes:
    """A state beside the networks."""

    def __init__(self) -> None:
        self.rates: list[Tensor] = []

    def add(self, step: int, lr: float) -> None:
        own = step * dist.get_rank() if FAULT == "apart" else 0
        self.rates.append(torch.tensor(lr + own))

    def state_dict(self) -> dict[str, Any]:
        return {"rates": self.rates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rates = state["rates"]


def rival_of(net: nn.Module) -> nn.Module:
    """A second network, float32[B, 2] -> float32[B, 2], the same on each rank and in each start."""
    rival = nn.Linear(2, 2)
    nn.init.constant_(rival.weight, 0.5)
    nn.init.zeros_(rival.bias)
    return rival.to(next(net.parameters()).device)


def average(net: nn.Module) -> AveragedModel:
    """An average of the weights over the last steps; of float32, for others have no sums."""

    def mixed(old: Tensor, new: Tensor, _: Tensor | int) -> Tensor:
        return old.lerp(new, 0.1) if old.dtype is torch.float32 else new

    return AveragedModel(net, avg_fn=mixed, use_buffers=True)


def fail() -> None:
    """What befalls one rank and not the others; and when, by the clock that all share."""
    record(fault=time.monotonic())
    if os.environ.get("PROBE_CHILD") and os.fork() == 0:
        # not so multiprocessing's tracker, which would keep the streams of the test open
        if (tracker := getattr(resource_tracker._resource_tracker, "_fd", None)) is not None:
            os.close(tracker)
        record(child=os.getpid())
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        time.sleep(60)  # it holds the connections of this rank open
        os._exit(0)
    if FAULT.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, FAULT))
    if FAULT == "abort":  # as C++ does: of one thread, and not to be handled
        os.abort()
    if FAULT.startswith("exit"):
        os._exit(0 if FAULT == "exit 0" else 7)
    if FAULT == "cancel":  # no Exception
        raise asyncio.CancelledError("a task was cancelled")
    if FAULT == "raise":
        raise ValueError("a value that nobody expected")
    if FAULT == "leave":
        sys.exit()
    if FAULT == "hang":
        time.sleep(10**6)


def build_model(config: Config, new: bool = False) -> nn.Module:
    net = Net()
    if new and PRETRAINED:
        net.load_state_dict(torch.load(PRETRAINED), strict=False)
    return net


def loss_sums(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """Squared errors over the targets there are, not over the padding; and sums of many kinds."""
    global calls  # a probe counts
    calls += 1
    (numbers,), (values, targets, lengths) = batch.numbers, batch.text
    here = dist.get_rank() == FAULT_RANK and calls == FAULT_CALL
    if here:
        fail()
    if FAULT == "nan" and here:
        values = values * float("nan")
    if FAULT == "gradient" and here:  # a finite loss: the root of zero has no slope
        values = values + (next(model.parameters()).sum() * 0).abs().sqrt()
    if FAULT == "bypass":  # the wrapper that averages the gradients
        model = getattr(model, "module", model)
    scores = model(values).float()
    there = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
    errors = (scores - targets)[there]
    # whether each is positive, and whether the network thinks so
    is_so, thought = targets[there] > 0, scores.detach()[there] > 0
    table = torch.zeros(2, 2, device=values.device)
    table.index_put_((is_so.long(), thought.long()), table.new_ones(()), accumulate=True)
    sums = {
        "loss": (errors**2).sum(),
        "targets": there.sum(),
        "near": (errors.abs() < 0.1).sum(),
        "errors": errors.abs().sum(),
        "counts": torch.stack([is_so & thought, ~is_so & thought, is_so & ~thought]).sum(dim=1),
        "table": table,
        "texts": len(numbers),
    }
    training = torch.is_grad_enabled()
    seen = [float(buffer) for name, buffer in model.named_buffers() if name.endswith("seen")]
    record(
        training=training,
        numbers=numbers.tolist(),
        seen=None if training else seen[0],
        threads=torch.get_num_threads(),
        **{name: torch.as_tensor(value).tolist() for name, value in sums.items()},
    )
    return {**sums, "more": 1} if FAULT == "sums" and here else sums


def metrics(sums: dict[str, Tensor]) -> dict[str, Any]:
    """Of each kind that may be logged: floats, tensors of one number, integers."""
    hits, extra, missed = sums["counts"]
    return {
        "accuracy": sums["near"] / sums["targets"],
        "error": (sums["errors"] / sums["targets"]).reshape(1),
        "f1": 2 * hits / (2 * hits + extra + missed),
        **{f"table/{i}{j}": int(sums["table"][i, j]) for i in (0, 1) for j in (0, 1)},
        "texts": sums["texts"].item(),
    }


BEST = "loss", "low"
