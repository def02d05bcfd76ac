"""What a run directory says about its run: that it is in use, and how it ended.

runs/default/run_state.json    running, finished, preempted, or failed and why
runs/default/.lock             held by rank 0 as long as it lives, however it dies
"""

import fcntl
import json
import os
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from engine.errors import is_first, leave_if

STATE = "run_state.json"
OVER = ("finished", "preempted")
PARENT = os.getppid()  # later it may be gone; of Fabric's ranks it is rank 0
held: list[IO[str]] = []  # the lock of this process, which the system takes back when it ends
found: list[dict[str, Any]] = []  # what the directory said before, where its run was over


def problems(run_dir: Path) -> list[tuple[str, str]]:
    """Why a directory cannot be made or written: (fact, remedy), or nothing."""
    try:
        # of a link that leads nowhere, the link
        place = next(path for path in (run_dir, *run_dir.parents) if os.path.lexists(path))
        writable = os.access(place, os.W_OK | os.X_OK)
        longest = max(len(os.fsencode(part)) for part in ("", *run_dir.parts))
        limit = os.pathconf(place, "PC_NAME_MAX") if place.is_dir() else longest
    except (OSError, ValueError) as error:  # a part above may not be looked into
        return [(f"run_dir `{run_dir}`: {error}", "set another --run_dir")]
    if not place.is_dir():
        what = "a link that leads nowhere" if place.is_symlink() else "a file"
        return [(f"run_dir `{run_dir}`: `{place}` is {what}", "set --run_dir runs/new")]
    if longest > limit:
        fact = (
            f"run_dir `{run_dir}` has a name of {longest} bytes, and at most {limit} are possible"
        )
        return [(fact, "set a shorter --run_dir")]
    if not writable:
        return [(f"run_dir `{run_dir}`: `{place}` is not writable", "set another --run_dir")]
    return []


def take(run_dir: Path) -> None:
    """Keep other runs out of the directory; ends the program where one is at work in it.

    Says so where the run before did not come to an end of its own.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    before = state(run_dir)
    process = f"process {before.get('pid', '?')} on {before.get('host', '?')}"
    try:
        lock(run_dir / ".lock")
    except BlockingIOError:
        remedy = "set another --run_dir, or stop that run first"
        leave_if([(f"a run is at work in `{run_dir}`: {process}", remedy)])
    if before.get("state") == "running":
        print(f"the run before, {process}, ended without a word: it was killed", flush=True)
    shutil.rmtree(run_dir / "stacks", ignore_errors=True)  # of a run that hung
    for path in run_dir.glob(f".{STATE}.*"):  # of one that was killed
        path.unlink(missing_ok=True)
    if before.get("state") in OVER:
        found.append(before)
    tell(run_dir, "running", pid=os.getpid(), host=socket.gethostname(), launch=launch())


def lock(path: Path) -> None:
    """Lock a file until this process ends. Raises BlockingIOError where another one has it."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    except OSError as error:  # a network file system without locks
        print(f"{path} cannot be locked ({error}): start one run at a time", flush=True)
    held.append(file)
    # what data.py may fork would keep the lock when this process is killed
    os.register_at_fork(after_in_child=file.close)


def launch() -> str:
    """What the ranks of a start have in common, and those of another start do not have."""
    names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")
    address, *rest = (os.environ.get(name, "") for name in names)
    host = [socket.gethostname()] if address in ("127.0.0.1", "localhost") else []
    return " ".join([address, *rest, *host])


def is_ours(found: dict[str, Any]) -> bool:
    """Whether a state is that of this run: rank 0 has the lock, others have rank 0's launcher."""
    if is_first():
        return bool(held)
    child = (found.get("pid"), found.get("host")) == (PARENT, socket.gethostname())
    return child or found.get("launch") == launch()


def tell(run_dir: Path, state: str, **facts: Any) -> None:
    """Write the state of the run, whole or not at all; only a process that has the lock does."""
    if held:
        write(run_dir, state, **facts)


def write(run_dir: Path, state: str, **facts: Any) -> None:
    beside = run_dir / f".{STATE}.{os.getpid()}"
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    try:
        beside.write_text(json.dumps({"state": state, "since": now} | facts, indent=1) + "\n")
        beside.replace(run_dir / STATE)
    finally:  # as on a full disk
        beside.unlink(missing_ok=True)


def tell_failure(run_dir: Path, why: str) -> None:
    """The same for a run that fails, if it is the first to say why; any of its ranks may do it.

    Perhaps it fails because nothing can be written any more.
    """
    with suppress(OSError):
        now = state(run_dir)
        if now.get("state") == "running" and is_ours(now):
            known = {name: now.get(name) for name in ("pid", "host", "launch")}
            write(run_dir, "failed", why=why, **known)


def tell_stop(run_dir: Path, why: str) -> None:
    """The same for a run that was stopped before it did anything: if it was over, it still is."""
    with suppress(OSError):
        if state(run_dir).get("pid") == os.getpid():
            for facts in found or [{"state": "preempted", "step": 0, "why": why}]:
                tell(run_dir, **facts)


def tell_refusal(run_dir: Path, why: str) -> None:
    """The same for a start that was refused: of a run that was over, it still is."""
    for before in found:
        tell(run_dir, **before)
    tell_failure(run_dir, why)


def failure(run_dir: Path) -> str | None:
    """Why this run fails, if one of its ranks has said it."""
    found = state(run_dir)
    failed = found.get("state") == "failed" and is_ours(found)
    return str(found.get("why")) if failed else None


def state(run_dir: Path) -> dict[str, Any]:
    """What run_state.json says; empty where there is none."""
    try:
        found = json.loads((run_dir / STATE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
