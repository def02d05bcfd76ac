"""Which samples does each rank see? Started like train.py, with the loader that training uses.

torchrun --standalone --nproc-per-node 2 shares.py
"""

from engine import begin  # isort: skip  # noqa: F401  # first: for Ctrl-C while the others load
import math

import torch
import torch.distributed as dist

# isort: split
# what the method imports; torchrun: nothing

# isort: split
from config import Config
from engine import agreement, distributed
from engine.dataloader import build_loader
from engine.reader import Numbers
from engine.sampler import ShardedBatches
from engine.settings import parse

SAMPLES = 20  # in the data, numbered from 0
BATCH_SIZE = 10  # samples per rank and step


def main(config: Config) -> None:
    # ---- 1. processes: one per GPU, each knows its rank and its device
    distributed.prepare(config)

    # NCCL between GPUs, gloo between CPUs
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", dist.get_node_local_rank()) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
    rank, world_size = dist.get_rank(), dist.get_world_size()

    # as many ranks as were asked for
    agreement.check_ranks(config)

    # ---- 2. data: every rank reads its own share of each batch
    data, size = Numbers(SAMPLES), BATCH_SIZE
    start = 0
    # each rank has its share of a micro-batch: every world_size-th sample, or (Accelerate) a block
    shares = ShardedBatches(len(data), size, rank, world_size, config.seed, start, shuffle=False)

    loader = build_loader(data, shares, config, (rank, start))
    # batches come one after the other and without end
    train_batches = iter(loader)

    # ---- 3. shares: until every sample was read once; the last step goes on with the next epoch
    for step in range(1, 1 + math.ceil(SAMPLES / (size * world_size))):
        mine: torch.Tensor = next(train_batches)
        shown: list[list[int]] = [[] for _ in range(world_size)]
        dist.all_gather_object(shown, mine.tolist())
        for other in range(world_size if rank == 0 else 0):
            print(f"step {step} rank {other}:", ", ".join(map(str, shown[other])), flush=True)

    # ---- 4. end: all together, or a rank still at work would find the others gone
    distributed.end()


if __name__ == "__main__":
    distributed.join_launcher()  # without a launcher: this process alone
    main(parse(sizes=False))
