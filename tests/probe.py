"""Runs of a project whose data and network are probes (probe_data.py, probe_model.py)."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from conftest import ROOT, Result, launch, make

STEPS, STOPPED, BATCH = 12, 5, 12
FLAGS = [
    *("--steps", STEPS, "--global_batch_size", BATCH, "--micro_batch_size", 2, "--lr", 1e-3),
    *("--warmup_steps", 3, "--clip", 0.5, "--log_every", 1, "--validate_every", 4),
]  # fmt: skip


LISTEN = "0A"  # TCP_LISTEN of linux/net/tcp_states.h
# 127.0.0.1, ::1 and ::ffff:127.0.0.1; 0.0.0.0 and ::
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
ALL = {"00000000", "0" * 32}


@dataclass
class Run:
    """A run of the probe: how it ended, what it wrote, and what each rank recorded."""

    result: Result
    run_dir: Path
    records: list[dict[str, Any]]

    def __init__(self, project: Path, run_dir: Path, *flags: object, **more: Any) -> None:
        probe = run_dir.with_suffix(".probe")
        probe.unlink(missing_ok=True)
        flags = ("--run_dir", run_dir, *FLAGS, *flags)
        self.begin = time.monotonic()
        self.run_dir, self.result = run_dir, launch(project, *flags, PROBE=str(probe), **more)
        self.end = time.monotonic()
        lines = probe.read_text().splitlines() if probe.exists() else []
        self.records = [json.loads(line) for line in lines]

    def seconds(self) -> tuple[float, float]:
        """How long it took to come to the fault, and from there to the end."""
        (fault,) = (record["fault"] for record in self.records if "fault" in record)
        return fault - self.begin, self.end - fault

    def calls(self, training: bool) -> dict[int, list[dict[str, Any]]]:
        """What each rank recorded of its passes, in their order: {rank: records}."""
        found: dict[int, list[dict[str, Any]]] = {}
        for record in self.records:
            if record.get("training") == training:
                found.setdefault(record["rank"], []).append(record)
        return found

    def steps(self, validations: bool = False) -> list[list[dict[str, Any]]]:
        """The passes of all ranks that belong to a step, or to a validation, in turn."""
        calls = self.calls(training=not validations)
        # the ranks share a step evenly; of a validation rank r has the samples r, r + W, ...
        passes = {
            rank: -(-len(range(rank, 17, len(calls))) // 2)
            if validations
            else BATCH // 2 // len(calls)
            for rank in calls
        }
        count = len(calls[0]) // passes[0]
        return [
            [
                call
                for rank in sorted(calls)
                for call in calls[rank][passes[rank] * i :][: passes[rank]]
            ]
            for i in range(count)
        ]


def batched(calls: list[Any], size: int) -> list[list[Any]]:
    return [calls[begin : begin + size] for begin in range(0, len(calls), size)]


def numbers(step: list[dict[str, Any]]) -> list[int]:
    """The samples of a step, sorted."""
    return sorted(number for call in step for number in call["numbers"])


def make_probe(folder: Path, method: str) -> Path:
    make(folder, method, tracker="none")
    copyfile(ROOT / "tests/probe_data.py", folder / "data.py")
    text = (ROOT / "tests/probe_model.py").read_text()
    (folder / "model.py").write_text(text.replace("from probe_data ", "from data "))
    return folder


# what a team adds to train.py for a second network, an average of the weights, a state of its own
PARTS = {
    "import BEST, build_model,": "import BEST, Notes, average, rival_of, build_model,",
    "    parts = checkpoint.Parts(net, optimizer)": """
    ema, notes, rival = average(net), Notes(), rival_of(net)
    rival_optimizer = torch.optim.SGD(rival.parameters(), 0.1, momentum=0.9)
    WRAP
    both = {"net": optimizer, "rival": rival_optimizer}
    parts = checkpoint.Parts(net, both, rival=rival, ema=ema, notes=notes)""",
    "        optimizer.zero_grad()\n": """
        optimizer.zero_grad()
        loss = rival_model(torch.full((2, 2), step / 10, device=device)).square().sum()
        BACKWARD
        rival_optimizer.step()
        rival_optimizer.zero_grad()
        ema.update_parameters(net)
        notes.add(step, lr)
""",
}
DDP = "rival_model = DistributedDataParallel(rival)", "loss.backward()"
OWN = {  # what wraps a network and its optimizer, and what takes the gradients
    "spawn": DDP,
    "torchrun": DDP,
    "fabric": (
        "rival_model, rival_optimizer = fabric.setup(rival, rival_optimizer)",
        "fabric.backward(loss)",
    ),
    "accelerate": (
        "rival_model, rival_optimizer = accelerator.prepare(rival, rival_optimizer)",
        "accelerator.backward(loss)",
    ),
}


def give_parts(project: Path, method: str) -> Path:
    """Give a probe a second network with its optimizer, an average of its weights, and notes."""
    text = (project / "train.py").read_text()
    for line, added in PARTS.items():
        assert text.count(line) == 1, line
        text = text.replace(line, added.removeprefix("\n"))
    wrap, backward = OWN[method]
    text = text.replace("WRAP", wrap).replace("BACKWARD", backward)
    (project / "train.py").write_text(text)
    return project


@contextmanager
def disk_at(folder: Path, options: str = "") -> Iterator[Path]:
    """A file system of its own in a new folder, with options of tmpfs."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", *(["-o", options] if options else []), "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a file system")
    umount = ["umount", str(folder)]
    try:
        yield folder
    finally:
        wait_until(lambda: subprocess.run(umount, check=False).returncode == 0, 10)


def listening(pids: set[int]) -> set[str]:
    """The addresses at which these processes listen, as the kernel writes them, without ports.

    While two ranks train (torch 2.13): under spawn all sockets listen at 127.0.0.1. Under torchrun,
    fabric and accelerate gloo's do, where the machine's name stands for that address; but the store
    in which the ranks meet, that of torchrun's agent or of Fabric's rank 0, listens at `::`, on all
    networks. PyTorch has no setting for it: use a firewall.
    """
    inodes = set()
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                inodes.add(str(handle.readlink()))
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            words = row.split()
            if words[3] == LISTEN and f"socket:[{words[9]}]" in inodes:
                found.add(words[1].split(":")[0])
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter: it ended while it was read
        return False


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return set(map(int, children)).union(*(descendants(int(child)) for child in children))


def marked(mark: str) -> set[int]:
    """The running processes whose environment had this text in it when they were started.

    So a process is found that has lost its parent. Those of other users do not show theirs.
    """
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.add(int(path.parent.name))
    return found


def left_after(pids: set[int], seconds: float) -> set[int]:
    """Which of the processes still run after so many seconds; they are killed then."""
    wait_until(lambda: not any(map(alive, pids)), seconds)
    left = {pid for pid in pids if alive(pid)}
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return left


def wait_until(done: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Whether it came true within so many seconds; it is looked at every so many."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
