"""Train with native PyTorch DDP: this script starts one process per GPU (mp.spawn).

python train.py --devices 2
"""

from engine import interrupt  # isort: skip  # noqa: F401  # first: for Ctrl-C while the others load
from contextlib import nullcontext

import torch
import torch.distributed as dist

# isort: split
# what the method imports
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

# isort: split
from config import Config
from data import augment, build_datasets, collate
from engine import agreement, checkpoint, distributed, failures, profiling, signals
from engine.batch import to_device
from engine.check import report
from engine.dataloader import build_loader, build_val_loader
from engine.evaluation import evaluate
from engine.metrics import Log
from engine.random_state import seed_everything
from engine.reader import Reader
from engine.sampler import ShardedBatches
from engine.settings import parse
from engine.sums import Totals
from model import BEST, build_model, loss_sums, metrics
from optimizer import build_optimizer, scale_gradients, set_learning_rate
from tracker import Tracker


@failures.guarded
def main(config: Config) -> None:
    # ---- 1. processes: one per GPU, each knows its rank and its device
    distributed.prepare(config)
    # what takes long to load or to prepare keeps nobody waiting here
    train_set, val_set = build_datasets(config)
    # from here on nobody waits forever
    signals.watch()

    # NCCL between GPUs, gloo between CPUs
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", dist.get_node_local_rank()) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
    rank, world_size = dist.get_rank(), dist.get_world_size()

    # passes of each rank that make one optimizer step
    accumulate = config.accumulate(world_size)
    stop = agreement.Stop(config)  # a signal ends the run, two steps later at most
    # the run goes on where its newest checkpoint left it
    first_step, resumed, lowest = checkpoint.newest(config, BEST)

    # ---- 2. data: every rank reads its own share of each batch
    data, size = Reader(train_set, augment, config, collate), config.micro_batch_size
    start = first_step * accumulate
    # each rank has its share of a micro-batch: every world_size-th sample, or (Accelerate) a block
    shares = ShardedBatches(len(data), size, rank, world_size, config.seed, start)

    loader = build_loader(data, shares, config, (rank, start))
    # batches come one after the other and without end
    train_batches = iter(loader)

    val_batches = build_val_loader(val_set, config, rank, world_size, collate)

    # ---- 3. model: the same weights on every rank, then random numbers of its own (dropout)
    torch.manual_seed(config.seed)
    net = build_model(config, new=resumed is None).to(device)
    seed_everything(config.seed, rank)
    optimizer = build_optimizer(net, config)

    # `net` is the bare network; calling `model` also averages its gradients over the ranks
    model = DistributedDataParallel(distributed.compiled(net, config), gradient_as_bucket_view=True)

    # ---- 4. resume: weights, optimizer and random states
    parts = checkpoint.Parts(net, optimizer)  # and what else has a state, by name: ema=ema
    checkpoint.load(resumed, parts, config)
    log = Log(Tracker, metrics, BEST, config, rank, first_step, lowest)
    totals = Totals(device)  # of a step or a validation: what loss_sums gives, over all ranks

    for step in profiling.profiled(range(first_step + 1, config.steps + 1), config, rank):
        # ---- 5. train: one optimizer step
        lr = set_learning_rate(optimizer, step, config)
        totals.clear()
        for micro_step in range(accumulate):
            batch = to_device(next(train_batches), device)
            accumulating = micro_step < accumulate - 1

            # gradients are averaged over the ranks once per optimizer step, in its last pass
            with model.no_sync() if accumulating else nullcontext():
                # float32 or bfloat16, as the settings say
                with torch.autocast(device.type, torch.bfloat16, config.precision == "bf16"):
                    sums = loss_sums(model, batch)
                totals.add(sums, stop.asked)
                if not accumulating:
                    # over the ranks, while the last gradients are computed
                    summed = dist.all_reduce(totals.flat, async_op=True)
                # adds to .grad
                sums["loss"].backward()

        summed.wait()
        # from the mean of the ranks' sums to the mean over all targets of the step
        scale_gradients(optimizer, world_size / totals.targets)

        # L2 norm of the gradient, before it is clipped
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)

        optimizer.step()
        if config.check:
            report(config, net, loader, device)
        optimizer.zero_grad()
        last = stop.after(step, totals, grad_norm, net, loss_sums, loader)
        log.train(step, totals, lr, grad_norm)

        # ---- 6. validate: every sample once; no collectives inside, so shares may be uneven
        if step % config.validate_every == 0 or step == config.steps:
            evaluate(net, loss_sums, val_batches, totals, config)
            dist.all_reduce(totals.flat)
            log.validation(step, totals)

        # ---- 7. checkpoint: rank 0 writes, whole or not at all; the last ones and the best stay
        if step % config.checkpoint_every == 0 or log.improved or last:
            checkpoint.save(step, parts, config, log.validated, BEST, last)
        if last:
            break

    # ---- 8. end: all together, or a rank still at work would find the others gone
    log.close()
    distributed.end(model)


def start(local_rank: int, main: failures.Main, config: Config, port: int) -> None:
    """Give this process the variables that torchrun would have set, then train."""
    distributed.join_launcher(local_rank, config.processes, port)
    main(config)


def launch(main: failures.Main, config: Config) -> None:
    """Start the processes of this machine. They meet in a store that this one holds open."""
    store = distributed.open_store()
    ranks = mp.spawn(start, (main, config, store.port), config.processes, join=False)
    distributed.wait_for(ranks, store, config)


if __name__ == "__main__":
    # wrong settings end the program here, before any rank waits for another
    launch(main, parse())
