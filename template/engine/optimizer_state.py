"""What a checkpoint brings back of an optimizer: its state; its settings are those of the run.

Some keep state among the settings of their groups, as the counter of ScheduleFree. So a checkpoint
tells what each group was built with, too: what has moved since then is state.
"""

from typing import Any

import torch

from engine.state import beside, comparable, copied

EXECUTION = ("foreach", "fused", "capturable")  # flags of torch's optimizers
NAMES = ("params", "param_names")  # what a group holds, and no setting
UNTOLD = ("lr", "initial_lr")  # set at each step, or by a scheduler
TORCH = "torch.optim."


def bare(optimizer: Any) -> Any:
    """The optimizer that Fabric or Accelerate has wrapped."""
    wrapped = type(optimizer).__module__.startswith(("lightning.", "accelerate."))
    return optimizer.optimizer if wrapped else optimizer


def built(optimizer: Any) -> dict[str, Any]:
    """What an optimizer was built with: its class, its groups' settings and their shapes.

    Before the first step, or what has moved would count as a setting.
    """
    optimizer = bare(optimizer)
    kind, groups = type(optimizer), optimizer.param_groups
    # torch's own have namesakes elsewhere; where other classes lie may change
    where = TORCH if f"{kind.__module__}.".startswith(TORCH) else ""
    return {
        "class": f"{where}{kind.__name__}",
        "settings": [
            {name: copied(value) for name, value in group.items() if name not in NAMES}
            for group in groups
        ],
        "shapes": [[list(weight.shape) for weight in group["params"]] for group in groups],
    }


def difference(saved: dict[str, Any], record: dict[str, Any] | None, here: dict[str, Any]) -> str:
    """In what a saved optimizer, built as a record says, is another one than here; "" if it is not.

    record: None where an older version has saved it.
    """
    sizes = [len(one) for one in here["shapes"]]
    if record is None:
        groups = saved.get("param_groups", [])
        then, now = ({name for one in two for name in one} for two in (groups, here["settings"]))
        # a later torch has more settings, but seldom one less
        gone = then.difference(now, NAMES, UNTOLD, EXECUTION)
        if gone and here["class"].startswith(TORCH):
            return f"one with `{min(gone)}` there, here {here['class']}"
        before = [len(group["params"]) for group in groups]
        return f"groups of {before} weights there, here {sizes}" if before != sizes else ""
    if record["class"] != here["class"]:
        return f"{record['class']} there, here {here['class']}"
    before = [len(one) for one in record["shapes"]]
    if before != sizes:
        return f"groups of {before} weights there, here {sizes}"
    for number, shapes in enumerate(zip(record["shapes"], here["shapes"], strict=True)):
        for there, now in zip(*shapes, strict=True):
            if there != now:
                return f"a weight of group {number} is {there} there, here {now}"
    return ""


def as_here(saved: dict[str, Any], record: dict[str, Any] | None, optimizer: Any) -> list[str]:
    """Change an optimizer's saved state into what this run goes on with; which settings it changes.

    The optimizer is as it was built.
    """
    optimizer, told = bare(optimizer), list[str]()
    groups = zip(saved.get("param_groups", ()), optimizer.param_groups, strict=False)
    for number, (group, here) in enumerate(groups):
        # of torch's optimizers only settings are there; of others nobody knows
        old = group if built(optimizer)["class"].startswith(TORCH) else here
        told += settle(group, record["settings"][number] if record else old, here)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, weight in enumerate(weights):
        moments = saved["state"].get(number)
        for name, value in moments.items() if isinstance(moments, dict) else ():
            # one kernel goes through weights and moments side by side
            if getattr(value, "shape", None) == weight.shape:
                like = torch.empty_like(weight, dtype=value.dtype, device="cpu")
                moments[name] = like.copy_(value)
    return sorted(set(told))


def settle(saved: dict[str, Any], record: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Give a saved group the settings of the run; which ones that changes.

    record: what it was built with. What is built as it was then has moved since, or is the same.
    """
    told = []
    for name in here.keys() - {*NAMES}:
        before, now = comparable(record.get(name)), comparable(here[name])
        if name in EXECUTION or name not in saved:  # how it computes, or a later torch's
            saved[name] = here[name]
        elif before == now:
            saved[name] = beside(here[name], saved[name])
        else:
            saved[name] = here[name]
            told += [] if name in UNTOLD else [f"{name} {before} -> {now}"]
    return told
