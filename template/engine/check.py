"""`--check`: one step, and what it did: sizes, shares, memory, parameters and their gradients."""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from config import Config
from engine.errors import leave_if
from engine.resources import peak_memory

SHOWN = 8  # samples of each rank


def report(config: Config, net: nn.Module, loader: Any, device: torch.device) -> None:
    """Print what one step did: sizes, shares, parameters, memory. Every rank must call it."""
    world_size = dist.get_world_size()
    # no more than the step's: some loaders read ahead
    mine = loader.dataset.read[: config.global_batch_size // world_size]
    told: list[Any] = [None] * world_size
    dist.all_gather_object(told, (mine, peak_memory(device)))
    parameters = dict(net.named_parameters())
    learning = {name: one for name, one in parameters.items() if one.requires_grad}
    without = [name for name, parameter in learning.items() if parameter.grad is None]
    if dist.get_rank() == 0:
        show(config, device, told, parameters, without)
    fact = f"the loss does not depend on {len(without)} parameters, so no rank gets their gradients"
    remedy = "use them in the forward pass, or remove them: every training step would wait for them"
    leave_if([(fact, remedy)] if without else [], status=1)


def show(
    config: Config,
    device: torch.device,
    told: list[Any],
    parameters: dict[str, nn.Parameter],
    without: list[str],
) -> None:
    """Print a report; told: (samples read, peak memory in MiB) of each rank."""
    world_size, size = len(told), config.micro_batch_size
    accumulate = config.accumulate(world_size)
    passes = f"{size} samples per rank and pass x {world_size} ranks x {accumulate} passes"
    print(f"check: global batch {config.global_batch_size} = {passes}")
    for rank, (samples, memory) in enumerate(told):
        shown = ", ".join(map(str, samples[:SHOWN])) + (", ..." if len(samples) > SHOWN else "")
        print(f"check: rank {rank} read {len(samples)} samples: {shown}; peak {memory:.0f} MiB")
    count = sum(parameter.numel() for parameter in parameters.values())
    frozen = sum(one.numel() for one in parameters.values() if not one.requires_grad)
    print(f"check: precision {config.precision}: {precision(config, device)}")
    learn = f", of which {count - frozen} learn and {frozen} do not" if frozen else ""
    print(f"check: {count} parameters in {len(parameters)} tensors{learn}")
    print(f"check: parameters without a gradient: {', '.join(without) or 'none'}", flush=True)


def precision(config: Config, device: torch.device) -> str:
    """In which numbers the products of the network are made on this device, in words."""
    if config.precision == "bf16":
        return "bfloat16 in the forward pass"
    if config.precision == "fp32":
        return "float32"
    known = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return "TF32" if known else "float32, for this device has no TF32"
