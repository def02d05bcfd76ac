"""The network, its loss, its optimizer and its learning rate. Replace them with yours."""

import math

import torch
from torch import Tensor, nn

from config import Config
from data import Batch


def build_model(config: Config) -> nn.Module:
    """float32[B, 1, 8, 8] -> float32[B, 10], one score per digit."""
    width = config.width
    return nn.Sequential(
        # smooth functions: ReLU or a max pool turn the rounding that differs between one rank
        # and two into weights that differ by 0.1 after 200 steps, these into 2e-6
        nn.Conv2d(1, width, kernel_size=3, padding=1),
        nn.GELU(),
        nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Conv2d(2 * width, 2 * width, kernel_size=3, padding=1),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * 2 * 2, 10),
    )


def loss_sums(model: nn.Module, batch: Batch) -> Tensor:
    """Sums over the batch: float32[3], (cross-entropy, correct answers, targets).

    Sums and not means: the ranks' sums are added and divided once, by the number of targets of
    the whole global batch, so that the result does not depend on how the batch was shared out.
    """
    images, digits = batch
    scores = model(images).float()
    loss = nn.functional.cross_entropy(scores, digits, reduction="sum")
    correct = (scores.argmax(dim=1) == digits).sum()
    return torch.stack([loss, correct.float(), loss.new_tensor(len(digits))])


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
