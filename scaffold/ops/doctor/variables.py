"""What variables of other programs would do to a start in this shell."""

import os
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaffold.catalog.methods import METHODS
from scaffold.ops.doctor.finding import Finding
from scaffold.template.source import root

DEBUG = "TORCH_DISTRIBUTED_DEBUG"


def findings(method: str | None) -> Iterator[Finding]:
    """All of them in turn; method: that of the project here, or None outside of one."""
    launch = runpy.run_path(str(root() / "template" / "engine" / "variables.py"))
    refused, dropped = rehearse(launch)
    of_libraries = [name for name in dropped if launch["OF_LIBRARIES"].fullmatch(name)]
    yield check_launch(refused, sorted(set(dropped) - set(of_libraries)), method)
    yield check_slurm()
    if of_libraries:
        yield check_libraries(sorted(of_libraries))
    if os.environ.get("PYTHONSAFEPATH"):
        fact = "PYTHONSAFEPATH is set: train.py will not find config.py beside it"
        yield Finding("path", "fail", fact, "unset PYTHONSAFEPATH")
    yield from check_torch(launch["NO_COMPILER"])
    if method in (None, "torchrun", "accelerate"):
        yield from check_torchrun()
    if method in (None, "accelerate"):
        yield from check_accelerate()


def rehearse(launch: dict[str, Any]) -> tuple[list[tuple[str, str]], list[str]]:
    """(why a run would not start here, which variables it would drop), as it finds them itself."""
    before = dict(os.environ)
    try:
        return launch["problems"](), [name for name in before if name not in os.environ]
    finally:
        os.environ.update(before)


def check_launch(refused: list[tuple[str, str]], dropped: list[str], method: str | None) -> Finding:
    """What a launcher has left here. torchrun sets all of it anew."""
    itself = method is not None and METHODS[method].launch.startswith("python")
    for fact, remedy in refused:
        return Finding("launch", "fail" if itself else "warn", fact, remedy)
    if dropped:
        fact = f"a launcher left {', '.join(dropped)}: a run drops them"
        return Finding("launch", "warn", fact, f"unset {' '.join(dropped)}")
    return Finding("launch", "ok", "no launcher has left a variable")


def check_slurm() -> Finding:
    """Whether this is a job of Slurm."""
    job = os.environ.get("SLURM_JOB_ID")
    if job:
        return Finding("slurm", "ok", f"job {job}, in which training starts its own processes")
    if shutil.which("srun"):
        return Finding("slurm", "ok", "it is here, and this shell is in no job of it")
    return Finding("slurm", "ok", "there is none")


def check_libraries(names: list[str]) -> Finding:
    """What Accelerate or Lightning would heed."""
    fact = f"nothing comes of {', '.join(names)}: the settings of a run decide"
    remedy = f"see python train.py --help for what can be set; unset {' '.join(names)}"
    return Finding("library", "warn", fact, remedy)


def check_torch(no_compiler: tuple[str, ...]) -> Iterator[Finding]:
    """What torch and cuBLAS heed themselves."""
    for name in no_compiler:
        if os.environ.get(name) == "1":
            fact = f"{name}=1 switches the compiler off: --compile is refused"
            yield Finding("compile", "warn", fact, f"unset {name}")
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        fact = "NVIDIA_TF32_OVERRIDE=0 makes --precision tf32 as slow as fp32"
        yield Finding("tf32", "warn", fact, "unset NVIDIA_TF32_OVERRIDE")
    if os.environ.get(DEBUG, "").upper() == "DETAIL":
        fact = f"{DEBUG}=DETAIL checks each collective, and ends torch 2.13 on the CPU by SIGSEGV"
        yield Finding("debug", "warn", fact, f"unset {DEBUG}, or set it to INFO")


def check_torchrun() -> Iterator[Finding]:
    """What torchrun takes for its own flags, as pods of a PyTorchJob have it."""
    found = sorted(name for name in os.environ if name.startswith("PET_"))
    if found:
        fact = f"torchrun takes {', '.join(found)} for its flags, also with --standalone"
        remedy = f"give all flags on its command line, or unset {' '.join(found)}"
        yield Finding("flags", "warn", fact, remedy)


def check_accelerate() -> Iterator[Finding]:
    """What `accelerate launch` takes its flags from."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    for path in Path(home, "accelerate").glob("default_config.*"):
        fact = f"accelerate launch takes its number of processes and machines from {path}"
        yield Finding("config", "ok", fact)
