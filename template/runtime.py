"""What every rank needs and no method owns: launch variables, seeds, threads, metrics, progress."""

import json
import logging
import os
import random
import socket
import time
import zlib
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from config import Config, leave_if


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


def open_store() -> dist.TCPStore:
    """A store on a free port in which the ranks of this machine find each other.

    Only this machine can reach it: the store has no password, and by itself it listens on all
    network interfaces. Ends the program where a launcher has started this process already.
    """
    if "LOCAL_RANK" in os.environ:
        leave_if([("train.py starts its processes itself", "python train.py --devices 2")])
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
    """Give each of this machine's processes its part of the cores, and keep libraries quiet."""
    if "OMP_NUM_THREADS" not in os.environ:  # the user has not decided
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    # Lightning reports from every rank that it has started; warnings still come through
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)


def mix(*parts: object) -> int:
    """A seed made of all parts, 0..2**32 - 1: torch's generator on a CPU takes no more bits."""
    return zlib.crc32(repr(parts).encode())


def seed_everything(*parts: object) -> None:
    """Seed the random generators of this process from all parts together."""
    random.seed(mix(*parts))
    torch.manual_seed(mix(*parts))


class Log:
    """metrics.jsonl, one object per line, and the same on the terminal; rank 0 alone writes.

    A run that goes on removes the lines of the steps it is about to repeat.
    """

    def __init__(self, config: Config, rank: int, first_step: int) -> None:
        self.rank, self.batch_size = rank, config.global_batch_size
        if rank != 0:
            return
        config.run_dir.mkdir(parents=True, exist_ok=True)
        if first_step < config.steps:
            (config.run_dir / "config.toml").write_text(config.to_toml())
        path = config.run_dir / "metrics.jsonl"
        lines = kept_lines(path, first_step)
        path.write_text("".join(lines))
        self.file = path.open("a")
        # on a terminal a bar, elsewhere plain lines
        self.bar = tqdm(total=config.steps, initial=first_step, unit="step", disable=None)
        self.mark = first_step, time.perf_counter()
        if first_step >= config.steps:
            self.say(f"{config.run_dir} is done with its {first_step} steps; more: --steps N")
        elif first_step:
            self.say(f"{config.run_dir} goes on after step {first_step}")

    def train(self, step: int, totals: Tensor, lr: float, grad_norm: Tensor) -> None:
        """One line about a training step, with the speed since the line before."""
        if self.rank == 0:
            loss, _, targets = totals.tolist()
            values = {"loss": loss / targets, "lr": lr, "grad_norm": grad_norm.item()}
            # the clock is read last: tolist() has waited for the device
            seconds = time.perf_counter() - self.mark[1]
            speed = (step - self.mark[0]) * self.batch_size / seconds
            self.write(step, **values, samples_per_second=round(speed, 1))

    def validation(self, step: int, totals: Tensor) -> None:
        """One line about a validation; totals: float64[3], (loss, correct, targets), all ranks'."""
        if self.rank == 0:
            loss, correct, targets = totals.tolist()
            values = {"val_loss": loss / targets, "val_accuracy": correct / targets}
            self.write(step, **values, val_samples=int(targets))

    def write(self, step: int, **values: float) -> None:
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        self.file.flush()
        text = f"step {step}  " + "  ".join(f"{name} {value:.5g}" for name, value in values.items())
        self.bar.update(step - self.bar.n)
        self.say(text)
        self.mark = step, time.perf_counter()

    def say(self, text: str) -> None:
        """One line on the terminal, above the bar."""
        self.bar.clear()
        print(text, flush=True)
        self.bar.refresh()

    def close(self) -> None:
        if self.rank == 0:
            self.file.close()
            self.bar.close()


def kept_lines(path: Path, last_step: int) -> list[str]:
    """The lines of metrics.jsonl up to a step; what a crash left half written is dropped."""
    kept = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            if json.loads(line)["step"] <= last_step:
                kept.append(f"{line}\n")
        except (ValueError, KeyError, TypeError):
            print(f"dropped from {path}: {line[:60]}", flush=True)
    return kept
