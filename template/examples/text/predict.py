"""Write a prompt on with the best checkpoint of a run, on one device.

python predict.py --run_dir runs/default --prompt "import " --length 200
"""

from engine import begin  # isort: skip  # noqa: F401  # first: for Ctrl-C while the others load
import os
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import nn

from engine import inference
from engine.errors import leave_if
from model import BEST, build_model


@dataclass(frozen=True)
class Options:
    """What is written, by which run."""

    run_dir: Path = Path("runs/default")  # of the run; its best checkpoint is read
    prompt: str = "import "  # the text to go on with
    length: int = 200  # bytes to write
    temperature: float = 0.8  # 1: bytes as likely as the network says, 0: the likeliest ones
    seed: int = 0  # of the choice among the bytes
    export: Path | None = None  # file for the network's weights, as safetensors; none: no file


# the largest number that each option may have; the least is 0
LARGEST = {"length": 10**6, "temperature": 100, "seed": 10**9}


def main(options: Options) -> None:
    leave_if(inference.problems(options, LARGEST))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, config, _ = inference.load(build_model, BEST, options.run_dir, device)
    if options.export is not None:
        inference.export(net, options.export)
    print(generate(net, options, config.context, device).decode(errors="replace"))


def generate(net: nn.Module, options: Options, context: int, device: torch.device) -> bytes:
    """The prompt, and bytes chosen one after the other; each depends on the `context` before it.

    It is for bytes of text: change it with your data and network.
    """
    # an empty prompt stands for the beginning of a line
    text = torch.tensor([list(os.fsencode(options.prompt or "\n"))], device=device)
    random = torch.Generator(device).manual_seed(options.seed)
    with torch.inference_mode():
        for _ in range(options.length):
            scores = net(text[:, -context:])[:, -1].float()
            shares = (scores / max(options.temperature, 1e-4)).softmax(dim=-1)
            text = torch.cat([text, torch.multinomial(shares, 1, generator=random)], dim=1)
    return bytes(text[0].tolist())


if __name__ == "__main__":
    main(tyro.cli(Options, description=Options.__doc__))
