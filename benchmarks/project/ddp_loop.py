"""The loop that a good engineer writes by hand: DDP and fused AdamW, on a project's network.

torchrun --standalone --nproc-per-node 2 ddp_loop.py
python ddp_loop.py                                       (starts its two processes itself)

It is copied into a generated project, whose network, data and settings it uses, and prints a line
every `log_every` steps, as the project does.
"""

import os
import random
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from config import Config
from data import Batch, augment, build_datasets
from engine import distributed
from engine.settings import parse
from model import build_model


def main() -> None:
    """Train as the settings say and print the loss on rank 0."""
    config = parse()
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", dist.get_node_local_rank()) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")

    train_set = Augmented(build_datasets(config)[0], config)
    sampler: DistributedSampler[Any] = DistributedSampler(train_set, seed=config.seed)
    loader: DataLoader[Any] = DataLoader(
        train_set, config.micro_batch_size, sampler=sampler, drop_last=True
    )
    batches = endless(loader, sampler)

    torch.manual_seed(config.seed)
    net = build_model(config).to(device)
    model = DistributedDataParallel(net, gradient_as_bucket_view=True)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    accumulate = config.global_batch_size // (config.micro_batch_size * dist.get_world_size())

    for step in range(1, config.steps + 1):
        for micro_step in range(accumulate):
            images, digits = next(batches)
            accumulating = micro_step < accumulate - 1
            with model.no_sync() if accumulating else nullcontext():
                scores = model(images.to(device, non_blocking=True))
                loss = nn.functional.cross_entropy(scores, digits.to(device, non_blocking=True))
                (loss / accumulate).backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        if step % config.log_every == 0:
            value = loss.item()
            if dist.get_rank() == 0:
                print(f"step {step}  loss {value:.5g}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


class Augmented(Dataset[Any]):
    """The data as training reads it, by chance each time."""

    def __init__(self, dataset: Any, config: Config) -> None:
        self.dataset, self.config = dataset, config

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, sample: int) -> Any:
        return augment(self.dataset[sample], random.getrandbits(32), self.config)


def endless(loader: DataLoader[Any], sampler: DistributedSampler[Any]) -> Iterator[Batch]:
    """Batches of this rank, epoch after epoch, each in another order."""
    epoch = 0
    while True:
        sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def start(local_rank: int, port: int) -> None:
    """Be one of the two processes that no launcher started."""
    distributed.join_launcher(local_rank, 2, port)
    main()


if __name__ == "__main__":
    if "RANK" in os.environ:
        main()
    else:
        store = distributed.open_store()
        mp.spawn(start, (store.port,), nprocs=2)
