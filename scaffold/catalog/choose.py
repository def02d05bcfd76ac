"""The guide to a method: from a goal to a method, its reasons and the runner-up."""

from typing import NamedTuple


class Advice(NamedTuple):  # a dataclass would cost every start 3 ms
    """One recommendation; both names are keys of METHODS."""

    method: str
    reason: str
    runner_up: str
    runner_up_when: str


GOALS = {
    "research": "research and fast experiments",
    "production": "production, many machines or the highest performance",
    "customisation": "deep customisation of the training",
    "transformers": "transformers, Hugging Face tools, deployment with them",
    "learning": "learning or debugging the lowest layer, or a launcher inside a program of mine",
    "unsure": "I do not know yet",
}

_FABRIC = Advice(
    "fabric",
    "short code for research and fast experiments; one can move to the others later",
    "torchrun",
    "the project must not depend on more than torch",
)
_TORCHRUN = Advice(
    "torchrun",
    "PyTorch's standard launcher: nothing between you and DDP, and no added dependency",
    "fabric",
    "short code matters more than a dependency",
)
_ADVICE = {
    "research": _FABRIC,
    "unsure": _FABRIC,
    "production": _TORCHRUN,
    "customisation": Advice(
        "torchrun",
        "every line of the training is yours, and processes start as everywhere else",
        "spawn",
        "the start of the processes is what you want to change",
    ),
    "transformers": Advice(
        "accelerate",
        "it belongs to the Hugging Face ecosystem and is configured as its tools are",
        "fabric",
        "you use models from there and little else",
    ),
    "learning": Advice(
        "spawn",
        "processes, ranks and the store are all in sight, in one program",
        "torchrun",
        "a standard launcher may start the processes",
    ),
}
_WITHOUT_DEPENDENCIES = Advice(
    "torchrun",
    "it adds no dependency to torch, and is PyTorch's standard launcher",
    "spawn",
    "your own program must start the processes",
)
ADDS_A_DEPENDENCY = {
    goal for goal, advice in _ADVICE.items() if advice.method not in ("torchrun", "spawn")
}


def advise(goal: str, no_extra_dependencies: bool) -> Advice:
    """The method for a goal, a key of GOALS, with or without dependencies beside torch."""
    advice = _ADVICE[goal]
    if no_extra_dependencies and (goal in ADDS_A_DEPENDENCY or advice is _TORCHRUN):
        return _WITHOUT_DEPENDENCIES
    return advice
