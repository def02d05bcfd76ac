"""A run that fails ends: soon, on all ranks, with the first cause as its last word.

How long an end may take is said in seconds, and in what the start of the same run took: so busy is
the machine. SOAK=1 (make soak) lets rank 0 hang, too.
"""

import errno
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing import reductions

from config import Config
from conftest import MODULES, environment, launch, launch_line, metrics, represented, run, start
from engine import first_cause, hints, launcher, peers, run_state, watchdog
from probe import (
    ALL,
    FLAGS,
    LOOPBACK,
    Run,
    descendants,
    disk_at,
    left_after,
    listening,
    make_probe,
    marked,
    wait_until,
)
from scaffold.catalog.methods import METHODS

SOAK = "SOAK" in os.environ
# Whether the ranks are forked: where it is they that end all, or where the launcher, torchrun's
# agent, has ended those of another case. A rank that is stopped takes GRACE, but for rank 0 of
# Fabric.
QUICK = [
    *(("spawn", "raise", True), ("torchrun", "raise", False)),
    *(("fabric", "raise", True), ("accelerate", "raise", True)),
    *(("spawn", "leave", True), ("fabric", "leave", True)),
    *(("spawn", "SIGKILL", True), ("fabric", "SIGKILL with child", True)),
    ("torchrun", "SIGKILL with loaders", True),
    *(("spawn", "SIGSEGV", True), ("spawn", "exit", True), ("accelerate", "abort", True)),
    *(("spawn", "exit 0", True), ("torchrun", "cancel", True)),
    *(("spawn", "hang", True), ("torchrun", "hang", True)),
    ("fabric", "SIGSTOP", False),
]
# what is told of rank 1, whether it can say so itself or not
TOLD = {
    "raise": "failed: ValueError: a value that nobody expected",
    "leave": "failed: RuntimeError: it left in the midst of the run",
    "cancel": "failed: CancelledError: a task was cancelled",
    "exit": "left with status 7 and without a word",
    "exit 0": "left with status 0 and without a word",
    "abort": "was ended by SIGABRT",
    "SIGSEGV": "was ended by SIGSEGV",
    "SIGKILL": "was ended by SIGKILL",
}
FAULTS = [*TOLD, "SIGKILL with loaders", "SIGKILL with child"]
TIMEOUT = 4  # seconds that a step may take
# seconds that torch's launchers wait before they kill a rank that does not hear them
GRACE = 30


def cases(*faults: str) -> list[Any]:
    """Each fault with each method's launcher, and those of `make test`."""
    quick = [case for case in QUICK if case[1] in faults]
    real = [(method, fault, False) for method, fault in product(METHODS, faults)]
    return represented(dict.fromkeys([*quick, *real]), *quick)


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("probes")
    return {method: make_probe(parent / method, method) for method in METHODS}


def state(run_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_dir / "run_state.json").read_text())
    return found


def tracebacks(text: str) -> int:
    """How many there are, beside the one that torchrun ends with."""
    return text.count("Traceback") - text.count("ChildFailedError: ")


def last_error(text: str) -> str:
    """The last line about an error: launchers say after it how the ranks have ended."""
    return [line for line in text.splitlines() if line.startswith("error: ")][-1]


@pytest.mark.parametrize(("method", "fault", "forked"), cases(*FAULTS))
def test_a_rank_that_fails_ends_all_with_the_first_cause(
    probes: dict[str, Path], method: str, fault: str, forked: bool, tmp_path: Path
) -> None:
    """And nobody is left: the loaders of a killed rank end with it.

    A child of it that lives on holds its connections open, so gloo sees nothing.
    """
    run_dir = tmp_path / "run"
    fault, _, more = fault.partition(" with ")
    flags = ("--checkpoint_every", 2, "--workers", 1 if more == "loaders" else 0)
    faulty = {"PROBE_FAULT": fault, "MARK": str(tmp_path)}
    faulty |= {"PROBE_CHILD": "1"} if more == "child" else {}
    ended = Run(probes[method], run_dir, *flags, forked=forked, **faulty)
    assert ended.result.status != 0
    start, end = ended.seconds()
    assert end < 10 + start
    err = ended.result.err
    words = {f"rank 1 {TOLD[fault]}"}
    if method in ("torchrun", "accelerate") or (forked and method != "spawn"):
        words.add("rank 1 ended without a word")  # a foreign launcher may ask first how it ended
    assert any(f"error: {text}" in last_error(err) for text in words), err
    assert err.count("error: ") == 1 + err.count("Python error: ")
    assert "GLHF" not in err
    assert tracebacks(err) == (fault in ("raise", "leave", "cancel")), (
        err
    )  # that of the cause alone
    told = state(run_dir)
    assert told["state"] == "failed"
    assert f"error: {told['why']}" in last_error(err)
    for child in {record["child"] for record in ended.records if "child" in record}:
        os.kill(child, signal.SIGKILL)
    loaders = 4 if more == "loaders" else 0  # of each rank one for training, one for validation
    for process, count in (("pid", 2), ("loader", loaders)):
        assert len({record[process] for record in ended.records if process in record}) == count
    assert wait_until(lambda: not marked(str(tmp_path)), 10)
    kept = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
    assert kept == ["step-000000002", "step-000000004"]


@pytest.mark.parametrize("rank", ["0", "1"] if SOAK else ["1"])
@pytest.mark.parametrize(("method", "fault", "forked"), cases("hang", "SIGSTOP"))
def test_a_rank_that_hangs_is_named_with_the_stacks_of_all(
    probes: dict[str, Path], method: str, fault: str, forked: bool, rank: str, tmp_path: Path
) -> None:
    """Rank 0 of Fabric is the launcher, too."""
    run_dir = tmp_path / "run"
    if (method, fault, forked) == ("fabric", "SIGSTOP", False):
        rank = "0"
    other = {"0": "1", "1": "0"}[rank]
    flags = ("--checkpoint_every", 2, "--step_timeout", TIMEOUT)
    faulty = {"PROBE_FAULT": fault, "PROBE_RANK": rank}
    ended = Run(probes[method], run_dir, *flags, forked=forked, **faulty)
    assert ended.result.status != 0
    start, end = ended.seconds()
    assert end < TIMEOUT + GRACE + 10 + start
    err = ended.result.err
    assert "error: no progress for " in last_error(err), err
    if fault == "hang":
        assert f"rank {rank} is stuck in model.py:" in last_error(err)
        assert f"rank {other} waits for torch in " in last_error(err)
        assert "(fail)" in (run_dir / f"stacks/rank-{rank}.txt").read_text()
    else:
        assert f"rank {rank} gives no sign" in last_error(err)
    assert "most recent call first" in err
    assert state(run_dir)["why"] in last_error(err)
    pids = {record["pid"] for record in ended.records if "pid" in record}
    assert not left_after(pids, 2)


# a project's own tests stop torchrun, too
@pytest.mark.parametrize("method", represented(METHODS, "spawn"))
def test_a_run_at_work_has_its_directory_to_itself_and_is_stopped_by_its_launcher(
    probes: dict[str, Path], method: str, tmp_path: Path
) -> None:
    """It tells its state meanwhile, and listens to this machine alone."""
    project, run_dir = probes[method], tmp_path / "run"
    flags = [*FLAGS, "--steps", 10**6, "--run_dir", run_dir]
    begin = time.monotonic()
    first, started = start(launch_line(project, *flags), project, environment()), set[int]()
    try:
        assert first.stdout is not None
        assert any(line.startswith("step 3 ") for line in first.stdout)
        assert state(run_dir)["state"] == "running"
        started = descendants(first.pid) | {first.pid}
        found = listening(started)
        assert found, "the ranks meet somewhere"
        assert found <= (LOOPBACK if method == "spawn" else LOOPBACK | ALL)
        begun = time.monotonic()
        second = launch(project, *flags, forked=True)
        assert second.status != 0
        assert f"error: a run is at work in `{run_dir}`: process {state(run_dir)['pid']} on" in (
            second.err
        )
        assert time.monotonic() - begun < 10 + begun - begin
        assert first.poll() is None
        os.killpg(first.pid, signal.SIGHUP)  # as a terminal does that is closed
        first.communicate(timeout=30)
    finally:
        left_after(started | {first.pid}, 0)
    told = state(run_dir)
    assert told["state"] == "preempted"
    assert told["step"] == metrics(run_dir)[-1]["step"]
    done = launch(project, *flags, "--steps", told["step"], forked=True)
    assert done.status == 0, done.err
    assert state(run_dir)["state"] == "finished"
    if method in ("spawn", "torchrun"):  # a start that is refused does not make it a failure
        one_more = (*flags, "--steps", told["step"] + 1)
        refused = launch(project, *one_more, forked=True, PROBE_DATA="empty")
        assert "error: the training data is empty" in refused.err
        assert (state(run_dir)["state"], state(run_dir)["step"]) == ("finished", told["step"])


@pytest.mark.parametrize(
    ("method", "fault", "flags", "message"),
    [
        ("spawn", "empty", [], "error: the training data is empty"),
        ("torchrun", "refuse", [], "error: rank 1: no data on this machine"),
        ("torchrun", "missing", [], "failed: FileNotFoundError: no data here"),
        ("spawn", "exit", [], "it left in the midst of the run (no data at all)"),
        ("torchrun", "bad", [], "while reading sample 7 of the training data"),
        pytest.param(
            *("fabric", "bad", ["--workers", 1], "while reading sample 7 of the training data"),
            marks=pytest.mark.full,
        ),
        ("accelerate", "pickle", ["--workers", 1], "hint: with --workers, data.py must keep"),
    ],
)
def test_data_that_cannot_be_used_is_explained(
    probes: dict[str, Path],
    method: str,
    fault: str,
    flags: list[object],
    message: str,
    tmp_path: Path,
) -> None:
    ended = Run(probes[method], tmp_path / "run", *flags, forked=True, PROBE_DATA=fault)
    assert ended.result.status != 0
    assert message in ended.result.err
    assert ended.result.err.count("error: ") == 1  # and no consequence beside it
    assert "Stopped" not in ended.result.err  # as who ends the others might be taken for
    assert state(tmp_path / "run")["state"] == "failed"


@pytest.mark.parametrize("method", represented(METHODS, "torchrun"))
def test_a_run_that_is_stopped_before_its_first_step_says_so_at_once(
    probes: dict[str, Path], method: str, tmp_path: Path
) -> None:
    """Rank 0 waits in torch for the other one, where no signal reaches Python."""
    run_dir = tmp_path / "run"
    begin = time.monotonic()
    ended = Run(probes[method], run_dir, forked=True, PROBE_DATA="stop")
    assert time.monotonic() - begin < 30
    assert ended.result.status != 0
    said = [line for line in ended.result.err.splitlines() if "before the first step" in line]
    assert len(said) == 1, ended.result.err
    assert re.fullmatch(
        r"(rank [01] was )?stopped by SIGTERM before the first step: nothing is lost", said[0]
    )
    assert tracebacks(ended.result.err) == 0
    assert state(run_dir)["state"] == "preempted"


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(104, "reset"), OSError()])
def test_a_worker_that_is_killed_with_a_batch_on_its_way_is_named(error: Exception) -> None:
    """Its rank asks it for the memory of the batch, and gets no answer."""
    batch = type("Batch", (), {"detach": lambda _: (_ for _ in ()).throw(error)})()
    with pytest.raises(type(error)) as caught:
        reductions.rebuild_storage_fd(torch.UntypedStorage, batch, 4)
    assert hints.summary(caught.value).endswith(", a worker of the loader is gone")
    assert "too little memory" in hints.hint(caught.value)
    assert "worker" not in hints.summary(error.with_traceback(None)) + hints.hint(error)


def test_shared_memory_that_is_full_is_told_from_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("_multiprocessing.SemLock", refuse)
    with pytest.raises(OSError, match="No space left") as caught:
        multiprocessing.get_context("spawn").Lock()
    error, run_dir = caught.value, Path("run")
    assert hints.place(error, run_dir) == Path("/dev/shm")
    assert hints.hint(error).startswith("make room in /dev/shm")
    said = "unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device"
    assert hints.hint(RuntimeError(said)).startswith("make room in /dev/shm")
    error = error.with_traceback(None)
    assert hints.place(error, run_dir) == run_dir
    assert hints.hint(error).startswith("make room or set another --run_dir")


def test_a_folder_for_sockets_that_is_too_long_is_told_from_a_disk() -> None:
    with pytest.raises(OSError, match="AF_UNIX") as caught:
        socket.socket(socket.AF_UNIX).bind(f"/tmp/{'a' * 200}")
    assert "export TMPDIR=/tmp" in hints.hint(caught.value)


def test_a_rank_that_ends_while_the_others_get_to_know_it_is_missed() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    lost: list[str] = []
    peers.start(lost.append)
    (watching,) = peers.watching
    try:
        watching.begin({0: os.getppid(), 1: gone.pid})
        assert peers.loss(10) == "rank 1 ended without a word"
    finally:
        peers.part()
    watching.join(10)
    assert lost == ["rank 1 ended without a word"]


@pytest.mark.parametrize("agent", ["True", ""])
@pytest.mark.parametrize("there", [True, False])
def test_no_rank_outlives_both_places_of_the_first_cause(
    there: bool, agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run directory, which somebody may remove, and the store, here in this process."""
    other = subprocess.Popen(["sleep", "100"])
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", agent)
    monkeypatch.setattr(run_state, "failure", lambda _: "why" if there else None)
    lost: list[str] = []
    peers.start(lost.append)
    try:
        peers.watching[0].begin({1: other.pid})
        first_cause.keep(tmp_path / "run", "why")
        ends = not (there or agent)
        assert wait_until(lambda: other.poll() is not None, 5 if ends else 0.5) == ends
    finally:
        peers.part()
        other.kill()
        other.wait()
    assert not lost


@pytest.mark.parametrize("method", represented(METHODS, "fabric"))
def test_a_run_whose_directory_is_gone_has_one_last_word(method: str, tmp_path: Path) -> None:
    """Rank 0 cannot say there that it is finished, and not why it fails either."""
    project, run_dir = make_probe(tmp_path / method, method), tmp_path / "run"
    code = (project / "train.py").read_text()
    gone = "__import__('shutil').rmtree(config.run_dir, ignore_errors=True)"
    (project / "train.py").write_text(code.replace("log.close()", f"{gone}\n    log.close()"))
    result = launch(project, "--run_dir", run_dir, *FLAGS, "--steps", 2)
    assert result.status != 0
    assert "error: rank 0 failed: FileNotFoundError: " in result.err
    assert result.err.count("error: ") == 1, result.err


@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_the_first_rank_is_killed_only_where_its_number_is_of_this_machine(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of another machine may have the number of this one's parent."""
    told = json.dumps({"state": "running", "pid": os.getppid(), "host": host})
    (tmp_path / "run_state.json").write_text(told)
    ended: list[int | None] = []
    monkeypatch.setattr(watchdog, "kill_unheard", ended.append)
    monkeypatch.setattr(watchdog, "PATIENCE", 0)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    watchdog.give_up(Config(run_dir=tmp_path), "1 s", set())
    assert ended == [None if host == "elsewhere" else os.getppid()]


def test_a_start_beside_a_run_that_is_alive_leaves_no_stacks_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run would take them for those of a rank of its own that gives up, and end."""
    told = {"state": "running", "pid": 1, "host": "elsewhere", "launch": "another"}
    (tmp_path / "run_state.json").write_text(json.dumps(told))
    monkeypatch.setattr(watchdog, "PATIENCE", 0)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LAUNCHER_PID", "1")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(watchdog, "kill_unheard", lambda _: None)  # it ends what this started
    watchdog.give_up(Config(run_dir=tmp_path), "1 s", set())
    assert "error: no progress for 1 s; rank 0 gives no sign; rank 1 " in capsys.readouterr().err
    assert not watchdog.stacks(Config(run_dir=tmp_path))
    assert json.loads((tmp_path / "run_state.json").read_text()) == told


def test_the_empty_folders_of_torchrun_go_and_what_is_in_others_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torchelastic_a/none_b", "torchelastic_c/none_d", "logs/none_e"):
        folder = tmp_path / name / "attempt_0"
        for rank in ("0", "1"):
            (folder / rank).mkdir(parents=True)
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "0/error.json"))
        if "_d" in name:
            (folder / "1/stdout.log").write_text("said")
        launcher.sweep()
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("attempt_0/*"))
    kept = "torchelastic_c/none_d/attempt_0/1"
    assert left == ["logs/none_e/attempt_0/0", "logs/none_e/attempt_0/1", kept]


def test_the_stacks_of_a_run_that_hung_do_not_end_the_next(tmp_path: Path) -> None:
    """A rank may start before rank 0 has removed them."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/rank-0.txt").write_text("rank 0 was stuck\n")
    code = (
        "import sys, time, config; from engine import watchdog; from pathlib import Path\n"
        "folder = Path(sys.argv[1])\n"
        "watchdog.start(config.Config(run_dir=folder)); time.sleep(4.5)\n"
        "print('goes on', flush=True)\n"
        "(folder / 'stacks/rank-0.txt').write_text('rank 0 is stuck\\n'); time.sleep(9)"
    )
    result = run([sys.executable, "-c", code, str(tmp_path)], MODULES / "digits")
    assert result.out == "goes on\n"
    assert result.status == 1, result.err
    assert "rank 1 gives no sign" in result.err


def test_the_lock_ends_with_rank_0_and_not_with_what_it_has_forked(
    probes: dict[str, Path], tmp_path: Path
) -> None:
    """And the next run says that nobody ended this one."""
    project, flags = probes["torchrun"], ["--run_dir", tmp_path / "run", *FLAGS]
    first = start(
        ["python", "train.py", *map(str, flags), "--steps", "1000000"],
        project,
        environment(PROBE_DATA="fork"),
    )
    assert first.stdout is not None
    assert any(line.startswith("step 3 ") for line in first.stdout)
    left = descendants(first.pid)
    first.kill()
    first.wait()
    try:
        second = launch(project, *flags, "--steps", 1, processes=1, forked=True)
        assert second.status == 0, second.err
        assert f"the run before, process {first.pid} on " in second.out
        assert "ended without a word" in second.out
    finally:
        left_after(left, 0)


def test_fewer_samples_than_ranks_come_as_often_as_needed(
    probes: dict[str, Path], tmp_path: Path
) -> None:
    flags = ("--steps", 2)
    ended = Run(probes["torchrun"], tmp_path / "run", *flags, forked=True, PROBE_DATA="small")
    assert ended.result.status == 0, ended.result.err
    read = [call["numbers"] for calls in ended.calls(training=True).values() for call in calls]
    assert read == [[0, 0]] * 12


def test_a_disk_that_is_full_ends_the_run_in_one_line(
    probes: dict[str, Path], tmp_path: Path
) -> None:
    """A file system of 200 kB: the checkpoints of some steps fit, the metrics of many do not."""
    with disk_at(tmp_path / "disk", "size=200k") as disk:
        for number, method in enumerate(METHODS):
            run_dir = disk / "run"
            beside = ["--async_save"] if number % 2 else []
            flags = ["--steps", 10**6, "--keep", 10**6, "--checkpoint_every", 1]
            ended = Run(probes[method], run_dir, *flags, *beside, forked=True)
            assert ended.result.status != 0
            assert "No space left on device" in last_error(ended.result.err), ended.result.err
            assert f"disk `{disk}` (0.0 of 0.2 MiB free)" in last_error(ended.result.err)
            assert tracebacks(ended.result.err) == 0
            assert list((run_dir / "checkpoints").glob("step-*/state.pt"))
            subprocess.run(["rm", "-rf", str(run_dir)], check=True)
