"""Write a prompt on with the best checkpoint of a run, on one device.

python predict.py --run_dir runs/default --prompt "import " --length 200
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import nn

import checkpoint
import storage
from config import Config
from model import build_model
from settings import leave_if, toml_flags


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
LIMITS = {"length": 10**6, "temperature": 100, "seed": 10**9}


def main(options: Options) -> None:
    leave_if(problems(options))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, config = load(options.run_dir, device)
    if options.export is not None:
        export(net, options.export)
    print(generate(net, options, config.context, device).decode(errors="replace"))


def problems(options: Options) -> list[tuple[str, str]]:
    """What is wrong with the options: (fact, remedy) each."""
    found = []
    for name, high in LIMITS.items():
        value = getattr(options, name)
        if not 0 <= value <= high:
            remedy = f"set --{name} {getattr(Options, name)}"
            found.append((f"{name} `{value}` is not in 0..{high}", remedy))
    return found


def load(run_dir: Path, device: torch.device) -> tuple[nn.Module, Config]:
    """The network of a run with its best weights, ready to be asked, and the run's settings."""
    folder = checkpoint.best(run_dir)
    config = tyro.cli(Config, args=toml_flags(run_dir / "config.toml"))
    net = build_model(config)
    try:
        net.load_state_dict(storage.read(folder)["model"])
    except RuntimeError:
        remedy = "set --run_dir to a run of this model.py"
        leave_if([(f"{folder} is of another network", remedy)], status=1)
    return net.to(device).eval(), config


def export(net: nn.Module, path: Path) -> None:
    """Write the weights under their names in the network; read with safetensors.torch.load_file."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_file
    except ImportError:
        leave_if([("the library safetensors is missing", "pip install -e '.[export]'")], status=1)
    try:
        save_file(net.state_dict(), path)
    except (OSError, SafetensorError) as error:
        leave_if([(f"cannot write {path}: {error}", "set --export to another file")], status=1)
    print(f"wrote {path}", file=sys.stderr)


def generate(net: nn.Module, options: Options, context: int, device: torch.device) -> bytes:
    """The prompt, and bytes chosen one after the other; each depends on the `context` before it."""
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
