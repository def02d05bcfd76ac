"""What training needs, one check each: a finding with its remedy."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from scaffold.catalog.methods import METHODS
from scaffold.ops.doctor import machine
from scaffold.ops.doctor.finding import Finding

HERE = Path(__file__).parent
OLDEST_PYTHON, OLDEST_TORCH = (3, 11), (2, 6)
WAIT, SMI_WAIT = 120, 20  # seconds
LARGEST = 2**20  # bytes of an answer


def python_of_training() -> str:
    """The Python that trains: of the active environment, or the first on the path."""
    active = os.environ.get("VIRTUAL_ENV")
    names = [f"{active}/bin/python"] if active else []
    names += [shutil.which("python") or "", shutil.which("python3") or "", sys.executable]
    return next(name for name in names if name and Path(name).exists())


def ask(python: str, program: str, keys: set[str]) -> tuple[dict[str, Any], str]:
    """(what a program of this folder printed as JSON, with these keys, or {}; else why not)."""
    out, err, status = run([python, str(HERE / program)], WAIT)
    with suppress(ValueError, IndexError):
        told = json.loads(out.strip().splitlines()[-1])
        if isinstance(told, dict) and keys <= told.keys():
            return told, ""
    lines = err.strip().splitlines()
    return {}, lines[-1] if lines else f"ended with status {status}"


def run(command: list[str], seconds: float) -> tuple[str, str, int]:
    """(stdout, stderr, status) of a program, of which nothing is left after so many seconds."""
    with TemporaryFile() as out, TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        except OSError as error:
            return "", str(error), 127
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return "", f"no answer in {seconds:.0f} s", 124
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read(LARGEST).decode(errors="replace"))
        return said[0], said[1], status


def findings(python: str, method: str | None) -> Iterator[Finding]:
    """All checks in turn; method: that of the project here, or None outside of one."""
    facts, why = ask(python, "facts.py", {"python", "executable", "packages", "torch"})
    if not facts:
        remedy = "give --python the Python of the environment that trains"
        yield Finding("python", "fail", f"{python} does not run: {why}", remedy)
    else:
        yield check_python(facts)
        yield from check_torch(facts)
        yield from check_packages(facts, method, Path(facts["executable"]).parent)
    yield machine.check_git()
    yield machine.check_host()
    yield machine.check_port()
    yield machine.check_files()
    yield machine.check_shared_memory()
    if facts and "error" not in facts["torch"]:
        yield check_ranks(python)


def check_python(facts: dict[str, Any]) -> Finding:
    fact = f"{facts['python']} at {facts['executable']}"
    if _numbers(facts["python"]) < OLDEST_PYTHON:
        return Finding("python", "fail", fact, "make the environment with Python 3.11 or newer")
    return Finding("python", "ok", fact)


def check_torch(facts: dict[str, Any]) -> Iterator[Finding]:
    """Torch, its CUDA build against the driver, and what carries gradients from rank to rank."""
    torch, version = facts["torch"], facts["packages"]["torch"]
    if "error" in torch:
        fact = f"not to be imported ({torch['error']})" if version else "not installed"
        yield Finding("torch", "fail", fact, "pip install -e '.[test]' in the project")
        return
    build = f"CUDA {torch['cuda']}" if torch["cuda"] else "CPU only"
    if _numbers(version) < OLDEST_TORCH:
        yield Finding("torch", "fail", f"{version}, {build}", "pip install 'torch>=2.6'")
    else:
        yield Finding("torch", "ok", f"{version}, {build}")
    yield check_driver(torch)
    yield from check_gpus(torch["gpus"])
    if torch["gpus"] and not torch["nccl"]:
        remedy = "install a build of torch for CUDA on Linux"
        yield Finding("nccl", "fail", "this torch has no NCCL, which GPUs need", remedy)
    elif torch["gpus"]:
        yield Finding("nccl", "ok", torch["nccl"])
    elif not torch["gloo"]:
        yield Finding("gloo", "fail", "this torch has no gloo, which CPUs need", "reinstall torch")
    else:
        yield Finding("gloo", "ok", "carries gradients between CPUs")


def check_driver(torch: dict[str, Any]) -> Finding:
    """Whether torch and the driver of the GPUs fit together."""
    smi = shutil.which("nvidia-smi")
    said, why, status = run([smi], SMI_WAIT) if smi else ("", "", 0)
    found = re.search(r"CUDA Version: (\d+\.\d+)", said)
    if torch["available"]:
        return Finding("driver", "ok", f"CUDA up to {found[1]}" if found else "works")
    if smi and status:
        lines = (said + why).strip().splitlines() or [f"status {status}"]
        remedy = "mend the driver (dmesg | grep -i nvidia), or train on the CPU"
        return Finding("driver", "warn", f"nvidia-smi fails: {lines[0]}", remedy)
    if not found:
        return Finding("driver", "ok", "no NVIDIA driver: trains on the CPU")
    if not torch["cuda"]:
        remedy = "pip install torch from its index for CUDA: pytorch.org/get-started"
        return Finding("driver", "warn", "there is a GPU, and this torch is for the CPU", remedy)
    if _numbers(torch["cuda"]) > _numbers(found[1]):
        remedy = f"renew the driver, or install a torch for CUDA {found[1]} or older"
        fact = f"knows CUDA up to {found[1]}, and torch was built for {torch['cuda']}"
        return Finding("driver", "warn", fact, remedy)
    remedy = "see whether CUDA_VISIBLE_DEVICES hides them: it is the usual reason"
    return Finding("driver", "warn", "torch sees none of the GPUs", remedy)


def check_gpus(gpus: list[dict[str, Any]]) -> Iterator[Finding]:
    """What the GPUs are, and whether each reaches the memory of the others."""
    if not gpus:
        return
    names = ", ".join(f"{gpu['name']} ({gpu['gib']} GiB)" for gpu in gpus)
    kinds = {(gpu["name"], gpu["gib"]) for gpu in gpus}
    if len(kinds) > 1:
        remedy = "all wait for the slowest: choose equal ones by CUDA_VISIBLE_DEVICES"
        yield Finding("gpus", "warn", names, remedy)
    else:
        yield Finding("gpus", "ok", names)
    if len(gpus) > 1:
        apart = sum(len(gpu["peers"]) < len(gpus) - 1 for gpu in gpus)
        fact = f"{apart} of {len(gpus)} GPUs cannot reach the memory of all others"
        remedy = "it works, through the memory of the machine; nvidia-smi topo -m shows the links"
        if apart:
            yield Finding("links", "warn", fact, remedy)
        else:
            yield Finding("links", "ok", "each GPU reaches the memory of all others")


def check_packages(facts: dict[str, Any], method: str | None, scripts: Path) -> Iterator[Finding]:
    """The packages of the project's method, and its launcher; outside of a project, all methods."""
    packages: dict[str, str | None] = facts["packages"]
    for name in METHODS if method is None else (method,):
        needs = [*(("numpy", "tqdm", "tyro") if method else ()), METHODS[name].requires]
        missing = [package for package in needs if package and not packages[package]]
        program = METHODS[name].launch.split()[0]
        beside = (scripts / program).exists() or shutil.which(program)
        if program != "python" and not beside:
            missing.append(f"{program} beside {facts['executable']}")
        if missing and method:
            fact = f"{name} has no {', '.join(missing)}"
            yield Finding("method", "fail", fact, "pip install -e '.[test]' in the project")
        elif missing:
            fact = f"{name} would need {', '.join(missing)}"
            yield Finding("method", "ok", fact)
        else:
            yield Finding("method", "ok", f"{name}: {METHODS[name].launch}")


def check_ranks(python: str) -> Finding:
    """Two processes that really add up."""
    told, why = ask(python, "ranks.py", {"backend", "sum", "seconds"})
    if not told:
        remedy = "see what stands above; NCCL_DEBUG=INFO tells more of GPUs"
        return Finding("ranks", "fail", f"two processes could not add up: {why}", remedy)
    if told["sum"] != 3:
        remedy = "do not train here: GPUs that reach each other wrongly (NCCL_P2P_DISABLE=1?)"
        return Finding("ranks", "fail", f"1 + 2 gave {told['sum']} by {told['backend']}", remedy)
    speed = 10 * 4 / 1024 / told["seconds"]
    return Finding("ranks", "ok", f"two processes add up by {told['backend']}, {speed:.2f} GiB/s")


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
