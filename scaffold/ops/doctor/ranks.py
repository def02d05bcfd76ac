"""Starts two processes that add their ranks up, as two ranks of a training do, and times it.

Run by `scaffold doctor` with the Python that trains. Prints JSON: the backend, the sum (3 for the
ranks 1 and 2) and the seconds that 10 sums of 4 MiB took.
"""

import json
import time
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

WAIT = timedelta(seconds=30)  # for each other
NUMBERS = 2**20  # float32: 4 MiB


def work(rank: int, port: int, results: Any) -> None:
    """Be a rank."""
    gpus = torch.cuda.device_count() >= 2
    device = torch.device("cuda", rank) if gpus else torch.device("cpu")
    backend = "nccl" if gpus else "gloo"
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=WAIT)
    dist.init_process_group(backend, store=store, rank=rank, world_size=2, timeout=WAIT)
    numbers = torch.full((NUMBERS,), float(rank + 1), device=device)
    dist.all_reduce(numbers)
    total = numbers[0].item()
    begin = time.perf_counter()
    for _ in range(10):
        dist.all_reduce(numbers)
    numbers.sum().item()
    if rank == 0:
        results.put({"backend": backend, "sum": total, "seconds": time.perf_counter() - begin})
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    results = mp.get_context("spawn").SimpleQueue()
    mp.spawn(work, (store.port, results), nprocs=2)
    print(json.dumps(results.get()))
