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
    return torch.optim.AdamW(groups, lr=config.lr)


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


def scale_gradients(net: nn.Module, factor: Tensor) -> None:
    """Multiply all gradients by a factor: float64[]."""
    for parameter in net.parameters():
        if parameter.grad is not None:
            parameter.grad *= factor
