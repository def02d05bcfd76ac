"""What a run tells: metrics.jsonl, lines and a bar on the terminal, and the tracker."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Protocol

import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from config import Config
from engine import run_state, signals, watchdog
from engine.resources import peak_memory
from engine.settings import to_toml


class Tracker(Protocol):
    """What tracker.py gives."""

    def log(self, step: int, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


MakeTracker = Callable[[Config, int], Tracker]  # (settings, the step that it goes on after)


class Log:
    """metrics.jsonl, one object per line, and the same on the terminal; rank 0 alone writes.

    A run that goes on removes the lines of the steps it is about to repeat. Only numbers that are
    sums over all ranks come here, so `improved` is the same on every rank.
    """

    def __init__(
        self, tracker: MakeTracker, config: Config, rank: int, first_step: int, best_loss: float
    ) -> None:
        self.config, self.rank, self.best_loss = config, rank, best_loss
        self.step = self.first_step = first_step
        self.seen: Tensor | None = None  # totals of the steps since the last line
        self.val_loss: float | None = None  # of this step, where it was validated and is a number
        self.improved = False  # whether this step has the lowest validation loss of the run
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
        tqdm.set_lock(RLock())  # its own one is shared by processes, and warns when left locked
        # on a terminal a bar, elsewhere plain lines
        self.bar = tqdm(total=config.steps, initial=first_step, unit="step", disable=None)
        if first_step >= config.steps:
            self.say(f"{config.run_dir} is done with its {first_step} steps; more: --steps N")
        else:
            does = f"goes on after step {first_step}" if first_step else "starts"
            ranks = dist.get_world_size()
            self.say(f"{config.run_dir} {does}: world size {ranks}, {dist.get_backend()}")

    def train(self, step: int, totals: Tensor, lr: float, grad_norm: Tensor) -> None:
        """One line about every `log_every`th step, with the speed since the line before."""
        self.step, self.val_loss, self.improved = step, None, False
        self.seen = totals.clone() if self.seen is None else self.seen.add_(totals)
        if step % self.config.log_every:
            if step == self.first_step + 1:  # in which workers start, and kernels are compiled
                self.mark_time(step)
            return
        memory = totals.new_tensor(peak_memory(totals.device))
        dist.all_reduce(memory, dist.ReduceOp.MAX)
        if self.rank == 0:
            seen = self.seen[:, 2].sum().item()
            loss, _, targets, _ = totals.sum(dim=0).tolist()
            values = {"loss": loss / targets, "lr": lr, "grad_norm": grad_norm.item()}
            # the clock is read last: tolist() has waited for the device
            seconds = time.perf_counter() - self.mark[1]
            samples = (step - self.mark[0]) * self.config.global_batch_size
            values["samples_per_second"] = round(samples / seconds, 1)
            values["targets_per_second"] = round(seen / seconds, 1)
            self.write(step, **values, peak_memory_mib=round(memory.item(), 1))

    def validation(self, step: int, totals: Tensor) -> None:
        """One line about a validation; totals: float64[4], what `evaluate` gives on all ranks."""
        loss, correct, targets, samples = totals.tolist()
        val_loss = loss / targets if targets else math.nan
        # what is no number is never the lowest
        self.val_loss = val_loss if math.isfinite(val_loss) else None
        self.improved = self.val_loss is not None and val_loss < self.best_loss
        self.best_loss = val_loss if self.improved else self.best_loss
        if self.rank == 0:
            values = {"val_loss": val_loss, "val_accuracy": correct / (targets or math.nan)}
            self.write(step, **values, val_samples=int(samples))
            if not targets:
                self.say("no sample of the validation data has a target: see loss_sums in model.py")

    def write(self, step: int, **values: float) -> None:
        """One line; what is no number is null there, for JSON has no word for it."""
        numbers = {name: value for name, value in values.items() if math.isfinite(value)}
        line = {"step": step, **{name: numbers.get(name) for name in values}}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        if self.tracker:
            self.tracker.log(step, numbers)
        text = f"step {step}  " + "  ".join(f"{name} {value:.5g}" for name, value in values.items())
        self.bar.update(step - self.bar.n)
        self.say(text)
        self.mark_time(step)

    def mark_time(self, step: int) -> None:
        """Let the speed be that of the steps after this one."""
        self.mark, self.seen = (step, time.perf_counter()), None

    def say(self, text: str) -> None:
        """One line on the terminal, above the bar."""
        self.bar.clear()
        print(text, flush=True)
        self.bar.refresh()

    def close(self) -> None:
        watchdog.progress(watchdog.START)  # a tracker may have much to send
        if self.rank == 0:
            self.file.close()
            self.bar.close()
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
