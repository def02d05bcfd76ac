"""What all ranks agree on after a step: that its numbers are good, and whether the run goes on."""

import math
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from config import Config
from engine import peers, run_state, signals, watchdog
from engine.culprit import Case, Finding, advice, in_batches
from engine.errors import is_first, leave_if
from engine.sums import Sums, Totals

Unread = tuple[int, Tensor, torch.cuda.Event | None]  # a step, what it says, when that has come


class Stop:
    """Whether the run ends after a step, by its settings or because a rank was asked to stop.

    What a step says is copied from the device without waiting, and read when the next step is on
    its way there: so a device always has work. All ranks read the same at the same step, or they
    would part. A step that is logged, validated, saved or the last is read at once, with those
    before it: nothing doubtful is saved.
    """

    def __init__(self, config: Config) -> None:
        check_ranks(config)
        self.config, self.request = config, signals.StopRequest()
        self.every = config.log_every, config.validate_every, config.checkpoint_every
        self.unread: list[Unread] = []  # of two steps at most
        peers.meet()  # whoever is gone from now on is missed

    @property
    def asked(self) -> bool:
        """Whether this rank was asked to stop."""
        return self.request.received

    def after(
        self,
        step: int,
        totals: Totals,
        grad_norm: Tensor,
        net: nn.Module,
        loss_sums: Callable[[nn.Module, Any], Sums],
        loader: DataLoader[Any],
    ) -> bool:
        """Whether the run ends after this step, the same on all ranks. Every rank must call it.

        totals: reduced over the ranks, with whether each was asked to stop; grad_norm: float[].
        Where the loss or the gradient is no number, the program ends, on all ranks together and
        with nothing saved. Then the network, its loss and the data are asked again which sample it
        was.
        """
        run_state.found.clear()  # a run that was over goes on
        says = torch.cat([totals.rows.flatten(), grad_norm.reshape(1)])
        says = says.to("cpu", non_blocking=True)  # from a GPU: into pinned memory
        come = torch.cuda.Event() if totals.flat.is_cuda else None
        if come is not None:
            come.record(torch.cuda.current_stream(totals.device))
        self.unread.append((step, says, come))
        last = step == self.config.steps
        at_once = last or any(step % every == 0 for every in self.every)
        asked = False
        while len(self.unread) > (0 if at_once or asked else 1):
            case = Case(net, loss_sums, loader, self.config)
            asked = self.read(*self.unread.pop(0), case) or asked
        if asked and not last and is_first():
            print(f"asked to stop: saving step {step}; start again to go on", flush=True)
        return asked or last

    def read(self, step: int, says: Tensor, come: torch.cuda.Event | None, case: Case) -> bool:
        """Whether a rank was asked to stop in this step; ends the program where it went wrong."""
        if come is not None:
            come.synchronize()
        watchdog.progress()
        *row, norm = says.tolist()
        found = {f"loss of step {step} on rank {rank}": loss for rank, loss in enumerate(row[::3])}
        found[f"gradient of step {step}"] = norm
        wrong = [(name, value) for name, value in found.items() if not math.isfinite(value)]
        if wrong:
            name, value = wrong[0]
            cause, remedy = why(step, row[::3], row[1::3], case)
            fact = f"the {name} is {value}{cause and f': {cause}'}"
            folder = self.config.run_dir
            remedy = f"{remedy}; a new start goes on from the last checkpoint in {folder}"
            leave_if([(fact, remedy)], status=1)
        return any(row[2::3])


def check_ranks(config: Config) -> None:
    """End the program where other ranks have met than were asked for. Every rank must call it."""
    found, asked = dist.get_world_size(), config.processes * config.nodes
    remedy = "see how the program starts them, and what `scaffold doctor` says"
    leave_if([(f"ranks: {found}, asked for: {asked}", remedy)] if found != asked else [], 1)


def why(step: int, losses: list[float], targets: list[float], case: Case) -> Finding:
    """Why a loss, of each rank, or the gradient is no number, as far as that can be found.

    Every rank must call it, and gets the same.
    """
    if sum(targets) == 0:
        return "none of its samples has a target", "see what loss_sums in model.py counts"
    watchdog.progress(watchdog.START)  # for those who search, and for those who wait for them
    rank, world_size = dist.get_rank(), dist.get_world_size()
    case = replace(case, gradient=all(map(math.isfinite, losses)))
    found: list[Finding | None] = [None] * world_size
    mine = None
    # what cannot be read or computed again names no sample, and that is all
    with suppress(Exception):
        if case.gradient or not math.isfinite(losses[rank]):
            mine = in_batches(case, batches(step, rank, world_size, case))
    dist.all_gather_object(found, mine)
    return next(filter(None, found), ("", advice(case, "lower --lr")))


def batches(step: int, rank: int, world_size: int, case: Case) -> list[list[Any]]:
    """The samples that a rank has read for a step, pass after pass."""
    size, accumulate = case.config.micro_batch_size, case.config.accumulate(world_size)
    shares: Any = copy(case.loader.batch_sampler)
    shares.start = (step - 1) * accumulate
    # Accelerate gives each rank a block of them
    return [
        keys if len(keys) == size else keys[rank * size :][:size]
        for keys in islice(shares, accumulate)
    ]
