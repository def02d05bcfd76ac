"""Ranks that are forked from a process which has torch, lightning and accelerate already.

Starting Python and importing these takes most of the time of a short training. What is said about
training may use this; what is said about a launcher starts the real one. That both give the same
bits is a test (project/test_training.py).

Run as a program, this is the process that forks. It reads a request per line, as JSON: a command as
a project's first lines say it, its folder, its environment and the files for what it prints. It
forks a process that leads the ranks, as torchrun does, and tells how that ended.
"""

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn
from unittest.mock import patch

TEMPLATE = Path(__file__).parents[1] / "template"

Request = dict[str, Any]


class Forker:
    """The process that forks, seen from a test; it goes with the process that has made it."""

    def __init__(self, env: dict[str, str]) -> None:
        command = [sys.executable, __file__]
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=env, text=True, process_group=0, **streams)

    def run(self, request: Request) -> int:
        """The exit status of a command; all it started is gone when this returns.

        Raises subprocess.TimeoutExpired after request["seconds"].
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin
        assert stdout
        stdin.write(f"{json.dumps(request)}\n")
        stdin.flush()
        told = json.loads(stdout.readline())
        if told["late"]:
            raise subprocess.TimeoutExpired(request["command"], request["seconds"])
        return int(told["status"])


def led(command: list[str], folder: Path, processes: int) -> list[str]:
    """The command whose ranks can be forked: Fabric would start the others itself."""
    if command[0] == "python" and processes > 1 and "fabric" in (folder / command[1]).read_text():
        return ["torchrun", "--nproc-per-node", str(processes), *command[1:]]
    return command


def serve() -> None:
    """Fork a leader for each request, until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    import_libraries()
    for line in sys.stdin:
        request = json.loads(line)
        late: list[bool] = []
        leader = fork(partial(lead, request))

        def kill(_number: int, _frame: Any, leader: int = leader, late: list[bool] = late) -> None:
            late.append(True)
            os.killpg(leader, signal.SIGKILL)

        signal.signal(signal.SIGALRM, kill)
        signal.alarm(int(request["seconds"]))
        _, status = os.waitpid(leader, 0)
        signal.alarm(0)
        code = os.waitstatus_to_exitcode(status)
        answers.write(json.dumps({"status": code, "late": bool(late)}) + "\n")
        answers.flush()


def import_libraries() -> None:
    """What a project of any method and the command line import, and no module of theirs."""
    import accelerate
    import cattrs.strategies
    import click
    import copier
    import lightning.fabric
    import tomlkit
    import torch.multiprocessing as mp
    import torch.utils.data
    import torch.utils.tensorboard
    import tqdm
    import typeguard
    import tyro

    assert all((accelerate, cattrs, click, copier, lightning.fabric, torch.utils, tomlkit, tqdm))
    assert typeguard
    tyro.cli(Nothing, args=[])  # which loads the rest of it
    keep_code()
    gc.collect()
    gc.freeze()
    # what mp.spawn starts, too
    mp.spawn = partial(mp.start_processes, start_method="fork")


@dataclass
class Nothing:
    """A command line without flags."""


def keep_code() -> None:
    """Compile what most projects have, so that no rank does it."""
    codes = {path.read_bytes(): str(path) for path in TEMPLATE.rglob("*.py")}
    compiled = {source: compile(source, name, "exec") for source, name in codes.items()}
    compiles = SourceFileLoader.source_to_code

    def source_to_code(loader: Any, data: bytes, path: str, **options: Any) -> Any:
        code = compiled.get(data)
        return named(code, path) if code else compiles(loader, data, path, **options)

    patch.object(SourceFileLoader, "source_to_code", source_to_code).start()


def named(code: CodeType, path: str) -> CodeType:
    """The code as if it had been compiled at a path."""
    inside = (named(part, path) if isinstance(part, CodeType) else part for part in code.co_consts)
    return code.replace(co_filename=path, co_consts=tuple(inside))


def fork(work: Callable[[], int]) -> int:
    """The pid of a process that does some work, and ends with its status."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = work()
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        leave(status)


def leave(status: int) -> NoReturn:
    """End a process that was forked: it must not go on as the one it was forked from."""
    import atexit

    atexit._run_exitfuncs()  # as an interpreter does that ends by itself
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def lead(request: Request) -> int:
    """Be the process that a user would have started."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    program, *words = request["command"]
    if program == "python":
        return run(words)
    count = int(words[words.index("--nproc-per-node") + 1])
    return lead_ranks(count, words[words.index("--nproc-per-node") + 2 :], request["machines"])


def lead_ranks(count: int, words: list[str], machines: list[str]) -> int:
    """Start ranks as torchrun does: with its variables, and a store that this process holds.

    machines: the folder of each rank, where each is on a machine of its own; else none.
    """
    pipes = [os.pipe() for _ in range(count)]
    pids = [
        fork(partial(be_rank, rank, count, pipes[rank][0], words, machines))
        for rank in range(count)
    ]
    import torch.distributed as dist

    # only now: it has a thread
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for _, end in pipes:
        os.write(end, f"{store.port}\n".encode())

    def forward(number: int, _frame: Any) -> None:
        for pid in pids:
            os.kill(pid, number)

    signal.signal(signal.SIGTERM, forward)
    worst = 0
    while pids:
        pid, status = os.wait()
        pids.remove(pid)
        if status and not worst:
            worst = 1
            for other in pids:
                os.kill(other, signal.SIGTERM)
    return worst


def be_rank(rank: int, count: int, pipe: int, words: list[str], machines: list[str]) -> int:
    """Be one of the ranks."""
    port = os.read(pipe, 16).decode().strip()
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "ROLE_RANK": rank}
    numbers |= {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "ROLE_WORLD_SIZE": count}
    numbers |= {"GROUP_WORLD_SIZE": 1, "TORCHELASTIC_RESTART_COUNT": 0}
    if machines:
        os.chdir(machines[rank])
        numbers |= {"LOCAL_RANK": 0, "GROUP_RANK": rank, "LOCAL_WORLD_SIZE": 1}
        numbers |= {"GROUP_WORLD_SIZE": count}
    os.environ |= {name: str(number) for name, number in numbers.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": "forked"}
    return run(words)


def run(words: list[str]) -> int:
    """Run a program as `python` would."""
    path = Path(words[0]).resolve()
    forget([library for library in ("lightning", "accelerate") if library not in path.read_text()])
    sys.path[0], sys.argv = str(path.parent), words
    runpy.run_path(str(path), run_name="__main__")
    return 0


def forget(libraries: list[str]) -> None:
    """Let a program that does not import these find them not imported.

    What it starts to load data imports what it has itself.
    """
    for name in list(sys.modules):
        if name.partition(".")[0] in libraries:
            del sys.modules[name]


if __name__ == "__main__":
    serve()
