"""The ranks' copies of the network, which must be the same, whatever a network may hold."""

import zlib
from io import BytesIO
from pickle import PickleError
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from engine.errors import leave_if

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes
EXTRA = "_extra_state"  # the name that torch gives to what get_extra_state of a layer returns
# what gloo does not send
ODD = {torch.uint16, torch.uint32, torch.uint64} | {
    kind for name, kind in vars(torch).items() if name.startswith("float8")
}


def ready(net: nn.Module) -> None:
    """Ready a network to be wrapped; ends the program where it holds what nobody can save or sum.

    Every rank must call it.
    """
    leave_if(problems(net))
    # these do not learn, and each rank has the same: DDP need not send them
    named = [*net.named_parameters(), *net.named_buffers()]
    ignored = [name for name, tensor in named if tensor.dtype in ODD]
    if ignored:
        net._ddp_params_and_buffers_to_ignore = ignored  # type: ignore[assignment]  # DDP reads it


def problems(net: nn.Module) -> list[tuple[str, str]]:
    """What of a network cannot be trained here: (fact, remedy) each."""
    found = []
    for name, layer in net.named_modules():
        kind = f"`{name}` ({type(layer).__name__})"
        if getattr(layer, "sparse", False) is True:
            remedy = "leave sparse=True out in model.py: neither DDP nor AdamW can use them"
            found.append((f"{kind} has sparse gradients", remedy))
        if any(map(is_lazy, layer.parameters(recurse=False))):
            remedy = "give it its sizes in model.py, or run a batch through it in build_model"
            found.append((f"{kind} does not know its sizes yet", remedy))
    if not found:
        extra = {name: part for name, part in net.state_dict().items() if name.endswith(EXTRA)}
        found = [
            (
                f"get_extra_state of `{name.removesuffix(EXTRA)[:-1]}` gives more than tensors, "
                "numbers and texts, and a checkpoint runs no code",
                "give these alone, in lists and dicts, in model.py",
            )
            for name, part in extra.items()
            if not loadable(part)
        ]
    return found


def loadable(part: Any) -> bool:
    """Whether a checkpoint may hold it: it is read without running code."""
    file = BytesIO()
    try:
        torch.save(part, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except (PickleError, AttributeError, TypeError, RuntimeError):
        return False
    return True


def share_buffers(net: nn.Module) -> None:
    """Give all ranks the buffers of rank 0: each has taken the means of its own batches.

    So batch norm does, and DDP shares them before a forward pass only. Every rank must call it.
    """
    for buffer in net.buffers() if dist.is_initialized() else ():
        if buffer.dtype in ODD:
            numbers = buffer.reshape(-1).clone()
            dist.broadcast(numbers.view(torch.uint8), src=0)
            buffer.copy_(numbers.view(buffer.shape))
        else:
            dist.broadcast(buffer, src=0)


def check_replicas(net: nn.Module, step: int) -> None:
    """End the program on all ranks where a weight differs in a bit. Every rank must call it."""
    state = net.state_dict()
    names, device = list(state), next(net.parameters()).device
    sums = torch.stack([checksum(part).to(device) for part in state.values()])
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


def checksum(part: Any) -> Tensor:
    """The sum of the bits of all tensors in a part of a state, and of what stands beside: int64[].

    Bits are read as integers.
    """
    if isinstance(part, Tensor):
        flat = part.detach().reshape(-1)
        return flat.view(INTEGERS.get(flat.element_size(), torch.int64)).sum(dtype=torch.int64)
    if isinstance(part, dict):
        part = [*part.keys(), *part.values()]
    if isinstance(part, (list, tuple)):
        # their places count
        sums = [number * checksum(one).cpu() for number, one in enumerate(part, start=1)]
        return sum(sums, torch.tensor(len(sums)))
    return torch.tensor(zlib.crc32(repr(part).encode()))
