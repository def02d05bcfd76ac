"""Every request to stop is heard, and nothing else is taken for one."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from conftest import MODULES, Result, fork, make, run
from engine import run_state

# of a program: errors in it, job control, and what ends nobody
OTHERS = "KILL STOP SEGV BUS FPE ILL ABRT TRAP SYS CHLD CONT TSTP TTIN TTOU URG WINCH PIPE XFSZ"
OTHERS += " PROF VTALRM IO"  # of profilers


def program(folder: Path, code: str) -> Result:
    """Run some Python with the modules of a project, in a process of its own."""
    file = folder / "program.py"
    begin = f"import os, signal, sys, time\nsys.path.insert(0, {str(MODULES / 'digits')!r})\n"
    file.write_text(f"{begin}from engine import signals\n{dedent(code)}")
    return fork(["python", str(file)], folder)


def test_every_signal_that_ends_a_program_is_kept_until_the_step_is_done(tmp_path: Path) -> None:
    """Also real-time signals, and the CPU time that is used up (SIGXCPU)."""
    code = f"""
    others = {{getattr(signal, "SIG" + name) for name in {OTHERS.split()}}}
    for number in sorted(signal.valid_signals() - others):
        request = signals.StopRequest()
        os.kill(os.getpid(), number)
        print(int(number) if request.received else f"{{number}} is not heard")
    """
    ended = program(tmp_path, code)
    assert ended.status == 0, ended.err
    heard = set(map(int, ended.out.split()))
    assert {1, 2, 3, 10, 12, 14, 15, 24, 34, 64} <= heard


@pytest.mark.parametrize(
    ("number", "answer"),
    [("SIGHUP", "signal.SIG_IGN"), ("SIGALRM", "lambda *_: print('mine')")],
)
def test_what_is_ignored_or_answered_by_others_stays_so(
    number: str, answer: str, tmp_path: Path
) -> None:
    """As nohup ignores; and as a library answers that reads with a time limit."""
    code = f"""
    signal.signal(signal.{number}, {answer})
    signals.expect(lambda number: os._exit(3))
    request = signals.StopRequest()
    os.kill(os.getpid(), signal.{number})
    print(request.received)
    """
    ended = program(tmp_path, code)
    assert ended.out == ("mine\nFalse\n" if "mine" in answer else "False\n"), ended.err


def test_what_a_rank_has_forked_ends_of_a_signal_and_the_rank_does_not(tmp_path: Path) -> None:
    """As multiprocessing's Pool ends its processes."""
    code = """
    signals.expect(lambda number: os._exit(3))
    child = os.fork()
    if child == 0:
        time.sleep(20)
        os._exit(0)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    time.sleep(2.5)
    print("goes on")
    """
    assert program(tmp_path, code).out == "-15\ngoes on\n"


@pytest.mark.parametrize("inside", ["Python", "C"])
def test_before_the_first_step_a_signal_ends_a_process_wherever_it_is(
    inside: str, tmp_path: Path
) -> None:
    waits = {
        "Python": "time.sleep(20)",
        # a lock that is never free, as where torch waits for other ranks
        "C": "import ctypes; lock = ctypes.create_string_buffer(128); c = ctypes.CDLL(None); "
        "c.pthread_mutex_lock(lock); c.pthread_mutex_lock(lock)",
    }
    code = f"""
    from threading import Timer
    def stop(number):
        print("heard beside", number, flush=True)
        os._exit(128 + number)
    signals.deafen()
    signals.expect(stop)
    Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        {waits[inside]}
    except signals.Stopped as stopped:
        print("heard", stopped.number)
    """
    ended = program(tmp_path, code)
    assert ended.out == ("heard 15\n" if inside == "Python" else "heard beside 15\n"), ended.err


def test_a_process_that_can_start_no_thread_is_stopped_and_says_why_it_fails(
    tmp_path: Path,
) -> None:
    """A container or a job may have as many processes and threads as it is allowed."""
    code = """
    import threading
    from engine import first_cause
    def start(_):
        raise RuntimeError("can't start new thread")
    threading.Thread.start = start
    os.environ["MASTER_PORT"] = "1"
    print(first_cause.agree("mine", wait=False))
    try:
        signals.expect(print)
        os.kill(os.getpid(), signal.SIGTERM)
    except signals.Stopped:
        print("stopped")
    """
    ended = program(tmp_path, code)
    assert ended.out == "mine\nstopped\n", ended.err


def test_what_a_team_does_after_the_training_takes_as_long_as_it_likes(tmp_path: Path) -> None:
    code = """
    import config
    from engine import distributed, watchdog
    watchdog.PATIENCE = 0
    watchdog.start(config.Config(step_timeout=1))
    watchdog.progress()
    dist = distributed.dist
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    distributed.end()
    time.sleep(4)  # an export
    print("done")
    """
    assert program(tmp_path, code).out == "done\n"


@pytest.mark.parametrize("seconds", [0, 20])
def test_a_signal_after_the_training_ends_what_a_team_does_then_and_no_rank_that_leaves(
    seconds: int, tmp_path: Path
) -> None:
    """Python takes its own answers back in the end, and a run that has saved would die of one."""
    code = f"""
    import atexit, config, pathlib
    def tell():
        print(all(signal.getsignal(number) == signal.SIG_IGN for number in signals.taken))
    atexit.register(tell)
    from engine import distributed, failures, metrics
    distributed.join_launcher()
    os.environ["MASTER_PORT"] = "29999"
    log = metrics.Log.__new__(metrics.Log)
    log.rank = 1
    dist = distributed.dist
    @failures.guarded
    def main(config):
        request = signals.StopRequest()
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        os.kill(os.getpid(), signal.SIGTERM)
        metrics.Log.close(log)
        distributed.end()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep({seconds})  # a test, an export
    main(config.Config(run_dir=pathlib.Path("run")))
    time.sleep(2.5)
    """
    ended = program(tmp_path, code)
    if seconds:
        assert (ended.status, ended.out) == (143, ""), ended.err
        assert ended.err == "stopped by SIGTERM after the training\n"
    else:
        assert (ended.status, ended.out, ended.err) == (0, "True\n", "")


@pytest.mark.parametrize("stays", ["a tracker", pytest.param("a thread", marks=pytest.mark.full)])
def test_a_signal_ends_what_stays_after_a_run_that_is_saved(stays: str, tmp_path: Path) -> None:
    """An upload without a network, a thread that waits: the run has finished all the same."""
    project = make(tmp_path / "digits", "torchrun", tracker="none")
    hangs = "wait()" if stays == "a tracker" else "threading.Thread(target=wait).start()"
    text = (project / "tracker.py").read_text()
    method = "    def close(self) -> None:\n"
    assert method in text
    wait = "\n\ndef wait():\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(60)\n"
    imports = "import os, signal, threading, time\n"
    text = imports + text.replace(method, f"{method}        {hangs}\n") + wait
    (project / "tracker.py").write_text(text)
    start = fork if stays == "a tracker" else run  # what is forked joins no threads
    ended = start(["python", "train.py", "--steps", "1"], project)
    assert ended.status == 130, ended.err
    assert ended.err.endswith("stopped by SIGINT after the training\n")
    assert run_state.read(project / "runs/default")["state"] == "finished"


def test_what_a_run_that_is_cut_short_leaves_is_removed_without_a_word() -> None:
    code = (
        "import os, sys; sys.modules['config'] = type(sys)('config')\n"  # it would load torch
        "sys.modules['config'].Config = object\n"
        "from multiprocessing import get_context; from engine import signals\n"
        "signals.deafen(); kept = get_context('spawn').Semaphore(); os._exit(1)"
    )
    ended = run([sys.executable, "-c", code], MODULES / "digits")
    assert (ended.status, ended.err) == (1, "")


def test_a_loader_that_is_half_made_adds_nothing_to_the_last_word(tmp_path: Path) -> None:
    """As where /dev/shm is full or missing; torch's has a __del__ that then fails itself."""
    code = """
    import _multiprocessing
    from engine import failures
    from torch.utils.data import DataLoader
    def refuse(*_):
        raise OSError(28, "No space left on device")
    _multiprocessing.SemLock = refuse
    try:
        iter(DataLoader([1, 2], num_workers=1))
    except OSError:
        failures.leave(1)
    """
    ended = program(tmp_path, code)
    assert (ended.status, ended.err) == (1, "")
