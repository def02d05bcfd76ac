"""What the machine gives to training: git, names, ports and limits."""

import os
import resource
import shutil
import socket
import subprocess
from pathlib import Path

from scaffold.ops.doctor.finding import Finding

FILES = 1024  # open files; workers of a loader hand tensors over in files
SHARED = 2**30  # bytes in /dev/shm, through which workers hand them over; docker gives 64 MiB
PORT = 29500  # what the ranks of several machines meet at by default


def check_git() -> Finding:
    """What switch and update work by."""
    git = shutil.which("git")
    if not git:
        remedy = "install git: scaffold switch and update need it"
        return Finding("git", "warn", "not installed", remedy)
    done = subprocess.run([git, "version"], capture_output=True, text=True, check=False)
    return Finding("git", "ok", done.stdout.strip())


def check_host() -> Finding:
    """Gloo and NCCL listen at the address of the machine's name, by default."""
    name = socket.gethostname()
    try:
        address = socket.getaddrinfo(name, None)[0][4][0]
    except OSError as error:
        remedy = f"add `127.0.0.1 {name}` to /etc/hosts, or set GLOO_SOCKET_IFNAME"
        return Finding("host", "warn", f"`{name}` has no address ({error.strerror})", remedy)
    return Finding("host", "ok", f"{name} is {address}")


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
        remedy = f"ulimit -n {FILES if hard == resource.RLIM_INFINITY else min(65536, hard)}"
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
