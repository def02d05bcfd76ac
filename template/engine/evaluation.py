"""What the network is worth on data that it does not learn from."""

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from config import Config
from engine import watchdog
from engine.batch import to_device
from engine.culprit import Case, in_data, in_loss, name
from engine.replicas import share_buffers


def evaluate(
    net: nn.Module,
    loss_sums: Callable[[nn.Module, Any], Tensor],  # of model.py
    batches: DataLoader[Any],
    device: torch.device,
    config: Config,
) -> Tensor:
    """Sums over the batches of this rank: float64[4], (loss, correct, targets, samples).

    The ranks may have different numbers of batches: the bare network waits for nobody. Where a sum
    is no number it warns, and names the sample if it can.
    """
    share_buffers(net)
    net.eval()
    if config.workers:  # they start with the first validation
        watchdog.progress(watchdog.START)
    # a row per batch: the first that is no number is found without waiting for any
    rows = torch.zeros(len(batches), 4, dtype=torch.float64, device=device)
    read: Any = batches.batch_sampler
    with torch.no_grad():
        for row, batch, samples in zip(rows, batches, read, strict=True):
            with torch.autocast(device.type, torch.bfloat16, config.precision == "bf16"):
                row[:3].add_(loss_sums(net, to_device(batch, device)))
            row[3].fill_(len(samples))
            watchdog.progress()
        if not rows.isfinite().all():
            warn(rows, Case(net, loss_sums, batches, config, "validation"))
    net.train()
    return rows.sum(dim=0)


def warn(rows: Tensor, case: Case) -> None:
    """Tell which sample makes a row, float64[4] of a batch, no number."""
    bad = (~rows.isfinite().all(dim=1)).nonzero().flatten().tolist()
    samples: list[int] = next(islice(iter(case.loader.batch_sampler or ()), bad[0], None))
    found = None
    with suppress(Exception):  # what cannot be read or computed again names no sample
        found = in_data(case, samples) or in_loss(case, samples)
    where = f"the batch of {name(case, samples[0])}"
    fact, remedy = found or (f"{where} has a loss that is no number", "see loss_sums in model.py")
    more = f", and {len(bad) - 1} more batches are no numbers" if len(bad) > 1 else ""
    remedy += "; the run goes on, and this validation is not its best"
    # above the bar
    tqdm.write(f"warning: {fact}{more}\nhint: {remedy}", file=sys.stderr)
