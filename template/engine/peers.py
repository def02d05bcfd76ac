"""The other ranks of this machine: that one is gone, and how it ended, as soon as it has.

gloo and NCCL see it late; and not at all while a process that the rank has forked lives on and
holds its connections open.
"""

import os
import select
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as threads

import torch.distributed as dist

from engine import signals

EXIT_CODE = 52  # of /proc/PID/stat, counted from 1 (proc_pid_stat(5))
# Lightning's, which kills this process, too, within 5 s and without a word about its cause
OBSERVER = "child-process-observer"


class Peers(Thread):
    """Waits for the end of another rank, and tells it once."""

    def __init__(self, on_loss: Callable[[str], None]) -> None:
        super().__init__(name="peers", daemon=True)
        self.on_loss, self.loss, self.lost = on_loss, "", Event()
        self.handles: dict[int, tuple[int, int]] = {}  # {handle: (rank, pid)}

    def begin(self, pids: dict[int, int]) -> None:
        """Watch these processes: {rank: pid}."""
        with suppress(OSError, AttributeError):  # Linux 5.3 and later can do it
            self.handles = {handle(pid): (rank, pid) for rank, pid in pids.items()}
            self.start()
            for thread in threads():
                if thread.name == OBSERVER:
                    vars(thread)["_run"] = lambda: True  # it has seen enough

    def run(self) -> None:
        poll = select.poll()
        for handle in self.handles:
            poll.register(handle, select.POLLIN)
        rank, pid = self.handles[poll.poll()[0][0]]
        how = ending(pid)
        if self in watching:
            self.loss = f"rank {rank} {how}"
            self.lost.set()
            self.on_loss(self.loss)


watching: list[Peers] = []  # the one of this process, until the ranks part


def start(on_loss: Callable[[str], None]) -> None:
    """Call a function, in a thread, when a rank that this one has met is gone."""
    watching[:] = [Peers(on_loss)]


def meet() -> None:
    """Get to know the other ranks of this machine. Every rank must call it."""
    found: list[tuple[str, int]] = [("", 0)] * dist.get_world_size()
    dist.all_gather_object(found, (machine(), os.getpid()))
    here, others = found[dist.get_rank()], set(range(len(found))) - {dist.get_rank()}
    pids = {rank: found[rank][1] for rank in sorted(others) if found[rank][0] == here[0]}
    for peers in watching if pids else ():
        peers.begin(pids)


def part() -> None:
    """Take no further notice of the others: from now on they may leave."""
    watching.clear()


def end() -> None:
    """End the other ranks of this machine that this one has met."""
    others = [handle for peers in watching for handle in peers.handles]
    part()
    for other in others:
        with suppress(OSError):
            signal.pidfd_send_signal(other, signal.SIGKILL)


def loss(seconds: float) -> str:
    """Which rank is gone and how it ended, if that is known within so many seconds."""
    for peers in watching:
        peers.lost.wait(seconds if peers.handles else 0)
        return peers.loss
    return ""


def handle(pid: int) -> int:
    """What can be read as soon as a process has ended."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:  # it has ended since the ranks have met
        return os.open(os.devnull, os.O_RDONLY)


def machine() -> str:
    """What is the same for processes that see each other under the same number."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def ending(pid: int) -> str:
    """How a process ended, which can be read until its parent has asked for it."""
    with suppress(OSError, IndexError, ValueError):
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        if words[0] in "ZX":
            return describe(os.waitstatus_to_exitcode(int(words[EXIT_CODE - 3])))
    return "ended without a word"


def describe(exit_code: int) -> str:
    """How a process ended, of its exit code: negative, where a signal has ended it."""
    if exit_code >= 0:
        return f"left with status {exit_code} and without a word"
    return f"was ended by {signals.name(-exit_code)}"
