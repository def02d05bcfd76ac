"""The network and its loss. Replace them with yours."""

from typing import Any

from torch import Tensor, nn

from config import Config
from data import Batch


def build_model(config: Config, new: bool = False) -> nn.Module:
    """float32[B, 1, 8, 8] -> float32[B, 10], one score per digit.

    new: whether a run begins. Read pre-trained weights only then: one that goes on has its own in
    its checkpoint, and so has predict.py.
    """
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
        nn.Dropout(config.dropout),
        nn.Linear(2 * width * 2 * 2, 10),
    )


def loss_sums(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """Sums over the batch, numbers or tensors of any shape: "loss" (cross-entropy) and "targets".

    Sums and not means: those of all ranks are added, and the loss is divided once, by the targets
    of the whole global batch, so that the result does not depend on how that was shared out. Any
    other sums are for `metrics`. Without item(), which would wait for the device. `model` is the
    network as it is wrapped for training: call it, and let forward give what else the loss needs.
    """
    images, digits = batch
    scores = model(images).float()
    loss = nn.functional.cross_entropy(scores, digits, reduction="sum")
    correct = (scores.argmax(dim=1) == digits).sum()
    return {"loss": loss, "targets": len(digits), "correct": correct}


def metrics(sums: dict[str, Tensor]) -> dict[str, float]:
    """What is logged beside the loss; from the sums of all ranks, as float64 on the CPU."""
    return {"accuracy": float(sums["correct"] / sums["targets"])}


# what makes the best checkpoint: "loss" or a metric, of the validation; and when it is good
BEST = "loss", "low"
