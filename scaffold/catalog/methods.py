"""The four methods as data: what they are, when to choose them and how a project is started."""

from typing import NamedTuple


class Method(NamedTuple):  # a dataclass would cost every start 3 ms
    """One way to train on several GPUs."""

    name: str
    title: str
    choose_when: str
    choose_another_when: str
    requires: str | None  # the package it adds to a project, next to torch
    launch: str  # the command that trains on two processes
    block_shares: bool = False  # whether a rank has a block of each batch or every n-th sample

    def described(self) -> dict[str, str | None]:
        """What `scaffold methods` tells of it."""
        return {name: text for name, text in self._asdict().items() if name != "block_shares"}


METHODS = {
    method.name: method
    for method in (
        Method(
            name="spawn",
            title="native PyTorch, mp.spawn",
            choose_when="you want full control of each detail: deep customisation, debugging of "
            "the lowest layer, a launcher inside your own program",
            choose_another_when="you would rather keep less code right, or use several machines",
            requires=None,
            launch="python train.py --devices 2",
        ),
        Method(
            name="torchrun",
            title="native PyTorch DDP, torchrun",
            choose_when="you go to production or to many machines: PyTorch's recommended and "
            "standard launcher, no added dependency",
            choose_another_when="you do not want to know about distributed training",
            requires=None,
            launch="torchrun --standalone --nproc-per-node 2 train.py",
        ),
        Method(
            name="fabric",
            title="Lightning Fabric",
            choose_when="you do research and fast experiments: short code that hides most of the "
            "complexity and switches strategies easily",
            choose_another_when="you want no dependency beside torch",
            requires="lightning",
            launch="python train.py --devices 2",
        ),
        Method(
            name="accelerate",
            title="Hugging Face Accelerate",
            choose_when="you work on transformers: short code, a configuration system "
            "(accelerate config), several backends, the Hugging Face ecosystem",
            choose_another_when="you want no dependency beside torch",
            requires="accelerate",
            launch="torchrun --standalone --nproc-per-node 2 train.py",
            block_shares=True,
        ),
    )
}
