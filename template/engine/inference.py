"""The network of a run, to be asked or handed on; and what an option of a program may be."""

import sys
import tomllib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from config import Config
from engine import retention, storage, variables
from engine.batch import to_device
from engine.distributed import set_precision
from engine.errors import leave_if
from engine.measures import Best, check_best
from engine.settings import from_toml
from engine.sums import Sums


def load(
    build_model: Callable[[Config], nn.Module],
    best: Best,
    run_dir: Path,
    device: torch.device,
    part: str = "",  # of Parts in train.py, as an average of the weights; empty: the network
) -> tuple[nn.Module, Config, Path]:
    """The network of a run with its best weights, the run's settings, and the checkpoint read.

    Ends the program where one of them cannot be had.
    """
    check_best(best)
    folder = retention.best(run_dir, best)
    config = settings(run_dir / "config.toml")
    net, state = build_model(config), storage.read(folder)
    weights = state.get("parts", {}).get(part) if part else state["model"]
    if weights is None:
        remedy = "name one that train.py gives to Parts"
        leave_if([(f"{folder} has no part `{part}`", remedy)], status=1)
    if part and "n_averaged" in weights:  # torch's AveragedModel
        names = {name for name in weights if name != "n_averaged"}
        weights = {name.removeprefix("module."): weights[name] for name in names}
    try:
        net.load_state_dict(weights)
    except RuntimeError:
        remedy = "set --run_dir to a run of this model.py"
        leave_if([(f"{folder} is of another network", remedy)], status=1)
    set_precision(config)
    return net.to(device).eval(), config, folder


def settings(path: Path) -> Config:
    """The settings that a run has saved."""
    try:
        tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        remedy = "set --run_dir to a run that has the file; train.py writes it"
        leave_if([(f"cannot read `{path}`: {error}", remedy)], status=1)
    return from_toml(path)


def total(
    net: nn.Module,
    loss_sums: Callable[[nn.Module, Any], Sums],  # of model.py
    batches: Iterable[Any],
    device: torch.device,
) -> dict[str, Tensor]:
    """What loss_sums gives, over all batches: float64 on the CPU."""
    sums: dict[str, Tensor] = {}
    for batch in batches:
        for name, value in loss_sums(net, to_device(batch, device)).items():
            value = torch.as_tensor(value).to("cpu", torch.float64)
            sums[name] = sums[name] + value if name in sums else value
    return sums


def export(net: nn.Module, path: Path) -> None:
    """Write the weights under their names in the network; safetensors.torch.load_model reads them.

    Weights that two layers share are written once.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_model
    except ImportError:
        leave_if([("safetensors is not installed", "pip install -e '.[export]'")], status=1)
    beside = path.parent / f".{path.name}.tmp"
    try:
        save_model(net, str(beside))
        beside.replace(path)  # whole, or as before
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            beside.unlink()
        leave_if([(f"cannot write `{path}`: {error}", "set --export to another file")], status=1)
    # what a program gives stands on stdout, and this is no part of it
    print(f"wrote {path}", file=sys.stderr)


def problems(options: object, largest: dict[str, int]) -> list[tuple[str, str]]:
    """Which options are not in 0..largest: (fact, remedy) each."""
    variables.drop(variables.OF_A_RANK)  # this program is nobody's rank, so it speaks
    found = []
    for name, high in largest.items():
        value = getattr(options, name)
        if not 0 <= value <= high:
            remedy = f"set --{name} {getattr(type(options), name)}"
            found.append((f"{name} `{value}` is not in 0..{high}", remedy))
    return found
