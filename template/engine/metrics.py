"""What a run tells: metrics.jsonl, lines and a bar on the terminal, and the tracker."""

import json
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import torch.distributed as dist
from torch import Tensor

from config import Config
from engine import run_state, signals, watchdog
from engine.measures import Best, Metrics, finite, measure, score
from engine.resources import peak_memory
from engine.settings import to_toml
from engine.sums import Totals
from engine.terminal import Terminal


class Tracker(Protocol):
    """What tracker.py gives."""

    def log(self, step: int, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


COUNTS = "see loss_sums in model.py"
MakeTracker = Callable[[Config, int], Tracker]  # (settings, the step that it goes on after)


class Log:
    """metrics.jsonl, one object per line, and the same on the terminal; rank 0 alone writes.

    A run that goes on removes the lines of the steps it is about to repeat. Only numbers that are
    sums over all ranks come here, so `improved` is the same on every rank.
    """

    def __init__(
        self,
        tracker: MakeTracker,
        metrics: Metrics,
        best: Best,
        config: Config,
        rank: int,
        first_step: int,
        lowest: float,  # score of a validation before
    ) -> None:
        self.config, self.rank, self.best, self.lowest = config, rank, best, lowest
        self.measure = partial(measure, metrics, best)
        self.step = self.first_step = first_step
        self.seen: Tensor | None = None  # targets of the steps since the last line
        self.validated: dict[str, float] = {}  # what the validation of this step gave
        self.improved = False  # whether that is the best of the run
        self.mark_time(first_step)
        if rank != 0:
            return
        if first_step < config.steps:
            (config.run_dir / "config.toml").write_text(to_toml(config))
        path = config.run_dir / "metrics.jsonl"
        beside = path.with_suffix(".tmp")  # a kill while it is written must not lose the history
        beside.write_text("".join(kept_lines(path, first_step)))
        beside.replace(path)
        self.file = path.open("a")
        tracked = first_step < config.steps and not config.check
        self.tracker = tracker(config, first_step) if tracked else None
        self.terminal = Terminal(config.steps, first_step)
        does = f"goes on after step {first_step}" if first_step else "starts"
        says = f"{does}: world size {dist.get_world_size()}, {dist.get_backend()}"
        if first_step >= config.steps:
            says = f"is done with its {first_step} steps; more: --steps N"
        self.terminal.say(f"{config.run_dir} {says}")

    def train(self, step: int, totals: Totals, lr: float, grad_norm: Tensor) -> None:
        """One line about every `log_every`th step, with the speed since the line before."""
        self.step, self.validated, self.improved = step, {}, False
        self.seen = totals.targets if self.seen is None else self.seen.add_(totals.targets)
        first = step == self.first_step + 1
        if first and grad_norm.isfinite():
            self.measure(totals.named())  # what is wrong with it all ranks hear now
        if step % self.config.log_every:
            if first:  # in which workers start, and kernels are compiled
                self.mark_time(step)
            return
        memory = self.seen.new_tensor(peak_memory(totals.device))
        dist.all_reduce(memory, dist.ReduceOp.MAX)
        if self.rank == 0:
            values = self.measure(totals.named()) | {"lr": lr, "grad_norm": grad_norm.item()}
            # the clock is read last: item() has waited for the device
            seconds = time.perf_counter() - self.mark[1]
            samples = (step - self.mark[0]) * self.config.global_batch_size
            values["samples_per_second"] = round(samples / seconds, 1)
            values["targets_per_second"] = round(self.seen.item() / seconds, 1)
            self.write(step, values | {"peak_memory_mib": round(memory.item(), 1)})

    def validation(self, step: int, totals: Totals) -> None:
        """One line about a validation; totals: those of `evaluate`, reduced over the ranks."""
        values = self.measure(totals.named())
        # where the loss is no number nothing of it is the best
        self.validated = finite(values) if math.isfinite(values["loss"]) else {}
        found = score(self.validated.get(self.best[0]), self.best)
        self.improved, self.lowest = found < self.lowest, min(found, self.lowest)
        if self.rank == 0:
            line = {f"val_{name}": value for name, value in values.items()}
            self.write(step, line | {"val_samples": int(totals.samples)})
            if not totals.targets:
                self.terminal.say(f"no sample of the validation data has a target: {COUNTS}")

    def write(self, step: int, values: dict[str, float]) -> None:
        """One line; what is no number is null there, for JSON has no word for it."""
        numbers = finite(values)
        line = {"step": step, **{name: numbers.get(name) for name in values}}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        if self.tracker:
            self.tracker.log(step, numbers)
        self.terminal.tell(step, values)
        self.mark_time(step)

    def mark_time(self, step: int) -> None:
        """Let the speed be that of the steps after this one."""
        self.mark, self.seen = (step, time.perf_counter()), None

    def close(self) -> None:
        watchdog.progress(watchdog.START)  # a tracker may have much to send
        if self.rank == 0:
            self.file.close()
            self.terminal.close()
            done = self.step >= self.config.steps
            run_state.tell(self.config.run_dir, "finished" if done else "preempted", step=self.step)
        signals.expect(signals.leave, at_once=False)  # of a tracker that hangs, too: all is saved
        if self.rank == 0 and self.tracker:
            self.tracker.close()


def kept_lines(path: Path, last_step: int) -> list[str]:
    """The lines of metrics.jsonl up to a step; what a crash left half written is dropped."""
    kept = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            # earlier versions wrote NaN, which is no JSON
            values = json.loads(line, parse_constant=lambda _: None)
            if values["step"] <= last_step:
                kept.append(json.dumps(values) + "\n")
        except (ValueError, KeyError, TypeError):
            print(f"dropped from {path}: {line[:60]}", flush=True)
    return kept
