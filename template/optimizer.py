"""The optimizer, its learning rate, and what is done to the gradients before its step."""

import math

import torch
from torch import Tensor, nn

from config import Config


def build_optimizer(net: nn.Module, config: Config) -> torch.optim.Optimizer:
    """AdamW; only weight matrices decay, biases and scales do not."""
    matrices = [parameter for parameter in net.parameters() if parameter.dim() >= 2]
    others = [parameter for parameter in net.parameters() if parameter.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    # one kernel for all weights, where there is one that can read them
    fused = all(has_kernel(parameter) for parameter in net.parameters() if parameter.requires_grad)
    return torch.optim.AdamW(groups, lr=config.lr, fused=fused or None)


def has_kernel(weight: Tensor) -> bool:
    """Whether AdamW's fused kernels take it: real, and dense, which the CPU's does not check."""
    dense = torch.empty_like(weight).stride() == weight.stride()
    return weight.device.type in ("cpu", "cuda") and weight.is_floating_point() and dense


def learning_rate(step: int, config: Config) -> float:
    """The learning rate of optimizer step 1, 2, ...: a linear warm-up, then half a cosine to 0."""
    peak = max(1, config.warmup_steps)
    if step <= peak:
        return config.lr * step / peak
    done = (step - peak) / max(1, config.steps - peak + 1)
    return config.lr * 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, config: Config) -> float:
    """Give the optimizer the learning rate of a step, and return it.

    No scheduler object: there is nothing to save, and nothing to step once per rank.
    """
    lr = learning_rate(step, config)
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


def scale_gradients(optimizer: torch.optim.Optimizer, factor: Tensor) -> None:
    """Multiply the gradients of all weights by a factor: float64[]."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    found = [weight.grad for weight in weights if weight.grad is not None]
    for dtype in {gradient.dtype for gradient in found}:  # a factor of another one is slow on GPUs
        torch._foreach_mul_([g for g in found if g.dtype == dtype], factor.to(dtype))
