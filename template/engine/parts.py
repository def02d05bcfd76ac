"""What of a run has a state, which its checkpoints hold: networks, optimizers, and more."""

from typing import Any

import torch
from torch import nn

from engine import optimizer_state, replicas
from engine.errors import leave_if
from engine.state import simple, tensors

TAKEN = ("net", "model", "optimizer", "random")  # a checkpoint means something else by them
ONE = "optimizer"  # the name of one that has been given none
TWO = "in train.py, give a dict of optimizers: Parts(net, {'net': optimizer, ...})"


class Parts:
    """The network, what trains it, and whatever else of a run has a state.

    optimizer: one, or several by name, as of a GAN. more: objects with state_dict and
    load_state_dict, the same on all ranks: another network, an average of the weights, a queue, a
    scheduler. Make it before the first step; it ends the program where no checkpoint could hold one
    of them. Every rank must call it.
    """

    def __init__(self, net: nn.Module, optimizer: Any, /, **more: Any) -> None:
        self.net, self.more = net, more
        self.networks = {name: part for name, part in more.items() if isinstance(part, nn.Module)}
        self.optimizers = optimizer if isinstance(optimizer, dict) else {ONE: optimizer}
        leave_if(self.problems() or self.unreadable() or self.unsaved())
        self.built = {name: optimizer_state.built(one) for name, one in self.optimizers.items()}

    def problems(self) -> list[tuple[str, str]]:
        """Which of them cannot be parts: (fact, remedy) each."""
        found = []
        for name, part in self.more.items():
            missing = [
                word for word in ("state_dict", "load_state_dict") if not hasattr(part, word)
            ]
            if name in TAKEN:
                found.append((f"no part may be named `{name}`", "give it another in train.py"))
            elif isinstance(part, torch.optim.Optimizer):
                found.append((f"the part `{name}` is an optimizer", TWO))
            elif missing:
                remedy = f"give {type(part).__name__} one, or leave `{name}` out in train.py"
                found.append((f"the part `{name}` has no {missing[0]}", remedy))
        for name, network in self.networks.items():
            for fact, remedy in replicas.problems(network):  # which begin with a name in it
                found.append((f"`{name}.{fact[1:]}".replace(".`", "`", 1), remedy))
        return found

    def unreadable(self) -> list[tuple[str, str]]:
        """Which of them have a state that no checkpoint could be read with: (fact, remedy) each."""
        remedy = "let its state_dict give these alone, or lists, tuples and dicts of them"
        return [
            (f"the state of `{name}` holds more than tensors, numbers and texts", remedy)
            for name, part in (("net", self.net), *self.more.items(), *self.optimizers.items())
            if not simple(part.state_dict())
        ]

    def unsaved(self) -> list[tuple[str, str]]:
        """Which optimizers train weights that no part holds: (fact, remedy) each."""
        held = {tensor.data_ptr() for tensor in tensors([self.net.state_dict(), self.others()])}
        found = []
        for name, optimizer in self.optimizers.items():
            groups = optimizer_state.bare(optimizer).param_groups
            weights = [weight for group in groups for weight in group["params"]]
            if lost := [one for one in weights if one.numel() and one.data_ptr() not in held]:
                fact = f"`{name}` trains {len(lost)} weights that no checkpoint would hold"
                remedy = "in train.py, name their network: Parts(net, optimizer, other=other)"
                found.append((fact, remedy))
        return found

    def others(self) -> dict[str, Any]:
        """The states of all but the network and the optimizers."""
        return {name: part.state_dict() for name, part in self.more.items()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of them."""
        optimizers = {name: one.state_dict() for name, one in self.optimizers.items()}
        return {
            "model": self.net.state_dict(),
            "optimizer": optimizers[ONE] if [*optimizers] == [ONE] else optimizers,
            "built": self.built,
            "parts": self.others(),
        }

    def compare(self, step: int) -> None:
        """End the program on all ranks where one has another state; but buffers become rank 0's.

        Every rank must call it.
        """
        leave_if(self.unreadable(), status=1)  # some have no state at the start
        for network in (self.net, *self.networks.values()):
            replicas.share_buffers(network)
        state = self.net.state_dict()
        for name, part in self.others().items():
            inside = part if name in self.networks else {"": part}
            state |= {f"{name}.{key}".rstrip("."): one for key, one in inside.items()}
        replicas.compare(state, next(self.net.parameters()).device, step)
