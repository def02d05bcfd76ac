"""The loaders of a rank: batches of what is read."""

from functools import partial
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Sampler, default_collate

from config import Config
from engine.errors import leave_if
from engine.random_state import mix
from engine.reader import Collate, Numbers, Reader, ValReader, batched
from engine.workers import end_with_parent, start_forkserver


def build_loader(
    data: Reader | ValReader | Numbers,
    batches: Sampler[list[Any]],
    config: Config,
    stream: tuple[object, ...],
) -> DataLoader[Any]:
    """The loader of some data.

    stream tells the workers' random numbers apart: (rank, first micro-batch).
    """
    if config.workers:
        start_forkserver()
    return DataLoader(
        data,
        batch_sampler=batches,
        collate_fn=partial(batched, data.collate),
        num_workers=config.workers,
        # a worker forked from a process with CUDA and threads can hang
        multiprocessing_context="forkserver" if config.workers else None,
        worker_init_fn=end_with_parent,
        persistent_workers=config.workers > 0,
        pin_memory=torch.cuda.is_available(),
        # its own: the loader would draw from the global one, and a resumed dropout would differ
        generator=torch.Generator().manual_seed(mix(config.seed, *stream)),
    )


def build_val_loader(
    dataset: Any, config: Config, rank: int, world_size: int, collate: Collate = default_collate
) -> DataLoader[Any]:
    """Give this rank's part of the validation data: every sample on one rank, none twice."""
    data = ValReader(dataset, config, collate)
    if len(dataset) == 0:
        remedy = "return at least one sample from build_datasets in data.py"
        leave_if([("the validation data is empty", remedy)])
    mine = range(rank, len(dataset), world_size)
    batches = BatchSampler(mine, config.micro_batch_size, drop_last=False)
    return build_loader(data, batches, config, ("validation", rank))
