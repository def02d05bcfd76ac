"""How the parts of a run go on with the state of a checkpoint, and what is refused there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from config import Config
from engine import optimizer_state, retention, storage
from engine.errors import leave_if
from engine.hints import summary
from engine.parts import ONE, Parts
from engine.state import beside

NETWORK = "set --run_dir runs/new, or take model.py and the settings back"
OPTIMIZER = "set --fresh_optimizer for this start to keep the rest, or take optimizer.py back"
OTHER = "give it another name in train.py to begin it anew, or take its code back"


def restore(parts: Parts, state: dict[str, Any], folder: Path, config: Config) -> list[str]:
    """Put a state into the parts; gives how they go on, where that is to be told.

    Ends the program where the state is of other parts.
    """
    load_network(parts.net, state["model"], f"{folder} is of another network", NETWORK)
    saved = state.get("parts", {})
    for name in filter(saved.__contains__, parts.more):
        part, fact = parts.more[name], f"{folder} has another `{name}`"
        if isinstance(part, nn.Module):
            load_network(part, saved[name], fact, OTHER)
        else:
            with refused(fact, OTHER):
                part.load_state_dict(beside(part.state_dict(), saved[name]))
    told = [
        *(f"with a new `{name}`: {folder} has none" for name in parts.more if name not in saved),
        *(f"without `{name}`, which {folder} has" for name in saved if name not in parts.more),
    ]
    if config.fresh_optimizer:
        return [*told, "with a new optimizer"]
    known = retention.changes(storage.facts(folder).get("settings", {}), config)
    # they have been told; one of a dataclass as `optimizer.lr`
    names = [line.split()[0].split(".")[-1] for line in known]
    changed = load_optimizers(parts, state, folder)
    return told + [f"with other settings: {c}" for c in changed if c.split()[0] not in names]


def load_optimizers(parts: Parts, state: dict[str, Any], folder: Path) -> list[str]:
    """Put a state into the optimizers; gives which settings of theirs it does not go on with."""
    records, saved = state.get("built", {}), state["optimizer"]
    if [*records] in ([], [ONE]):  # none in a checkpoint of before they were kept
        saved = {ONE: saved}
    fact = f"{folder} is of another optimizer"
    if saved.keys() != parts.built.keys():
        there, here = (", ".join(f"`{name}`" for name in names) for names in (saved, parts.built))
        leave_if([(f"{fact}: {there} there, here {here}", OPTIMIZER)])
    pairs = {name: (saved[name], records.get(name)) for name in parts.built}
    other = [optimizer_state.difference(*pairs[name], here) for name, here in parts.built.items()]
    leave_if([(f"{fact}: {why}", OPTIMIZER) for why in other if why])
    told = []
    for name, optimizer in parts.optimizers.items():
        with refused(fact, OPTIMIZER):
            changed = optimizer_state.as_here(*pairs[name], optimizer)
            optimizer.load_state_dict(saved[name])
        told += [f"{line} of {name}" if name != ONE else line for line in changed]
    return told


def load_network(network: nn.Module, saved: dict[str, Any], fact: str, remedy: str) -> None:
    """Put a state into a network; ends the program where it is another's."""
    if other := differences(saved, network.state_dict()):
        leave_if([(f"{fact}, {other}", remedy)])
    with refused(fact, remedy):
        network.load_state_dict(saved)


def differences(saved: dict[str, Any], here: dict[str, Any]) -> str:
    """In how many tensors a saved network is another one, and the first of them; else ""."""

    def shape(state: dict[str, Any], name: str) -> str:
        found = state.get(name)
        here = "there" if name in state else "missing"
        return str(list(found.shape)) if isinstance(found, Tensor) else here

    pairs = {name: (shape(saved, name), shape(here, name)) for name in saved | here}
    found = [
        f"`{name}` {there}, here {now}" for name, (there, now) in pairs.items() if there != now
    ]
    shown = "; ".join([*found[:3], *(["..."] if len(found) > 3 else [])])
    return f"{len(found)} tensors: {shown}" if found else ""


@contextmanager
def refused(fact: str, remedy: str) -> Iterator[None]:
    """End the program where a state is not taken, whatever its owner raises then."""
    try:
        yield
    except Exception as error:
        leave_if([(f"{fact}: {type(error).__name__}: {summary(error)}", remedy)])
