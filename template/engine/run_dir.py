"""One run at a time in a run directory, which can be made and written."""

import fcntl
import os
import shutil
import socket
from pathlib import Path

from engine import run_state
from engine.errors import leave_if

LOCK = ".lock"
KEPT = (LOCK, "config.toml", "checkpoints")  # a run that goes on writes there; the rest it replaces


def problems(run_dir: Path) -> list[tuple[str, str]]:
    """Why a directory cannot be made or written: (fact, remedy), or nothing."""
    try:
        str(run_dir).encode()  # trackers write it in UTF-8
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
    # as another user has left it in a folder of many: the first to fail would be a save
    kept = [run_dir / name for name in KEPT if (run_dir / name).exists()]
    if foreign := next((path for path in kept if not os.access(path, os.W_OK)), None):
        fact = f"run_dir `{run_dir}`: `{foreign}` is not writable"
        return [(fact, "let all in it be yours (chown -R), or set another --run_dir")]
    return []


def take(run_dir: Path) -> None:
    """Keep other runs out of the directory; ends the program where one is at work in it.

    Says so where the run before did not come to an end of its own.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    before = run_state.read(run_dir)
    process = f"process {before.get('pid', '?')} on {before.get('host', '?')}"
    try:
        lock(run_dir / LOCK)
    except BlockingIOError:
        remedy = "set another --run_dir, or stop that run first"
        leave_if([(f"a run is at work in `{run_dir}`: {process}", remedy)])
    if before.get("state") == "running":
        print(f"the run before, {process}, ended without a word: it was killed", flush=True)
    shutil.rmtree(run_dir / "stacks", ignore_errors=True)  # of a run that hung
    for path in run_dir.glob(f".{run_state.FILE}.*"):  # of one that was killed
        path.unlink(missing_ok=True)
    if before.get("state") in run_state.OVER:
        run_state.found.append(before)
    mine = {"pid": os.getpid(), "host": socket.gethostname(), "launch": run_state.launch()}
    run_state.tell(run_dir, "running", **mine)


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
    run_state.held.append(file)
    # what data.py may fork would keep the lock when this process is killed
    os.register_at_fork(after_in_child=file.close)


def check(run_dir: Path) -> None:
    """Raise OSError where the directory is no longer the one that this process has taken.

    By what can be read, for not every file system numbers its files for good.
    """
    if not run_state.held:
        return
    if not (run_dir / LOCK).exists():
        raise FileNotFoundError(f"in {run_dir}: it was moved or removed while the run was alive")
    if run_state.read(run_dir).get("pid", os.getpid()) != os.getpid():
        raise FileExistsError(f"in {run_dir}: another run has taken it")
