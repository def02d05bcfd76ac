"""The network and its loss. Replace them with yours."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear, scaled_dot_product_attention

from config import Config
from data import Batch


class GPT(nn.Module):
    """A transformer that reads bytes from left to right (Radford et al., 2019).

    int64[B, T] -> float32[B, T, 256], one score per byte that may follow.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.bytes = nn.Embedding(256, config.width)
        blocks = [Block(config) for _ in range(config.layers)]
        self.blocks, self.channels = nn.ModuleList(blocks), blocks[0].channels
        self.norm = nn.LayerNorm(config.width)
        # the scores begin with a variance of 1 for any width
        nn.init.normal_(self.bytes.weight, std=config.width**-0.5)

    def forward(self, text: Tensor) -> Tensor:
        x = self.bytes(text)
        turn = rotation(x.shape[1], self.channels, x.device)
        for block in self.blocks:
            x = block(x, turn)
        # tied: a byte has one vector, read here and scored there; one parameter, so saved once
        return linear(self.norm(x), self.bytes.weight)


class Block(nn.Module):
    """Attention, then a perceptron, each added to what it reads: [B, T, width] -> the same."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        # about one per 32 channels
        self.heads = next(n for n in range(max(1, width // 32), 0, -1) if width % n == 0)
        self.channels = width // self.heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        # no bias: a key's has next to no gradient, and Adam makes full steps of its rounding, so
        # that one rank and two differ by 1e-4 after 50 steps; without it by 1e-6
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)
        self.expand, self.shrink = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        x = x + self.dropout(self.project(self.attention(self.qkv(self.attention_norm(x)), turn)))
        change: Tensor = self.dropout(self.shrink(gelu(self.expand(self.mlp_norm(x)))))
        return x + change

    def attention(self, qkv: Tensor, turn: Tensor) -> Tensor:
        """What each byte takes from itself and those before: [B, T, 3 * width] -> [B, T, width]."""
        # [B, heads, T, channels] each
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(rotated(q, turn), rotated(k, turn), v, is_causal=True)
        return mixed.transpose(1, 2).flatten(2)


def rotation(length: int, channels: int, device: torch.device) -> Tensor:
    """The cosines and sines of angles that grow with the position: float32[2, T, C // 2]."""
    half = channels // 2
    speeds = 10_000 ** (-torch.arange(half, device=device) / max(1, half))
    angles = torch.outer(torch.arange(length, device=device), speeds)
    return torch.stack([angles.cos(), angles.sin()])


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """Pairs of channels, turned by the angles of a rotation: [..., T, C] -> the same.

    So attention sees how far apart two bytes are (Su et al., 2021, arxiv.org/abs/2104.09864).
    Learned positions are shorter, but their loss is 0.15 nats higher after 200 steps.
    """
    (cos, sin), half = turn.type_as(x), turn.shape[-1]
    low, high, rest = x.split([half, half, x.shape[-1] - 2 * half], dim=-1)  # rest: an odd channel
    return torch.cat([low * cos - high * sin, low * sin + high * cos, rest], dim=-1)


def build_model(config: Config, new: bool = False) -> nn.Module:
    """int64[B, T] -> float32[B, T, 256], one score per byte that may follow.

    new: whether a run begins. Read pre-trained weights only then: one that goes on has its own in
    its checkpoint, and so has predict.py.
    """
    return GPT(config)


def loss_sums(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """Sums over the batch, numbers or tensors of any shape: "loss" (cross-entropy) and "targets".

    Sums and not means: those of all ranks are added, and the loss is divided once, by the targets
    of the whole global batch, so that the result does not depend on how that was shared out. Any
    other sums are for `metrics`. Without item(), which would wait for the device. `model` is the
    network as it is wrapped for training: call it, and let forward give what else the loss needs.
    """
    text, following = batch
    scores = model(text).float().flatten(0, 1)
    targets = following.flatten()
    loss = cross_entropy(scores, targets, reduction="sum")
    correct = (scores.argmax(dim=1) == targets).sum()
    return {"loss": loss, "targets": len(targets), "correct": correct}


def metrics(sums: dict[str, Tensor]) -> dict[str, float]:
    """What is logged beside the loss; from the sums of all ranks, as float64 on the CPU."""
    return {"accuracy": float(sums["correct"] / sums["targets"])}


# what makes the best checkpoint: "loss" or a metric, of the validation; and when it is good
BEST = "loss", "low"
