"""The ranks' copies of the network, which must be the same, whatever a network may hold."""

import zlib
from io import BytesIO
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from engine.errors import leave_if
from engine.state import simple

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes
EXTRA = "_extra_state"  # the name that torch gives to what get_extra_state of a layer returns
IGNORED = "_ddp_params_and_buffers_to_ignore"  # where DDP looks for names
# what gloo and NCCL send; all else goes as bytes
SENT = {torch.uint8, torch.int8, torch.int32, torch.int64, torch.bfloat16, torch.float16}
SENT |= {torch.float32, torch.float64, torch.bool, torch.complex64, torch.complex128}


def ready(net: nn.Module) -> None:
    """Ready a network to be wrapped; ends the program where it holds what cannot be trained so.

    Every rank must call it.
    """
    leave_if(problems(net))
    # these do not learn, and each rank has the same: DDP need not send them
    named = [*net.named_parameters(), *net.named_buffers()]
    names = {name for name, tensor in named if tensor.dtype not in SENT}
    names |= {f"_orig_mod.{name}" for name in names}  # as torch.compile calls them
    ignored: Any = [*getattr(net, IGNORED, ()), *names]
    if names:
        setattr(net, IGNORED, ignored)


def problems(net: nn.Module) -> list[tuple[str, str]]:
    """What of a network cannot be trained here: (fact, remedy) each."""
    found = []
    for name, layer in net.named_modules():
        if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)) and layer.sparse:
            remedy = "leave sparse=True out in model.py: neither DDP nor AdamW can use them"
            found.append((f"`{name}` ({type(layer).__name__}) has sparse gradients", remedy))
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):
        if is_lazy(tensor):
            remedy = "give its layer the sizes in model.py, or run a batch in build_model"
            found.append((f"`{name}` has no size yet", remedy))
        elif not plain(tensor):
            remedy = "in model.py, add .to_dense(), .resolve_conj() or .clone() where it is made"
            fact = f"`{name}` is sparse, or a view that is conjugated or expanded"
            found.append((fact, remedy))
    if not found:
        extra = {name: part for name, part in net.state_dict().items() if name.endswith(EXTRA)}
        found = [
            (
                f"`{name}`, of get_extra_state, holds more than tensors, numbers and texts, and a "
                "checkpoint runs no code",
                "give these alone in model.py, or lists, tuples and dicts of them",
            )
            for name, part in extra.items()
            if not simple(part)
        ]
    return found


def plain(tensor: Tensor) -> bool:
    """Whether each number of a tensor has a place of its own, which others can read."""
    if tensor.layout is not torch.strided or tensor.is_conj() or tensor.is_neg():
        return False
    return not any(
        stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
    )


def share_buffers(net: nn.Module) -> None:
    """Give all ranks the buffers of rank 0: each has taken the means of its own batches.

    So batch norm does, and DDP shares them before a forward pass only. And what get_extra_state of
    a layer gives, as it would come back from a checkpoint. Every rank must call it.
    """
    for buffer in net.buffers() if dist.is_initialized() else ():
        numbers = buffer.contiguous().view(-1)
        dist.broadcast(numbers if buffer.dtype in SENT else numbers.view(torch.uint8), src=0)
        if numbers.data_ptr() != buffer.data_ptr():
            buffer.copy_(numbers.view(buffer.shape))
    for layer in net.modules() if dist.is_initialized() else ():
        if type(layer).get_extra_state is not nn.Module.get_extra_state:
            torch.save(layer.get_extra_state(), file := BytesIO())
            sent = [file.getvalue()]
            dist.broadcast_object_list(sent, src=0)
            if dist.get_rank() != 0:
                layer.set_extra_state(torch.load(BytesIO(sent[0]), map_location="cpu"))


def compare(state: dict[str, Any], device: torch.device, step: int) -> None:
    """End the program on all ranks where a state differs in a bit. Every rank must call it."""
    names = list(state)
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
        remedy = (
            "train through `model`, not `net`, and give all ranks the same in Parts of train.py"
        )
        remedy += "; go on from the checkpoint before"
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
