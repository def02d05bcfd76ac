"""What ends a run before its time: SIGTERM from a cluster, SIGUSR1 from a scheduler, Ctrl-C.

And a launcher that is gone, a rank whose workers should go, or waiting for too long.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from multiprocessing import forkserver, parent_process, resource_tracker
from pathlib import Path
from threading import Thread
from types import FrameType

import torch.multiprocessing as mp

from engine import watchdog
from engine.errors import leave_if
from engine.launch import LAUNCHER, TORCHRUN, agent_is_gone

PR_SET_PDEATHSIG = 1  # linux/prctl.h
HEAVY = ("torch", "lightning.fabric", "accelerate")  # seconds to load
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


def watch() -> None:
    """End the run when a rank waits for too long from now on (watchdog.py)."""
    watchdog.progress(watchdog.START)


class StopRequest:
    """A signal, kept until the step is done: then that is saved, and the run ends.

    One rank may be asked and the others not: `agreement.Stop` makes them agree.
    """

    # Made when the processes have met: one that waits for the others is just ended by a signal.

    def __init__(self) -> None:
        self.received = False
        for number in STOP_SIGNALS:
            signal.signal(number, self.receive)

    def receive(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True


def end_with_launcher() -> None:
    """Let this rank save and leave when its launcher is killed: nobody else would end it."""
    if os.environ.get("MASTER_PORT", "0") == "0" or "LOCAL_RANK" not in os.environ:
        os.environ[LAUNCHER] = str(os.getpid())  # Fabric's rank 0, and it starts the others
        return
    with suppress(OSError, AttributeError):  # Linux alone can do it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # loading torch has taken seconds: nobody tells what happened before
    remedy = "start again: the run goes on from its last checkpoint, if it has one"
    leave_if([("the launcher was killed", remedy)] if launcher_is_gone() else [], status=1)


def launcher_is_gone() -> bool:
    """Whether what has started this rank is no more. What torchrun starts does not know its pid."""
    if TORCHRUN not in os.environ:
        return os.environ.get(LAUNCHER, str(os.getppid())) != str(os.getppid())
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":  # rank 0 will hold the store
        return os.getppid() == 1 and not is_python(1)
    return agent_is_gone()


def is_python(pid: int) -> bool:
    """Whether a process, as torchrun where it is the first of a container, runs our Python."""
    try:
        return Path(f"/proc/{pid}/exe").samefile("/proc/self/exe")
    except OSError:  # another user's
        return False


def wait_for(ranks: mp.ProcessContext) -> None:
    """Wait for the ranks that this process has started, and tell them what asks it to stop."""

    def forward(number: int, _frame: FrameType | None) -> None:
        for pid in filter(None, ranks.pids()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    for number in STOP_SIGNALS:
        signal.signal(number, forward)
    try:
        while not ranks.join():
            pass
    except mp.ProcessExitedException as error:
        if error.exit_code > 0:  # the rank has said why
            sys.exit(error.exit_code)
        remedy = "start again: the run goes on from its last checkpoint, if it has one"
        if -error.exit_code not in STOP_SIGNALS:
            remedy = f"was the memory full? {remedy}"
        fact = f"rank {error.error_index} was ended by {error.signal_name}"
        print(f"error: {fact}\nhint: {remedy}", file=sys.stderr)
        sys.exit(128 - error.exit_code)


def end_with_parent(_worker: int) -> None:
    """Let a loader's worker end with its rank, however that ends.

    torch looks at the parent, which is the forkserver here; and that lives as long as its workers.
    """
    rank = parent_process()
    assert rank is not None, "a worker has been started by a rank"

    def end() -> None:
        rank.join()
        os._exit(1)

    Thread(target=end, daemon=True).start()


def start_forkserver() -> None:
    """Start what starts the loader's workers, all deaf to signals: the rank alone is to answer.

    Launchers and terminals signal every process that they find, and a rank without its workers
    cannot finish the step. What is blocked here stays so in the processes that are started. It
    loads once what takes long, and a worker that it forks has that already.
    """
    forkserver.set_forkserver_preload([name for name in HEAVY if name in sys.modules])
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    resource_tracker.ensure_running()  # needed by the next line but one, and unblocks signals
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
