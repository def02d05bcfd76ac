"""What every rank needs and no method owns: launch variables, threads, compiling, its end."""

import logging
import math
import os
import socket
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from config import Config
from engine import signals, watchdog
from engine.errors import is_first, leave_if


def join_launcher(local_rank: int = 0, world_size: int = 1, port: int = 0) -> None:
    """Set the variables that torchrun sets, in a process that no launcher started.

    By default they make a run of this one process. With a port, somebody holds a store there.
    """
    if "LOCAL_RANK" in os.environ:
        return
    os.environ |= {"RANK": str(local_rank), "LOCAL_RANK": str(local_rank)}
    os.environ |= {"WORLD_SIZE": str(world_size), "LOCAL_WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = str(port != 0)
    # all ranks are on this machine, and nobody else needs to reach them
    for backend in ("GLOO", "NCCL"):
        os.environ.setdefault(
            f"{backend}_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo"
        )


def open_store() -> dist.TCPStore:
    """A store on a free port in which the ranks of this machine find each other.

    Only this machine can reach it: the store has no password, and by itself it listens on all
    network interfaces. Ends the program where a launcher has started this process already.
    """
    if "LOCAL_RANK" in os.environ:
        leave_if([("train.py starts its processes itself", "python train.py --devices 2")])
    os.environ[signals.LAUNCHER] = str(os.getpid())
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    return dist.TCPStore(
        "127.0.0.1",
        port,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


def prepare(processes: int) -> None:
    """Make this process a good rank, one of so many on this machine: threads, output, its end."""
    if not threads_are_set():
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    # Lightning reports from every rank that it has started; warnings still come through
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # but this is how Fabric says which of the processes it started has died
    logging.getLogger("lightning.fabric.strategies.launchers").setLevel(logging.INFO)
    signals.end_with_launcher()


def threads_are_set() -> bool:
    """Whether the user has set OMP_NUM_THREADS. torchrun gives its ranks a 1 of its own."""
    name = "OMP_NUM_THREADS"
    try:
        launcher = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:  # not Linux
        return name in os.environ
    return name in os.environ and (
        "TORCHELASTIC_RUN_ID" not in os.environ or name.encode() in launcher
    )


def is_last(step: int, totals: Tensor, grad_norm: Tensor, config: Config) -> bool:
    """Whether the run ends after this step: by its settings, or because a rank was asked to stop.

    totals: float64[world_size, 4], each rank's sums of (loss, correct, targets) and whether it was
    asked to stop. Where the loss or the gradient is no number, the program ends here, on all ranks
    together and with nothing saved.
    """
    watchdog.progress()
    ranks = [rank for rank, loss in enumerate(totals[:, 0].tolist()) if not math.isfinite(loss)]
    value = totals[ranks, 0].sum().item() if ranks else grad_norm.item()
    if not math.isfinite(value):
        name = f"loss of step {step} on rank {ranks[0]}" if ranks else f"gradient of step {step}"
        remedy = f"lower --lr; a new start goes on from the last checkpoint in {config.run_dir}"
        leave_if([(f"the {name} is {value}", remedy)], status=1)
    requests = totals[:, 3].sum().item()
    if requests and step < config.steps and is_first():
        print(f"asked to stop: saving step {step}; start again to go on", flush=True)
    return step == config.steps or requests > 0


def compiled(net: nn.Module, config: Config) -> nn.Module:
    """The network, compiled if the settings say so. It shares the weights of the bare `net`.

    Not by net.compile(): that leaves a network whose class is torch's, as nn.Sequential, as it is.
    """
    if not config.compile:
        return net
    faster = torch.compile(net)
    assert isinstance(faster, nn.Module), "torch gives a module for a module"
    return faster


def end(model: nn.Module) -> None:
    """Leave the other ranks, all together. Every rank must call it; model: the wrapped network.

    gloo's threads let go of tensors after a rank has their result, and need the interpreter for it.
    One that is late meets its end: torch waits for it with the interpreter locked, forever, where
    DDP is the last to hold the process group; or it aborts a program that is already leaving.
    """
    dist.barrier()  # or a rank still at work would find the others gone
    time.sleep(0.1)  # the interpreter is free meanwhile
    for part in model.modules():
        if isinstance(part, DistributedDataParallel):
            part.__dict__.update(reducer=None, logger=None, process_group=None)
    dist.destroy_process_group()
