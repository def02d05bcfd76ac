"""What every rank needs and no method owns: launch variables, threads, compiling, its end."""

import logging
import math
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from config import Config
from engine import launcher, peers, signals, variables, watchdog
from engine.errors import leave_if
from engine.replicas import ready
from engine.resources import cores, threads_are_set


def join_launcher(local_rank: int = 0, world_size: int = 1, port: int = 0) -> None:
    """Set the variables that torchrun sets, in a process that no launcher started.

    By default they make a run of this one process. With a port, somebody holds a store there.
    What another launch has left counts for nothing, or ends the program (variables.py).
    """
    leave_if(variables.problems(), status=1)
    if "LOCAL_RANK" in os.environ:
        return
    os.environ.setdefault(variables.LAUNCHER, str(os.getpid()))  # this one, where there is no other
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
        left = f"of an older launch: unset LOCAL_RANK {variables.TORCHRUN} {variables.LAUNCHER}"
        remedy = f"python train.py --devices 2, which nothing else starts; {left}"
        leave_if([("train.py starts its processes itself", remedy)])
    leave_if(variables.profiled())
    os.environ[variables.LAUNCHER] = str(os.getpid())
    signals.deafen()  # the ranks that are started now, too, until they can answer
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    return dist.TCPStore(
        "127.0.0.1",
        port,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


def wait_for(ranks: mp.ProcessContext, store: dist.TCPStore, config: Config) -> None:
    """Wait for the ranks that this process has started, and say how one ended that could not."""
    launcher.wait_for(ranks, store, config)


def prepare(config: Config) -> None:
    """Make this process a good rank, one of those on this machine: threads, output, its end."""
    if not threads_are_set():
        torch.set_num_threads(max(1, cores() // config.processes))
    set_precision(config)
    # Lightning reports from every rank that it has started; warnings still come through
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # but this is how Fabric says which of the processes it started has died
    logging.getLogger("lightning.fabric.strategies.launchers").setLevel(logging.INFO)
    launcher.end_with_launcher()


def set_precision(config: Config) -> None:
    """Let products of float32 be what `precision` says, TF32 or float32; bf16 is autocast's."""
    tf32 = config.precision == "tf32"
    with warnings.catch_warnings():
        # of both lines; but torch.compile reads these settings, and refuses a mixture
        warnings.filterwarnings(
            "ignore", "Please use the new API settings to control TF32 behavior"
        )
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        # else convolutions are in TF32 whatever was asked for
        torch.backends.cudnn.set_flags(_allow_tf32=tf32)


def compiled(net: nn.Module, config: Config) -> nn.Module:
    """The network, compiled if the settings say so. It shares the weights of the bare `net`.

    Ends the program where it holds what cannot be trained. Every rank must call it.
    Not by net.compile(): that leaves a network whose class is torch's, as nn.Sequential, as it is.
    """
    ready(net)
    if not config.compile:
        return net
    faster = torch.compile(net)
    assert isinstance(faster, nn.Module), "torch gives a module for a module"
    return faster


@contextmanager
def gradients_on_this_stream(net: nn.Module) -> Iterator[None]:
    """Let what sums the gradients of each weight be of this stream, whoever wraps the network.

    It works on the stream where it was made first, and is kept by what wraps the network: on
    another stream each gradient would take a way around, of which torch warns.
    """
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    functions = [weight.view_as(weight).grad_fn for weight in weights]
    kept = [function.next_functions for function in functions if function is not None]
    yield
    del kept


def end(*models: nn.Module) -> None:
    """Leave the other ranks, all together. Every rank must call it; models: wrapped networks.

    gloo's threads let go of tensors after a rank has their result, and need the interpreter for it.
    One that is late meets its end: torch waits for it with the interpreter locked, forever, where
    DDP is the last to hold the process group; or it aborts a program that is already leaving.
    """
    # or a rank still at work would find the others gone; a barrier() of NCCL warns of its device
    dist.all_gather_object([None] * dist.get_world_size(), None)
    peers.part()
    time.sleep(0.1)  # the interpreter is free meanwhile
    for part in (part for model in models for part in model.modules()):
        if isinstance(part, DistributedDataParallel):
            part.__dict__.update(reducer=None, logger=None, process_group=None)
    dist.destroy_process_group()
    watchdog.progress(math.inf)  # what a team does from here on may take as long as it likes
