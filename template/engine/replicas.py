"""The ranks' copies of the network, which must be the same."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.errors import leave_if

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes


def share_buffers(net: nn.Module) -> None:
    """Give all ranks the buffers of rank 0: each has taken the means of its own batches.

    So batch norm does, and DDP shares them before a forward pass only. Every rank must call it.
    """
    for buffer in net.buffers() if dist.is_initialized() else ():
        dist.broadcast(buffer, src=0)


def check_replicas(net: nn.Module, step: int) -> None:
    """End the program on all ranks where a weight differs in a bit. Every rank must call it."""
    names = list(net.state_dict())
    sums = torch.stack([checksum(tensor) for tensor in net.state_dict().values()])
    # the highest sums, and the lowest ones with the sign turned
    extremes = torch.cat([sums, -sums])
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    high, low = extremes.chunk(2)
    differing = [
        name for name, same in zip(names, (high == -low).tolist(), strict=True) if not same
    ]
    if differing:
        fact = f"after step {step} the ranks differ in {len(differing)} of {len(names)} tensors"
        remedy = "train through `model`, not `net`; go on from the checkpoint before"
        leave_if([(f"{fact}, first in `{differing[0]}`", remedy)], status=1)


def checksum(tensor: Tensor) -> Tensor:
    """The sum of a tensor's bits, read as integers: int64[]."""
    flat = tensor.detach().reshape(-1)
    return flat.view(INTEGERS[flat.element_size()]).sum(dtype=torch.int64)
