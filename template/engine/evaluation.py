"""What the network is worth on data that it does not learn from."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from config import Config
from engine import watchdog
from engine.batch import count, to_device
from engine.replicas import share_buffers


def evaluate(
    net: nn.Module,
    loss_sums: Callable[[nn.Module, Any], Tensor],  # of model.py
    batches: Iterable[Any],
    device: torch.device,
    config: Config,
) -> Tensor:
    """Sums over the batches of this rank: float64[4], (loss, correct, targets, samples).

    The ranks may have different numbers of batches: the bare network waits for nobody.
    """
    share_buffers(net)
    net.eval()
    if config.workers:  # they start with the first validation
        watchdog.progress(watchdog.START)
    totals = torch.zeros(4, dtype=torch.float64, device=device)
    with torch.no_grad():
        for batch in batches:
            with torch.autocast(device.type, torch.bfloat16, config.precision == "bf16"):
                totals[:3].add_(loss_sums(net, to_device(batch, device)))
            totals[3].add_(count(batch))
            watchdog.progress()
    net.train()
    return totals
