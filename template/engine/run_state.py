"""What a run directory says about its run: runs/default/run_state.json.

running, finished, preempted, or failed and why.
"""

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from engine.errors import is_first

FILE = "run_state.json"
OVER = ("finished", "preempted")
PARENT = os.getppid()  # later it may be gone; of Fabric's ranks it is rank 0
held: list[IO[str]] = []  # the lock of this process, which the system takes back when it ends
found: list[dict[str, Any]] = []  # what the directory said before, where its run was over


def launch() -> str:
    """What the ranks of a start have in common, and those of another start do not have."""
    names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")
    address, *rest = (os.environ.get(name, "") for name in names)
    host = [socket.gethostname()] if address in ("127.0.0.1", "localhost") else []
    return " ".join([address, *rest, *host])


def of_this_run(found: dict[str, Any]) -> bool:
    """Whether a state is that of this run: rank 0 has the lock, others have rank 0's launcher."""
    if is_first():
        return bool(held) and found.get("pid") == os.getpid()  # a link may lead elsewhere now
    child = (found.get("pid"), found.get("host")) == (PARENT, socket.gethostname())
    return child or found.get("launch") == launch()


def tell(run_dir: Path, state: str, **facts: Any) -> None:
    """Write the state of the run; only a process that has the lock does."""
    if held:
        write(run_dir, state, **{"pid": os.getpid()} | facts)


def write(run_dir: Path, state: str, **facts: Any) -> None:
    """Write a state: whole or not at all, where the disk has room for that."""
    path, beside = run_dir / FILE, run_dir / f".{FILE}.{os.getpid()}"
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    text = json.dumps({"state": state, "since": now} | facts, indent=1) + "\n"
    try:
        beside.write_text(text)
        beside.replace(path)
    except OSError:  # as on a full disk, where the file has some room
        if not path.exists():
            raise
        with path.open("r+") as file:
            file.write(text)
            file.truncate()
    finally:
        beside.unlink(missing_ok=True)


def tell_failure(run_dir: Path, why: str, is_ours: bool = False) -> None:
    """The same for a run that fails, if it is the first to say why; any of its ranks may do it.

    Perhaps it fails because nothing can be written any more. is_ours: known to be of this run.
    """
    with suppress(OSError):
        now = read(run_dir)
        if now.get("state") == "running" and (is_ours or of_this_run(now)):
            known = {name: now.get(name) for name in ("pid", "host", "launch")}
            write(run_dir, "failed", why=why, **known)


def tell_stop(run_dir: Path, why: str) -> None:
    """The same for a run that was stopped before it did anything: if it was over, it still is."""
    with suppress(OSError):
        now = read(run_dir)
        if (now.get("pid"), now.get("state")) == (os.getpid(), "running"):
            for facts in found or [{"state": "preempted", "step": 0, "why": why}]:
                tell(run_dir, **facts)


def tell_refusal(run_dir: Path, why: str) -> None:
    """The same for a start that was refused: of a run that was over, it still is."""
    with suppress(OSError):
        for before in found:
            tell(run_dir, **before)
    tell_failure(run_dir, why)


def failure(run_dir: Path) -> str | None:
    """Why this run fails, if one of its ranks has said it."""
    found = read(run_dir)
    failed = found.get("state") == "failed" and of_this_run(found)
    return str(found.get("why")) if failed else None


def read(run_dir: Path) -> dict[str, Any]:
    """What run_state.json says; empty where there is none."""
    try:
        found = json.loads((run_dir / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
