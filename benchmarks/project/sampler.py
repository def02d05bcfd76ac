"""What the order of the samples costs: seconds and memory until a rank has its first batch.

Each measurement is a process of its own, on a project's sampler or on torch's DistributedSampler.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import Comparison, Pair, compare
from project.step import make

ROUNDS = 5
LARGE, MEDIUM = 10**9, 10**6
# as far as the memory of 24 GiB goes: 10^8 samples take 5 GB on each rank
SIZES = (10**4, 10**5, 10**6, 10**7)

OURS = """
from engine.sampler import ShardedBatches
batches = ShardedBatches({samples}, 32, rank=0, world_size=8, seed=0, start={start})
"""
THEIRS = """
from torch.utils.data import BatchSampler, DistributedSampler
sampler = DistributedSampler(range({samples}), num_replicas=8, rank=0, seed=0)
batches = BatchSampler(sampler, 32, drop_last=True)
"""
MEASURE = """
import resource, sys, time, torch
sys.path.insert(0, ".")
import config, data
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.perf_counter()
{code}
next(iter(batches))
seconds = time.perf_counter() - begin
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(seconds, max(1, (after - before) / 1024))
"""


def comparisons() -> list[Comparison]:
    """Ours at 10^9 samples beside 10^6, and beside DistributedSampler; seconds, then MiB."""
    with TemporaryDirectory(prefix="scaffold-bench-") as folder:
        project = make("torchrun", Path(folder, "torchrun"))

        def cost(code: str, samples: int, start: int, kind: int) -> Callable[[], float]:
            program = MEASURE.format(code=code.format(samples=samples, start=start))
            return lambda: float(run(program, project).split()[kind])

        pairs = []
        for kind, unit in enumerate(("", ", MiB")):
            pairs += [
                Pair(
                    f"first batch of 10^9 / of 10^6 samples{unit}",
                    cost(OURS, LARGE, 0, kind),
                    cost(OURS, MEDIUM, 0, kind),
                    2,
                ),
                Pair(
                    f"seek to the middle of 10^9 / of 10^6 samples{unit}",
                    cost(OURS, LARGE, LARGE // 512, kind),
                    cost(OURS, MEDIUM, MEDIUM // 512, kind),
                    2,
                ),
                *(
                    Pair(
                        f"first batch / DistributedSampler, 10^{len(str(size)) - 1}{unit}",
                        cost(OURS, size, 0, kind),
                        cost(THEIRS, size, 0, kind),
                    )
                    for size in SIZES
                ),
            ]
        return compare(pairs, ROUNDS, warm_up=True)


def run(program: str, folder: Path) -> str:
    """What a Python program prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=120
    ).stdout
