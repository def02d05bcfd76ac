"""What starts the ranks, and how it and they end with each other.

torchrun, Fabric's rank 0, or the parent of mp.spawn: the last two are of this project, and say how
a rank has ended that could not say so itself.
"""

import ctypes
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

import torch.distributed as dist
import torch.multiprocessing as mp

from config import Config
from engine import first_cause, output, peers, run_state, signals
from engine.errors import leave_if
from engine.hints import of_ending
from engine.variables import LAUNCHER, TORCHRUN, agent_is_gone

LOST = 76  # the exit status of a rank that has lost another and leaves it to its launcher to say so
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def speaks() -> bool:
    """Whether this rank has a launcher of this project, which tells of lost ranks."""
    return os.environ.get(LAUNCHER) == str(os.getppid())


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


def leave_old_store() -> None:
    """Where torchrun starts ranks anew, let them meet in a store that rank 0 will hold.

    Its agent's keeps what the ranks before have told each other, and a new one would wait for them
    (https://github.com/pytorch/pytorch/issues/135712). On several machines nobody knows rank 0's.
    """
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if restarts == "0" or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    if os.environ.get("GROUP_WORLD_SIZE", "1") != "1":
        return
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, is_master=False)
    if os.environ["RANK"] == "0":
        with socket.create_server(("", 0)) as server:
            store.set(f"port-{restarts}", str(server.getsockname()[1]))
    os.environ["MASTER_PORT"] = store.get(f"port-{restarts}").decode()
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"


def sweep() -> None:
    """Remove the empty folders that torchrun's agent makes for each start, and leaves.

    With --log-dir they are elsewhere, and with --redirects not empty.
    """
    mine = Path(os.environ.get("TORCHELASTIC_ERROR_FILE", ""))
    for top in (path for path in mine.parents if path.name.startswith("torchelastic_")):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


def wait_for(ranks: mp.ProcessContext, store: dist.TCPStore, config: Config) -> None:
    """Wait for the ranks that this process has started, and tell them what asks it to stop.

    Where one ends without a word, this is the word.
    """

    def forward(number: int, _frame: FrameType | None) -> None:
        if run_state.read(config.run_dir).get("pid") not in ranks.pids():  # they are loading torch
            signals.ignore()
            for process in ranks.processes:
                process.kill()
            print(f"stopped by {signals.name(number)} before the first step: nothing is lost")
            sys.exit(128 + number)
        for pid in filter(None, ranks.pids()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    output.guard(output.PATIENCE)
    signals.take(forward)
    signals.hear()
    # that it ends the others, too, is no news
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    try:
        while not ranks.join():
            pass
        signals.ignore()  # as the ranks do in the end
    except mp.ProcessExitedException as error:
        codes = dict(enumerate(process.exitcode or 0 for process in ranks.processes))
        rank, code = error.error_index, error.exit_code
        if (
            code == LOST
        ):  # the one it lost was not seen: a child of it holds its pipe to this process
            ended = sorted(((code == 0, rank) for rank, code in codes.items() if code != LOST))
            rank = ended[0][1] if ended else rank
        tell(rank, codes[rank], store, config, ranks.pids())
        sys.exit(code if (code := codes[rank]) > 0 else 128 - code if code else 1)


def tell(rank: int, code: int, store: dist.TCPStore, config: Config, pids: list[int]) -> None:
    """Say how a rank ended, unless somebody has said why."""
    state = run_state.read(config.run_dir)
    running = state.get("pid") in pids and state.get("state") == "running"
    if first_cause.told(store) or not (running or code < 0):
        return
    fact = f"rank {rank} {peers.describe(code)}"
    print(f"error: {fact}\nhint: {of_ending(fact)}", file=sys.stderr, flush=True)
    if running:
        run_state.tell_failure(config.run_dir, fact, is_ours=True)
