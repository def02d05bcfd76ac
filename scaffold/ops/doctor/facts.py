"""Prints what a Python knows of torch, its GPUs and libraries, as JSON.

And what came of two processes that add up, as two ranks of a training do. Run by `scaffold doctor`
with the Python that trains, which need not have scaffold; its argument is engine/resources.py of
the template. One file, for PYTHONSAFEPATH hides the others; and torch is loaded once, which takes
most of the time.
"""

from __future__ import annotations  # also a Python that is too old tells that it is

import json
import os
import platform
import runpy
import signal
import sys
import time
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("torch", "numpy", "tqdm", "tyro", "lightning", "accelerate")
WAIT, STORE_WAIT = 30, 5  # seconds that the two processes have, and that a port has
NUMBERS = 2**20  # float32: 4 MiB


def packages() -> dict[str, str | None]:
    """The version of each package that a project needs or may; None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in (*PACKAGES, *sys.argv[2:]):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def torch_facts() -> dict[str, Any]:
    """What torch was built for and what it sees."""
    import torch
    import torch.distributed as dist

    seen = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
    return {
        "cuda": torch.version.cuda,
        "available": torch.cuda.is_available(),
        "gpus": [
            {
                "name": torch.cuda.get_device_name(i),
                "gib": round(torch.cuda.get_device_properties(i).total_memory / 2**30, 1),
                "peers": [j for j in seen if j != i and torch.cuda.can_device_access_peer(i, j)],
            }
            for i in seen
        ],
        "gloo": dist.is_available() and dist.is_gloo_available(),
        "nccl": ".".join(map(str, torch.cuda.nccl.version()))
        if dist.is_available() and dist.is_nccl_available()
        else None,
    }


def cores(resources: str) -> dict[str, int]:
    """All cores, those that affinity allows, and those that a run counts."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    total = os.cpu_count() or 1
    return {
        "all": total,
        "affinity": len(affinity(0)) if affinity else total,
        "used": runpy.run_path(resources)["cores"](),
    }


def work(rank: int, ports: Any, results: Any) -> None:
    """Be a rank."""
    import torch
    import torch.distributed as dist

    wait = timedelta(seconds=WAIT)
    gpus = torch.cuda.device_count() >= 2
    device = torch.device("cuda", rank) if gpus else torch.device("cpu")
    backend = "nccl" if gpus else "gloo"
    store = dist.TCPStore("127.0.0.1", ports.get(), is_master=False, timeout=wait)
    dist.init_process_group(backend, store=store, rank=rank, world_size=2, timeout=wait)
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


def start_ranks() -> tuple[Any, Any]:
    """(two processes at work, the queue of what they tell)."""
    import torch.distributed as dist
    import torch.multiprocessing as mp

    # forked they have torch already; none may have looked for a GPU before
    method = "fork" if sys.platform == "linux" else "spawn"
    context = mp.get_context(method)
    ports, results = context.SimpleQueue(), context.SimpleQueue()
    ranks = mp.start_processes(work, (ports, results), nprocs=2, join=False, start_method=method)
    # only now: it has a thread. It lives as long as somebody has it
    wait = timedelta(seconds=STORE_WAIT)
    try:
        ranks.store = dist.TCPStore("127.0.0.1", 0, None, True, wait, wait_for_workers=False)
    except dist.DistError:
        end(ranks)
        return ranks, None
    for _ in range(2):
        ports.put(ranks.store.port)
    return ranks, results


def end(ranks: Any) -> None:
    for process in ranks.processes:
        process.kill()


def result_of(ranks: Any, results: Any) -> dict[str, Any]:
    """The backend, the sum (3 for the ranks 1 and 2), and the seconds that 10 sums of 4 MiB took.

    `error` where they could not.
    """
    if results is None:
        return {"error": f"127.0.0.1 gave no answer in {STORE_WAIT} s: is the loopback device up?"}
    until = time.monotonic() + WAIT
    try:
        while not ranks.join(max(0, until - time.monotonic())):
            if time.monotonic() >= until:
                end(ranks)
                return {"error": f"no answer in {WAIT} s"}
    except Exception as error:  # what a rank has raised, or its signal
        return {"error": str(error).strip().splitlines()[-1]}
    told: dict[str, Any] = results.get()
    return told


def facts() -> dict[str, Any]:
    """All of it; `error` in the place of what torch knows where it cannot be imported."""
    told: dict[str, Any] = {"python": platform.python_version(), "executable": sys.executable}
    told["packages"] = packages()
    try:
        ranks, results = start_ranks()
        told |= {"torch": torch_facts(), "cores": cores(sys.argv[1])}
    except Exception as error:  # a library that is missing, or of another machine
        reason = [*str(error).splitlines(), ""][0]
        return told | {"torch": {"error": f"{type(error).__name__}: {reason}"}}
    return told | {"ranks": result_of(ranks, results)}


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # scaffold holds some; a rank is ended by one
    print(json.dumps(facts()))
