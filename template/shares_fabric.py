"""Which samples does each rank see? Started like train.py, with the loader that training uses.

python shares.py --devices 2
"""

from engine import begin  # isort: skip  # noqa: F401  # first: for Ctrl-C while the others load
import math

import torch
import torch.distributed as dist

# isort: split
# what the method imports; torchrun: nothing
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.fabric.strategies import DDPStrategy

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
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        strategy=DDPStrategy(gradient_as_bucket_view=True),
        devices=config.processes,
        num_nodes=config.nodes,
        plugins=LightningEnvironment(),  # not what Slurm or MPI say: the settings decide
    )
    fabric.launch()
    rank, world_size = fabric.global_rank, fabric.world_size

    # as many ranks as were asked for
    agreement.check_ranks(config)

    # ---- 2. data: every rank reads its own share of each batch
    data, size = Numbers(SAMPLES), BATCH_SIZE
    start = 0
    # each rank has its share of a micro-batch: every world_size-th sample, or (Accelerate) a block
    shares = ShardedBatches(len(data), size, rank, world_size, config.seed, start, shuffle=False)

    loader = build_loader(data, shares, config, (rank, start))
    # batches come one after the other and without end
    train_batches = iter(
        fabric.setup_dataloaders(loader, use_distributed_sampler=False, move_to_device=False)
    )

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
    main(parse(sizes=False))
