"""Runs programs side by side and compares what they cost, pair by pair."""

import os
import signal
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from threading import Timer


@dataclass(frozen=True)
class Pair:
    """Two programs that do the same work; each call runs one and gives what it cost, in seconds."""

    name: str
    ours: Callable[[], float]
    theirs: Callable[[], float]
    target: float | None = None  # the largest ratio we allow ourselves


@dataclass(frozen=True)
class Comparison:
    """What came out for one pair."""

    pair: Pair
    costs: list[tuple[float, float]]  # (ours, theirs), seconds, one per round

    def __add__(self, more: "Comparison") -> "Comparison":
        """What came out for the pair in these rounds and in more."""
        return Comparison(self.pair, self.costs + more.costs)

    def row(self) -> list[str]:
        """The cells of the table: name, ratio of the totals, min and max, target, seconds."""
        ratios = [ours / theirs for ours, theirs in self.costs]
        # totals and not medians: what comes once in many turns, as a checkpoint, counts too
        total, target = ratio(self.costs), self.pair.target
        missed = target is not None and total > target
        medians = [statistics.median(column) for column in zip(*self.costs, strict=True)]
        return [
            self.pair.name,
            *(f"{value:.2f}" for value in (total, min(ratios), max(ratios))),
            f"{target}, missed" if missed else str(target or "none"),
            " / ".join(f"{seconds:.3g}" for seconds in medians),
        ]


def ratio(costs: list[tuple[float, float]]) -> float:
    """What all of ours cost, per what all of theirs cost."""
    ours, theirs = map(sum, zip(*costs, strict=True))
    return ours / theirs


def compare(pairs: list[Pair], rounds: int, warm_up: bool) -> list[Comparison]:
    """Run all pairs in every round: what else the machine does meets both programs of a pair.

    Every second round runs the pairs' programs in the other order: who comes first has no
    advantage. A round for warming up fills the caches of files and of bytecode; it does not count.
    """
    costs: list[list[tuple[float, float]]] = [[] for _ in pairs]
    for round_ in range(-warm_up, rounds):
        for pair, collected in zip(pairs, costs, strict=True):
            if round_ % 2:
                theirs, ours = pair.theirs(), pair.ours()
            else:
                ours, theirs = pair.ours(), pair.theirs()
            if round_ >= 0:
                collected.append((ours, theirs))
    return [Comparison(pair, collected) for pair, collected in zip(pairs, costs, strict=True)]


def cpu_seconds(command: list[str], limit: float = 60) -> float:
    """User and system CPU time of a command and its children, in seconds.

    CPU time and not time on the clock: on a shared machine it varies a third as much.
    Raises CalledProcessError when it fails or needs longer than the limit (seconds on the clock).
    """
    # an installation has its bytecode, and so has what is measured
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    timer = Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_utime + usage.ru_stime
