"""The fastest loop that we can write by hand for one kind of data, on a project's network and GPUs.

torchrun --standalone --nproc-per-node 2 gpu_loop.py

It never waits for the device between two lines, has the next batch read and copied while the device
computes, and a fused AdamW. It is copied into a generated project, whose network, data and settings
it uses. It has no metrics, no exact division by the targets, no agreement of the ranks, no signals,
no resume, and reads random samples. Whoever makes it faster raises the goal.
"""

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

from config import Config
from data import build_datasets
from engine import distributed
from engine.settings import parse
from model import build_model


def main(config: Config) -> None:
    """Train as the settings say, and print the loss on rank 0."""
    device = torch.device("cuda", dist.get_node_local_rank())
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", device_id=device)
    distributed.set_precision(config)
    torch.manual_seed(config.seed)
    net = build_model(config).to(device)
    model = DistributedDataParallel(distributed.compiled(net, config), gradient_as_bucket_view=True)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    batches = Batches(config, device)
    inputs, targets = batches.read()
    for step in range(1, config.steps + 1):
        with torch.autocast("cuda", torch.bfloat16, config.precision == "bf16"):
            scores = model(inputs)
            loss = nn.functional.cross_entropy(scores.float().flatten(0, -2), targets.flatten())
        inputs, targets = batches.read()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        if step % config.log_every == 0:
            value = loss.item()
            if dist.get_rank() == 0:
                print(f"step {step}  loss {value:.5g}", flush=True)
    dist.destroy_process_group()


class Batches:
    """Random samples, read at once: the rows of tensors, or windows of a file of tokens."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.data: Any = build_datasets(config)[0]
        self.size, self.device = config.micro_batch_size, device

    def read(self) -> list[Tensor]:
        """The next batch, on its way to the device."""
        if isinstance(self.data, TensorDataset):
            rows = torch.randint(len(self.data), (self.size,))
            parts = [tensor[rows] for tensor in self.data.tensors]
        else:
            length = self.data.context + 1
            begins = torch.randint(len(self.data.tokens) - length, (self.size, 1)).numpy()
            windows = self.data.tokens[begins + np.arange(length)].astype(np.int64)
            tokens = torch.from_numpy(windows)
            parts = [tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()]
        return [part.pin_memory().to(self.device, non_blocking=True) for part in parts]


if __name__ == "__main__":
    main(parse())
