"""What training needs, one check each: a finding with its remedy."""

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from scaffold.catalog.methods import METHODS
from scaffold.ops.doctor import machine, variables
from scaffold.ops.doctor.finding import Finding
from scaffold.ops.doctor.program import Program
from scaffold.template.source import root

HERE = Path(__file__).parent
OLDEST_PYTHON, OLDEST_TORCH = (3, 11), (2, 6)
WAIT, SMI_WAIT = 120, 10  # seconds
# a team may list what it needs elsewhere than in pyproject.toml
INSTALL = "pip install -e '.[test]' in the project, or what is missing alone"
RESOURCES = Path("template", "engine", "resources.py")  # how a run counts its cores
# package: (versions, what they are, what to do)
HARMFUL = {
    "lightning": (
        ("2.6.2", "2.6.3"),
        "was not published by its makers and steals credentials (GHSA-w37p-236h-pfx3)",
        "pip uninstall lightning, change all passwords and tokens that were on this machine, then "
        "pip install 'lightning!=2.6.2,!=2.6.3'",
    )
}


def python_of_training() -> str:
    """The Python that trains: of the active environment, or the first on the path."""
    active = os.environ.get("VIRTUAL_ENV")
    names = [f"{active}/bin/python"] if active else []
    names += [shutil.which("python") or "", shutil.which("python3") or "", sys.executable]
    return next(name for name in names if name and Path(name).exists())


def findings(
    python: str,
    method: str | None,
    needs: Sequence[str] = (),
    waiting: Callable[[str], None] = lambda _: None,
) -> Iterator[Finding]:
    """All checks in turn; method: that of the project here, or None outside of one.

    needs: the packages of the project. waiting: is told what takes long.
    """
    with Program([python, str(HERE / "facts.py"), str(root() / RESOURCES), *needs]) as program:
        yield from variables.findings(method)
        yield machine.check_git()
        yield machine.check_host()
        yield machine.check_port()
        yield machine.check_files()
        yield machine.check_shared_memory()
        waiting(f"{python} loads torch and starts two processes")
        facts, why = answer(program, {"python", "executable", "packages", "torch"})
    if not facts:
        remedy = (
            "give --python the Python of the environment that trains; if it is that one, "
            "`python -c 'import torch'` there shows more"
        )
        yield Finding("python", "fail", f"{python} does not run, or not with torch: {why}", remedy)
        return
    yield check_python(facts)
    yield from check_versions(facts["packages"])
    yield from check_torch(facts)
    yield from check_packages(facts, method, Path(facts["executable"]).parent)
    if "error" not in facts["torch"]:
        yield check_cores(facts["cores"], max(2, len(facts["torch"]["gpus"])))
        yield check_ranks(facts["ranks"])


def answer(program: Program, keys: set[str]) -> tuple[dict[str, Any], str]:
    """(what the program printed as JSON, with these keys, or {}; else why not)."""
    out, err, status = program.end(WAIT)
    with suppress(ValueError, IndexError):
        told = json.loads(out.strip().splitlines()[-1])
        if isinstance(told, dict) and keys <= told.keys():
            return told, ""
    lines = err.strip().splitlines()
    end = f"ended by {signal.strsignal(-status)}" if status < 0 else f"ended with status {status}"
    return {}, lines[-1] if lines else end


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
        yield Finding("torch", "fail", fact, INSTALL)
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
    said, why, status = Program([smi]).end(SMI_WAIT) if smi else ("", "", 0)
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
    """The packages of the project, and its launcher; outside of one, those of all methods."""
    packages: dict[str, str | None] = facts["packages"]
    for name in METHODS if method is None else (method,):
        library = METHODS[name].requires
        # torch is told by itself; of two methods' libraries the project's is one
        others = {"torch", *(other.requires for other in METHODS.values())}
        needs = [*(packages.keys() - others if method else ()), *([library] if library else ())]
        missing = sorted(package for package in needs if not packages[package])
        program = METHODS[name].launch.split()[0]
        beside = (scripts / program).exists() or shutil.which(program)
        if program != "python" and not beside:
            missing.append(f"{program} beside {facts['executable']}")
        if missing and method:
            fact = f"{name} has no {', '.join(missing)}"
            yield Finding("method", "fail", fact, INSTALL)
        elif missing:
            fact = f"{name} would need {', '.join(missing)}"
            yield Finding("method", "ok", fact)
        else:
            yield Finding("method", "ok", f"{name}: {METHODS[name].launch}")


def check_versions(packages: dict[str, str | None]) -> Iterator[Finding]:
    """What is installed and known to do harm. Nothing of it is imported here."""
    for name, (versions, why, remedy) in HARMFUL.items():
        if packages[name] in versions:
            yield Finding("version", "fail", f"{name} {packages[name]} {why}", remedy)


def check_cores(cores: dict[str, int], ranks: int) -> Finding:
    """What this process may use, against what the threads of the ranks will."""
    used, threads = cores["used"], os.environ.get("OMP_NUM_THREADS", "")
    fact = f"{used} of {cores['all']} may be used"
    if used < cores["affinity"]:
        fact += " (quota of the cgroup)"
    elif used < cores["all"]:
        fact += " (affinity)"
    if threads.isdecimal() and int(threads) * ranks > max(used, ranks):
        fact += f", but OMP_NUM_THREADS={threads} on each of {ranks} ranks"
        remedy = f"unset OMP_NUM_THREADS, or set it to {max(1, used // ranks)}"
        return Finding("cores", "warn", fact, remedy)
    if used < ranks:
        remedy = f"ask for more, as docker run --cpus {ranks} or sbatch --cpus-per-task {ranks} do"
        return Finding("cores", "warn", f"{fact}, for {ranks} ranks", remedy)
    each = int(threads) if threads.isdecimal() else used // ranks
    return Finding("cores", "ok", f"{fact}: threads for each of {ranks} ranks: {each}")


def check_ranks(told: dict[str, Any]) -> Finding:
    """Two processes that really add up."""
    if "error" in told:
        remedy = "see what stands above; NCCL_DEBUG=INFO tells more of GPUs"
        return Finding("ranks", "fail", f"two processes could not add up: {told['error']}", remedy)
    if told["sum"] != 3:
        remedy = "do not train here: GPUs that reach each other wrongly (NCCL_P2P_DISABLE=1?)"
        return Finding("ranks", "fail", f"1 + 2 gave {told['sum']} by {told['backend']}", remedy)
    speed = 10 * 4 / 1024 / told["seconds"]
    return Finding("ranks", "ok", f"two processes add up by {told['backend']}, {speed:.2f} GiB/s")


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
