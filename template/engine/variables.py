"""Who has started this process, and what variables say that are of another start.

Containers, pods and shells keep variables of a launcher that is gone, or has started something
else; and libraries have some that say other than the settings of a run. None of them decides.
"""

import os
import re
import socket
import sys
from pathlib import Path

LAUNCHER = "LAUNCHER_PID"  # set by a launcher of this project for the ranks that it starts
OF_THIS_LAUNCH = "TORCHELASTIC_ERROR_FILE"  # another one for each launch of torchrun
TORCHRUN = "TORCHELASTIC_RUN_ID"  # set by torchrun, which is in `accelerate launch` as well
GIVEN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_PORT")  # by torchrun
# what a launcher gives to a rank
OF_A_RANK = re.compile(
    "(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|NODE_RANK|MASTER_(ADDR|PORT)|TORCHELASTIC_.*"
)
# how many processes there are, and which of them this one is, if it is not the first
SIZES = (
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "JSM_NAMESPACE_SIZE"),
    *("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"),
)
RANKS = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "SLURM_PROCID")
# what Accelerate and Lightning read beside their arguments, or even before them; where a run is
# done, as ACCELERATE_USE_CPU says it, is nothing that settings say
OF_LIBRARIES = re.compile("ACCELERATE_(?!USE_CPU$|LOG_LEVEL$).*|(LT|PL)_.*")
# where one is 1, torch compiles nothing, and says nothing
NO_COMPILER = ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE")


def launched() -> bool:
    """Whether a launcher has started this process, as a rank."""
    return LAUNCHER in os.environ or TORCHRUN in os.environ


def problems() -> list[tuple[str, str]]:
    """Drop what is not of this start from the environment.

    Where that was for several processes, nobody knows what is meant: (fact, remedy).
    """
    accelerate = "ACCELERATE_MIXED_PRECISION" in os.environ  # by `accelerate launch`, always
    drop(OF_LIBRARIES)
    if LAUNCHER in os.environ:
        return []
    if TORCHRUN in os.environ and all(number(name) >= 0 for name in GIVEN):
        os.environ.pop("NODE_RANK", None)  # torchrun says GROUP_RANK, and Lightning reads both
        if given_by_python() and not agent_is_gone():
            return []
        fact = f"the launcher of this process is gone (`{TORCHRUN}`)"
        remedy = "start again: the run goes on from its last checkpoint, if it has one"
        return [(fact, f"{remedy}; of an older launch: unset {' '.join(drop(OF_A_RANK))}")]
    several = [f"{name}={number(name)}" for name in SIZES if number(name) > 1]
    several += [f"{name}={number(name)}" for name in RANKS if number(name) > 0]
    left = sorted({name.split("=")[0] for name in several} | set(drop(OF_A_RANK)))
    if several:
        fact = f"`{several[0]}` says that there are other processes, but no launcher is here"
        remedy = f"start it once, or by torchrun; of an older launch: unset {' '.join(left)}"
        return [(fact, remedy)]
    if accelerate and "MASTER_PORT" in left:
        fact = "`accelerate launch` was asked for several processes and has started one"
        return [(fact, "torchrun --standalone --nproc-per-node 2 train.py, also without a GPU")]
    return []


def drop(names: re.Pattern[str]) -> list[str]:
    """Take variables out of the environment; which there were."""
    found = [name for name in os.environ if names.fullmatch(name)]
    for name in found:
        del os.environ[name]
    return found


def number(name: str) -> int:
    """What a variable says, -1 where it is not set or no number."""
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else -1


def given_by_python() -> bool:
    """Whether torchrun's variables come from a program in Python, as it is one, and no shell.

    Of those from which this process descends, it is the nearest that was started without them.
    """
    pid = os.getpid()
    name = next(name for name in (OF_THIS_LAUNCH, TORCHRUN) if name in os.environ)
    given = f"{name}={os.environ[name]}\0".encode()
    try:
        while given in Path(f"/proc/{pid}/environ").read_bytes():
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if pid == 0:  # all of a container has them
                return False
        return "python" in Path(f"/proc/{pid}/exe").readlink().name
    except OSError:  # not Linux, or another user's process
        return True


def agent_is_gone() -> bool:
    """Whether the agent of torchrun that should hold the store is no more."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return False  # rank 0 will hold it
    try:
        address = os.environ.get("MASTER_ADDR", "localhost"), int(os.environ["MASTER_PORT"])
        socket.create_connection(address, timeout=10).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # of another machine; torch will say more
        return False
    return False


def profiled() -> list[tuple[str, str]]:
    """Why this program cannot start ranks, where another is the one that Python runs."""
    name = getattr(sys.modules["__main__"].__spec__, "name", "")
    if name not in ("cProfile", "profile", "trace"):
        return []
    fact = f"{name} runs this program, and its ranks could not be started"
    return [(fact, "start it without; --profile 2:3 shows where the time goes")]
