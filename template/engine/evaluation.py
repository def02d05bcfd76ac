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
from engine.sums import Sums, Totals


def evaluate(
    net: nn.Module,
    loss_sums: Callable[[nn.Module, Any], Sums],  # of model.py
    batches: DataLoader[Any],
    totals: Totals,  # of the training, which knows what loss_sums gives
    config: Config,
) -> None:
    """Let the totals be those of the batches of this rank, with the number of samples.

    The ranks may have different numbers of batches: the bare network waits for nobody. Where a loss
    is no number it warns, and names the sample if it can.
    """
    share_buffers(net)
    net.eval()
    if config.workers:  # they start with the first validation
        watchdog.progress(watchdog.START)
    totals.clear()
    device = totals.device
    # (loss, targets, samples) per batch: the first that is no number is found without waiting
    rows = torch.zeros(len(batches), 3, dtype=torch.float64, device=device)
    read: Any = batches.batch_sampler
    with torch.no_grad():
        for row, batch, samples in zip(rows, batches, read, strict=True):
            with torch.autocast(device.type, torch.bfloat16, config.precision == "bf16"):
                sums = loss_sums(net, to_device(batch, device))
            totals.add(sums, len(samples), row)
            watchdog.progress()
        if not rows.isfinite().all():
            warn(rows, Case(net, loss_sums, batches, config, "validation"))
    net.train()
    totals.mine.add_(rows.sum(dim=0))


def warn(rows: Tensor, case: Case) -> None:
    """Tell which sample makes a row, float64[3] of a batch, no number."""
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
