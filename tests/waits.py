"""The real main() of the project in this folder on torch's meta device, as rank 0 of two.

Prints as JSON what would have made the host wait for a GPU in the third step, which is neither
logged nor validated nor saved, and how many operators stand there beside forward, backward and
optimizer. On a CPU nothing waits, so what would wait is known by what it is: a number that goes
from the device to the host, a copy that is not told to go on, a barrier.
"""

import json
import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.overrides import TorchFunctionMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PROJECT = Path.cwd()
META = torch.device("meta")
# operators whose result is a number of the host, or has a size that the device knows alone
NUMBERS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select")
NEVER = str(10**6)


class Done(BaseException):
    """The step is over; no project catches it."""


class Wrapper(torch.nn.Module):
    """What DDP looks like. It compares weights when it is made, and these have no numbers."""

    def __init__(self, module: torch.nn.Module, **_: object) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any) -> Any:
        return self.module(*args)

    no_sync = staticmethod(nullcontext)


class Device(TorchDispatchMode):
    """Counts operators, and answers for the device where a number is asked for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = False
        self.waits: list[str] = []
        self.operators: Counter[str] = Counter()
        self.place = "beside"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        here = any(isinstance(x, torch.Tensor) and x.is_meta for x in tree_leaves((args, kwargs)))
        goal = kwargs.get("device")
        to = None if goal is None else torch.device(goal)
        if self.place == "beside" and (here or to == META):
            self.operators[name] += 1
        leaves = name == "_to_copy" and here and to is not None and to.type == "cpu"
        enters = name == "_to_copy" and not here and to == META
        crosses = name == "copy_" and args[0].is_meta != args[1].is_meta
        told = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
        if ((leaves or enters or crosses) and not told) or (here and name in NUMBERS):
            self.wait(name)
        if name == "_local_scalar_dense" and here:
            return 0.0
        if leaves:
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if crosses and not args[0].is_meta:
            return args[0].zero_()
        return func(*args, **kwargs)

    def wait(self, name: str) -> None:
        """Note where the host would wait."""
        stack = traceback.extract_stack()
        frames = [frame for frame in stack if Path(frame.filename).is_relative_to(PROJECT)]
        place = f"{Path(frames[-1].filename).relative_to(PROJECT)}: {frames[-1].line}"
        self.waits.append(f"{name} in {place}")

    @contextmanager
    def inside(self, place: str) -> Iterator[None]:
        before, self.place = self.place, place
        try:
            yield
        finally:
            self.place = before


class Values(TorchFunctionMode):
    """Finds what a dispatcher does not see: values of Python that go to the device."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        made = name in ("tensor", "as_tensor", "new_tensor") and result.is_meta
        # one value is copied from a tensor on the CPU, which is not pinned; more are filled in
        put = name == "__setitem__" and args[0].is_meta and not isinstance(args[2], torch.Tensor)
        if made or (put and args[0][args[1]].dim() == 0):
            self.device.wait(name)
        return result


class Meta:
    """torch, whose devices are all meta; what train.py sees."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def device(self, *_: object) -> torch.device:
        return META

    def autocast(self, *_: object) -> Any:
        return nullcontext()


def be_rank() -> None:
    """Be rank 0 of two that torchrun has started, of which the other one is made up."""
    ranks = {"RANK": 0, "LOCAL_RANK": 0, "GROUP_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ |= {name: str(number) for name, number in ranks.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "fake"}
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    real = dist.init_process_group
    dist.init_process_group = lambda *_, **__: real("fake", rank=0, world_size=2, store=FakeStore())
    # stand-ins here and below: mypy takes them for mistakes
    distributed = torch.nn.parallel.distributed
    torch.nn.parallel.DistributedDataParallel = Wrapper  # type: ignore[misc, assignment]
    distributed.DistributedDataParallel = Wrapper  # type: ignore[misc, assignment]
    _foreach_utils._get_foreach_kernels_supported_devices = lambda: ["cuda", "meta"]


def use_meta(train: Any) -> None:
    """Let the method of train.py take the meta device for its GPU."""
    train.torch = Meta()
    if hasattr(train, "Fabric"):
        from lightning.fabric.accelerators import CPUAccelerator
        from lightning.fabric.strategies import ddp

        ddp.DistributedDataParallel = Wrapper  # type: ignore[misc, assignment]

        CPUAccelerator.setup_device = lambda *_: None  # type: ignore[method-assign]
        train.DDPStrategy.root_device = property(lambda _: META)
        train.DDPStrategy._determine_ddp_device_ids = lambda _: None
    if hasattr(train, "Accelerator"):
        train.Accelerator.device = property(lambda _: META)


def within(call: Callable[..., Any], device: Device, place: str) -> Callable[..., Any]:
    """The same function, whose operators are not counted as those beside it."""

    def called(*args: Any, **kwargs: Any) -> Any:
        with device.inside(place):
            return call(*args, **kwargs)

    return called


def main() -> None:
    be_rank()
    sys.path.insert(0, str(PROJECT))
    rare = [f"--{name}={NEVER}" for name in ("steps", "log_every", "validate_every")]
    rare += [f"--checkpoint_every={NEVER}", "--run_dir", tempfile.mkdtemp()]
    sys.argv[1:1] = rare
    import train
    from engine import settings

    use_meta(train)
    device, modes = Device(), ExitStack()
    set_learning_rate, loss_sums, barrier = train.set_learning_rate, train.loss_sums, dist.barrier

    def count_third(optimizer: Any, step: int, config: Any) -> float:
        if step == 3:
            device.counts = True
            modes.enter_context(device)
            modes.enter_context(Values(device))
        if step == 4:
            modes.close()
            raise Done
        lr: float = set_learning_rate(optimizer, step, config)
        return lr

    def meet(*args: Any, **kwargs: Any) -> Any:
        if device.counts:
            device.wait("barrier")
        return barrier(*args, **kwargs)

    train.set_learning_rate = count_third
    train.loss_sums = lambda model, batch: loss_sums(within(model, device, "forward"), batch)
    torch.Tensor.backward = within(torch.Tensor.backward, device, "backward")  # type: ignore[method-assign]
    step = within(torch.optim.AdamW.step, device, "optimizer")
    torch.optim.AdamW.step = step  # type: ignore[method-assign]
    dist.barrier = meet
    try:
        with Device():  # answers before the third step, too
            train.main.__wrapped__(settings.parse())
    except Done:
        pass
    counted = dict(device.operators.most_common())
    print(json.dumps({"waits": device.waits, "operators": counted}))


main()
