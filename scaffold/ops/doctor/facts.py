"""Prints what a Python knows of torch, its GPUs and libraries, as JSON.

Run by `scaffold doctor` with the Python that trains, which need not have scaffold.
"""

from __future__ import annotations  # also a Python that is too old tells that it is

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("torch", "numpy", "tqdm", "tyro", "lightning", "accelerate")


def packages() -> dict[str, str | None]:
    """The version of each package that a project may need; None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def torch_facts() -> dict[str, Any]:
    """What torch was built for and what it sees; `error` where it cannot be imported."""
    try:
        import torch
        import torch.distributed as dist
    except Exception as error:  # a library that is missing, or of another machine
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    seen = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
    return {
        "cuda": torch.version.cuda,
        "available": torch.cuda.is_available(),
        "gpus": [
            {
                "name": torch.cuda.get_device_name(i),
                "gib": round(torch.cuda.get_device_properties(i).total_memory / 2**30, 1),
                "peers": [j for j in seen if j != i and torch.cuda.can_device_access_peer(i, j)],
            }
            for i in seen
        ],
        "gloo": dist.is_available() and dist.is_gloo_available(),
        "nccl": ".".join(map(str, torch.cuda.nccl.version()))
        if dist.is_available() and dist.is_nccl_available()
        else None,
    }


if __name__ == "__main__":
    told = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": packages(),
        "torch": torch_facts(),
    }
    print(json.dumps(told))
