"""Nothing is lost, nothing hangs and nothing stays behind, whoever is ended and whenever.

SOAK=1 (make soak) kills 200 times, sends 48 signals and restarts 51 times; `make test-all` kills 12
times, sends 12 signals and restarts 3 times. A start takes four seconds, most to load torch.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
import torch

from conftest import (
    environment,
    lasting,
    launch,
    launch_line,
    make,
    make_each,
    represented,
    train,
)
from probe import alive, left_after, marked, wait_until
from scaffold.catalog.methods import METHODS

SOAK = "SOAK" in os.environ
LAUNCHED = [method for method in METHODS if method != "spawn"]  # torchrun can start the others
STEPS = 300 if SOAK else 40
TEARDOWN = 10  # seconds after which no process of a run is left
# a save of 3 MB takes half the time of a step
FLAGS = [
    *("--steps", STEPS, "--width", 64, "--global_batch_size", 8, "--micro_batch_size", 4),
    *("--dropout", 0.1, "--log_every", 1, "--validate_every", 7, "--checkpoint_every", 1),
]  # fmt: skip
GOES_ON = re.compile(r"^.* (?:goes on after step|is done with its) (\d+)", re.MULTILINE)
# what run_state.json may say after the end of each; fabric's launcher is its rank 0
SAYS = {
    "rank 0": ("running", "failed"),  # the other rank says so, unless it is ended before
    "rank 1": ("running", "failed"),  # Fabric kills rank 0 then
    "launcher": ("preempted",),
    "all": ("running",),
}


class Blow(NamedTuple):
    """A signal to come: which, to whom, and whether in a save."""

    number: signal.Signals
    who: str  # rank 0, rank 1, launcher, all, or group: the process group of the launcher
    saving: bool = False


@dataclass
class Figures:
    """What has come of the blows to a run."""

    blows: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)  # steps that a start did not find again
    orphans: list[str] = field(default_factory=list)
    teardown: list[float] = field(default_factory=list)  # seconds until no process was left

    def __str__(self) -> str:
        told = ", ".join(f"{count} {name}" for name, count in sorted(self.blows.items()))
        return (
            f"{self.blows.total()} ({told}): {len(self.lost)} lost, {len(self.orphans)} orphans, "
            f"slowest teardown {max(self.teardown):.1f} s"
        )


class Attempt:
    """A start of a run, with all that it starts."""

    def __init__(self, command: list[str], project: Path, run_dir: Path, **more: str) -> None:
        self.run_dir, self.log = run_dir, run_dir.with_suffix(".log")
        self.mark = f"{run_dir} {time.monotonic_ns()}"
        # its rank 0 started the other one
        self.leads = command[0] != "torchrun" and "fabric" in (project / "train.py").read_text()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *map(str, FLAGS), "--run_dir", str(run_dir)],
                cwd=project,
                env=environment(MARK=self.mark, **more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def runs(self) -> bool:
        return self.process.poll() is None

    def ranks(self) -> list[int]:
        """The processes of the ranks, in their order."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ranks = [
            int(child)
            for child in children
            if b"resource_tracker import" not in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
        return [pid, *ranks] if self.leads else sorted(ranks)

    def end(self, number: int, who: str) -> None:
        ranks, launcher = self.ranks(), self.process.pid
        pids = {"rank 0": ranks[:1], "rank 1": ranks[1:], "all": [*ranks, launcher]}
        for pid in pids.get(who, [launcher]):
            with suppress(ProcessLookupError):
                (os.killpg if who == "group" else os.kill)(pid, number)

    def wait(self, seconds: float) -> set[int]:
        """Wait until all is gone; kills what is left then, and tells it."""
        wait_until(lambda: not (self.runs() or marked(self.mark)), seconds)
        left = left_after(marked(self.mark), 0)
        self.process.wait()
        return left


@contextmanager
def attempt(command: list[str], project: Path, run_dir: Path, **more: str) -> Iterator[Attempt]:
    """A start of a run of which nothing is left afterwards."""
    started = Attempt(command, project, run_dir, **more)
    try:
        yield started
    finally:
        started.wait(0)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("digits")
    return make_each(parent, tracker="none")


@pytest.fixture(scope="module")
def undisturbed(
    digits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A function: the run of a method that nobody touched."""
    parent = tmp_path_factory.mktemp("undisturbed")
    return cache(lambda method: train(digits[method], parent / method, *FLAGS, forked=True))


def newest(run_dir: Path) -> int:
    """The step of the newest checkpoint that is whole, as its name says; 0 without any."""
    return max((int(path.name[5:]) for path in run_dir.glob("checkpoints/step-*")), default=0)


def state(run_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_dir / "run_state.json").read_text())
    return found


def strike(blow: Blow, run: Attempt, random: Random, figures: Figures) -> bool:
    """Whether the run could be struck before it was done. Its teardown is measured."""
    wait_until(lambda: "\nstep " in run.text() or not run.runs(), 60)
    time.sleep(random.uniform(0, 0.7))
    if blow.saving:
        folder = run.run_dir / "checkpoints"
        wait_until(lambda: any(folder.glob(".step-*")) or not run.runs(), 10, every=0.001)
        time.sleep(random.uniform(0, 0.02))
    whole = newest(run.run_dir)
    if not run.runs() or whole >= STEPS - 1:
        return False
    run.end(blow.number, blow.who)
    begin = time.monotonic()
    left = run.wait(TEARDOWN)
    figures.teardown.append(time.monotonic() - begin)
    name = f"{blow.number.name} to {blow.who}{' in a save' if blow.saving else ''}"
    figures.blows[name] += 1
    if left:
        figures.orphans.append(f"{len(left)} after {name}: {run.text()}")
    if newest(run.run_dir) < whole:
        figures.lost.append(f"{whole} was there before {name}")
    return True


def check_words(blow: Blow, run: Attempt) -> None:
    """What the run and its directory say after the blow."""
    told, text = state(run.run_dir), run.text()
    who = "rank 0" if run.leads and blow.who == "launcher" else blow.who
    if blow.number != signal.SIGKILL:
        assert f"asked to stop: saving step {newest(run.run_dir)};" in text, (blow, text)
        assert told["state"] == "preempted", (blow, told, text)
    elif newest(run.run_dir) < STEPS:
        assert told["state"] in SAYS[who], (blow, told, text)
    if told["state"] == "preempted":
        assert told["step"] == newest(run.run_dir)
    if told["state"] == "failed":
        assert re.match(
            r"rank [01] (failed: |lost another rank: |was ended by |ended without )", told["why"]
        )
    # a killed writer leaves one folder, which the next one removes
    assert len(list(run.run_dir.glob("checkpoints/.*"))) <= 1


def go_through(
    blows: list[Blow], project: Path, parent: Path, expected: Path, random: Random
) -> Figures:
    """Train as often as it takes to have all blows; each run must end as one without any."""
    figures, number, done, before = Figures(), 0, True, 0
    while blows or not done:
        if done:
            number, done, before = number + 1, False, 0
        beside = random.choice(([], ["--async_save"]))
        run_dir = parent / f"{project.name}-{number}"
        if blows:
            with attempt([*launch_line(project), *beside], project, run_dir) as run:
                if strike(blows[-1], run, random, figures):
                    check_words(blows.pop(), run)
                else:
                    run.wait(120)
                    done = True
                    assert run.process.returncode == 0, run.text()
            text = run.text()
        else:
            ended = launch(project, *FLAGS, *beside, "--run_dir", run_dir, forked=True)
            text, done = ended.out + ended.err, True
            assert ended.status == 0, text
        if done:
            assert_same_end(run_dir, expected)
        note_losses(text, before, figures)
        before = newest(run_dir)
    return figures


def note_losses(text: str, before: int, figures: Figures) -> None:
    """Compare where a start goes on with the newest checkpoint that was whole before."""
    found = GOES_ON.search(text)
    step = int(found[1]) if found else 0
    if step != before and ("\nstep " in text or found):
        figures.lost.append(f"from {before} to {step}")
    figures.lost.extend(re.findall(r"^skipped checkpoint .*", text, re.MULTILINE))


def assert_same_end(run_dir: Path, expected: Path) -> None:
    """The same checkpoints and metrics, bit for bit."""
    assert state(run_dir)["state"] == "finished"
    both = (run_dir, expected)
    kept, wanted = ({path.name for path in run.glob("checkpoints/*")} for run in both)
    assert kept == wanted
    for name in kept:
        paths = (run / "checkpoints" / name / "state.pt" for run in both)
        assert is_same(*(torch.load(path, weights_only=True) for path in paths)), name
    assert lasting(run_dir) == lasting(expected)


def is_same(a: Any, b: Any) -> bool:
    """Whether two states are equal, bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(is_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    return bool(a == b)


def check(figures: Figures, what: str) -> None:
    print(f"{what}: {figures} {[round(s, 1) for s in figures.teardown]}")
    assert not figures.lost
    assert not figures.orphans


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
STOPS = [Blow(*blow) for blow in product(SIGNALS, ("launcher", "group", "rank 1"))]
KILLS = [
    Blow(signal.SIGKILL, who, saving)
    for saving, who in product((True, False), ("rank 0", "rank 1", "launcher", "all"))
]


# torchrun starts Accelerate's ranks, too
@pytest.mark.parametrize("method", represented(METHODS, "spawn", "torchrun", "fabric"))
def test_a_killed_launcher_leaves_nobody_and_the_run_ends_as_if_nobody_had_touched_it(
    digits: dict[str, Path], undisturbed: Callable[[str], Path], method: str, tmp_path: Path
) -> None:
    """Fabric has none: its rank 0 is the process that started the other."""
    blows, random = [Blow(signal.SIGKILL, "launcher")], Random(method)
    figures = go_through(blows, digits[method], tmp_path, undisturbed(method), random)
    check(figures, method)


@pytest.mark.full
@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_is_killed_again_and_again_loses_nothing_and_leaves_nobody(
    digits: dict[str, Path], undisturbed: Callable[[str], Path], method: str, tmp_path: Path
) -> None:
    """Three starts with two kills, and the run must end as if nobody had touched it."""
    random = Random(method)
    at = 2 * list(METHODS).index(method)
    blows = (KILLS * 7)[:50] if SOAK else KILLS[at : at + 2]
    random.shuffle(blows)
    figures = go_through(blows, digits[method], tmp_path, undisturbed(method), random)
    check(figures, method)


@pytest.mark.parametrize("method", represented(METHODS, "torchrun"))
def test_a_launcher_that_is_killed_while_its_ranks_start_leaves_nobody(
    digits: dict[str, Path], method: str, tmp_path: Path
) -> None:
    """They load torch, and have not asked the kernel yet to tell them of its end: that takes long
    where other tests are at work.
    """
    with attempt(launch_line(digits[method]), digits[method], tmp_path / "run") as run:
        assert wait_until(lambda: len(run.ranks()) == 2, 60, every=0.01)
        run.end(signal.SIGKILL, "launcher")
        assert not run.wait(2 * TEARDOWN)


@pytest.mark.full
@pytest.mark.parametrize("method", METHODS)
def test_a_signal_saves_the_step_and_ends_all_whoever_gets_it(
    digits: dict[str, Path], undisturbed: Callable[[str], Path], method: str, tmp_path: Path
) -> None:
    """Of SIGUSR1 torchrun's agent dies, and then the kernel tells the ranks. Four starts."""
    random = Random(method)
    blows = list(STOPS) if SOAK else STOPS[list(METHODS).index(method) :: len(METHODS)]
    figures = go_through(blows, digits[method], tmp_path, undisturbed(method), random)
    check(figures, method)


def restart(run: Attempt, random: Random, figures: Figures, since: int) -> int:
    """Kill a rank; gives where in the text torchrun's next attempt begins to speak."""
    wait_until(lambda: "\nstep " in run.text()[since:] or not run.runs(), 60)
    wait_until(lambda: newest(run.run_dir) > 0 or not run.runs(), 10)
    time.sleep(random.uniform(0, 0.5))
    ranks, whole, since = run.ranks(), newest(run.run_dir), len(run.text())
    victim = random.choice(["rank 0", "rank 1"])
    run.end(signal.SIGKILL, victim)
    begin = time.monotonic()
    wait_until(lambda: not any(map(alive, ranks)), TEARDOWN)
    figures.teardown.append(time.monotonic() - begin)
    figures.blows[f"restarts after SIGKILL to {victim}"] += 1
    left = set(filter(alive, ranks))
    if left:
        figures.orphans.append(f"{left} after SIGKILL to {victim}: {run.text()[since:]}")
    wait_until(lambda: bool(GOES_ON.search(run.text()[since:])) or not run.runs(), 60)
    found = GOES_ON.search(run.text()[since:])
    assert found, run.text()
    if int(found[1]) < whole:
        figures.lost.append(f"from {whole} to {found[1]}")
    return since + found.start()


@pytest.mark.parametrize("restarts", [17] if SOAK else represented([1, 2], 1))
@pytest.mark.parametrize("method", LAUNCHED if SOAK else LAUNCHED[:1])
def test_a_launcher_that_restarts_killed_ranks_loses_nothing(
    digits: dict[str, Path],
    undisturbed: Callable[[str], Path],
    method: str,
    restarts: int,
    tmp_path: Path,
) -> None:
    """Each rank that is left takes some seconds to end."""
    random, figures = Random(method), Figures()
    command = ["torchrun", "--standalone", "--max-restarts", str(restarts)]
    command += ["--nproc-per-node", "2", "train.py"]
    with attempt(command, digits[method], tmp_path / "run") as run:
        since = 0
        for _ in range(restarts):
            since = restart(run, random, figures, since)
        assert not run.wait(120)
        assert run.process.returncode == 0, run.text()
        figures.lost.extend(re.findall(r"^skipped checkpoint .*", run.text(), re.MULTILINE))
    assert_same_end(tmp_path / "run", undisturbed(method))
    check(figures, method)


IN_PLACE = '''

def write(final: Path, state: dict[str, Any], facts: dict[str, Any]) -> None:
    """As many do it: over the checkpoint before."""
    from engine.retention import steps

    for _, path in steps(final.parent):
        path.rename(final)
    final.mkdir(parents=True, exist_ok=True)
    with (final / STATE).open("wb") as file:
        summed = Summed(file, [])
        torch.save(state, summed)
    files = {STATE: [summed.size, summed.crc32]}
    (final / MANIFEST).write_text(manifest_text({"format": FORMAT, **facts, "files": files}))
'''


def half_written(run_dir: Path) -> bool:
    sizes = [path.stat().st_size for path in run_dir.glob("checkpoints/step-*/state.pt")]
    return any(0 < size < 2_000_000 for size in sizes)


def test_a_checkpoint_that_is_written_in_place_would_be_seen_as_lost(tmp_path: Path) -> None:
    """Killed while its file is shorter than the one before, which takes two starts as a rule."""
    project, run_dir = make(tmp_path / "digits", "torchrun", tracker="none"), tmp_path / "run"
    with (project / "engine/storage.py").open("a") as file:
        file.write(IN_PLACE)
    figures, before = Figures(), 0
    while not figures.lost:
        with attempt(["python", "train.py"], project, run_dir) as run:
            wait_until(lambda: "\nstep 4 " in run.text() or not run.runs(), 60)
            wait_until(lambda: half_written(run_dir) or not run.runs(), 20, every=0)
            if run.runs():  # else it has been refused
                run.end(signal.SIGKILL, "all")
                run.wait(TEARDOWN)
        note_losses(run.text(), before, figures)
        before = newest(run_dir)
    assert any("skipped checkpoint" in text for text in figures.lost)
    assert f"error: all checkpoints in {run_dir} are damaged" in run.text()
