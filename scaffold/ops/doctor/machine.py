"""What the machine gives to training: git, names, ports and limits."""

import os
import resource
import shutil
import socket
from pathlib import Path
from threading import Thread

from scaffold.ops.doctor.finding import Finding
from scaffold.ops.doctor.program import Program

FILES = 1024  # open files; workers of a loader hand tensors over in files
SHARED = 2**30  # bytes in /dev/shm, through which workers hand them over; docker gives 64 MiB
GIT_WAIT = 10  # seconds to tell its version
HOST_WAIT = 3  # seconds for the address of a name
PORT = 29500  # what the ranks of several machines meet at by default


def check_git() -> Finding:
    """What switch and update work by."""
    git = shutil.which("git")
    if not git:
        remedy = "install git: scaffold switch and update need it"
        return Finding("git", "warn", "not installed", remedy)
    said, why, status = Program([git, "version"]).end(GIT_WAIT)
    if status:
        lines = why.strip().splitlines() or [f"status {status}"]
        remedy = f"mend {git}, or take it off the PATH: scaffold switch and update need it"
        return Finding("git", "warn", f"does not work: {lines[0]}", remedy)
    return Finding("git", "ok", said.strip())


def check_host() -> Finding:
    """Gloo and NCCL listen at the address of the machine's name, by default."""
    name = socket.gethostname()
    remedy = f"add `127.0.0.1 {name}` to /etc/hosts, or set GLOO_SOCKET_IFNAME"
    found: list[str] = []
    # a thread, for a name server that is silent is asked for half a minute
    asking = Thread(target=lambda: found.append(_address(name)), daemon=True)
    asking.start()
    asking.join(HOST_WAIT)
    if not found:
        fact = f"who has the name `{name}` is not known in {HOST_WAIT} s"
        return Finding("host", "warn", fact, remedy)
    if found[0].startswith("("):
        return Finding("host", "warn", f"`{name}` has no address {found[0]}", remedy)
    return Finding("host", "ok", f"{name} is {found[0]}")


def _address(name: str) -> str:
    """The address of a machine's name, or why there is none, in brackets."""
    try:
        return str(socket.getaddrinfo(name, None)[0][4][0])
    except OSError as error:
        return f"({error.strerror})"


def check_port() -> Finding:
    """Whether processes can meet on this machine at all, and at the usual port of many machines."""
    try:
        socket.create_server(("127.0.0.1", 0)).close()
    except OSError as error:
        remedy = "allow connections on the loopback interface"
        return Finding("ports", "fail", f"none can be opened ({error.strerror})", remedy)
    try:
        socket.create_server(("", PORT)).close()
    except OSError:
        fact = f"{PORT} is taken, at which the ranks of several machines meet by default"
        return Finding("ports", "warn", fact, "on many machines give --rdzv-endpoint another one")
    return Finding("ports", "ok", f"free ones are given; {PORT} is free")


def check_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES:
        most = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
        remedy = (
            f"ulimit -n {most}" if most > soft else "train with --workers 0: no more is allowed"
        )
        return Finding("files", "warn", f"{soft} can be open; workers need more", remedy)
    return Finding("files", "ok", f"{soft} can be open" if soft > 0 else "any number can be open")


def check_shared_memory() -> Finding:
    """What the workers of a loader hand their batches over in."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Finding("memory", "ok", "shared memory is not a folder here")
    if not os.access(folder, os.W_OK):
        remedy = "mount -o remount,rw /dev/shm, or train with --workers 0"
        return Finding("memory", "warn", "/dev/shm is not writable", remedy)
    disk = os.statvfs(folder)
    size = disk.f_bavail * disk.f_frsize
    if size < SHARED:
        fact = f"{size / 2**20:.0f} MiB are shared, little for the workers of a loader"
        return Finding(
            "memory", "warn", fact, "docker run --shm-size=8g, or train with --workers 0"
        )
    return Finding("memory", "ok", f"{size / 2**30:.0f} GiB can be shared")
