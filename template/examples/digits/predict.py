"""Read validation digits with the best checkpoint of a run, on one device.

python predict.py --run_dir runs/default --count 10
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn
from torch.utils.data import Dataset

import checkpoint
import storage
from config import Config
from data import build_datasets
from model import build_model
from settings import leave_if, toml_flags
from sharding import build_val_loader


@dataclass(frozen=True)
class Options:
    """What is read, by which run."""

    run_dir: Path = Path("runs/default")  # of the run; its best checkpoint is read
    count: int = 10  # validation samples to show; the accuracy is that of all
    export: Path | None = None  # file for the network's weights, as safetensors; none: no file


def main(options: Options) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, config = load(options.run_dir, device)
    if options.export is not None:
        export(net, options.export)
    _, val_set = build_datasets(config)
    digits, predicted, probabilities = predict(net, val_set, device, config)
    for sample in range(min(options.count, len(digits))):
        print(
            f"sample {sample}  digit {digits[sample]}  predicted {predicted[sample]}  "
            f"probability {probabilities[sample]:.3f}"
        )
    correct = int((predicted == digits).sum())
    print(f"accuracy {correct / len(digits):.5g}  correct {correct}  val_samples {len(digits)}")


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
    print(f"checkpoint {folder}")
    return net.to(device).eval(), config


def export(net: nn.Module, path: Path) -> None:
    """Write the weights under their names in the network; safetensors.torch.load_model reads them.

    Weights that two layers share are written once.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_model
    except ImportError:
        leave_if([("safetensors is not installed", "pip install -e '.[export]'")], status=1)
    try:
        save_model(net, str(path))
    except (OSError, SafetensorError) as error:
        leave_if([(f"cannot write `{path}`: {error}", "set --export to another file")], status=1)
    print(f"wrote {path}")


def predict(
    net: nn.Module, dataset: Dataset[Any], device: torch.device, config: Config
) -> tuple[Tensor, Tensor, Tensor]:
    """(digits: int64[N], likeliest digits: int64[N], their probabilities in 0..1: float32[N])."""
    found = []
    with torch.inference_mode():
        for images, digits in build_val_loader(dataset, config.micro_batch_size, 0, 1):
            # as in training, or the accuracy would be another
            with torch.autocast(device.type, torch.bfloat16, config.precision == "bf16"):
                scores = net(images.to(device)).float().cpu()
            probabilities, predicted = scores.softmax(dim=1).max(dim=1)
            found.append((digits, predicted, probabilities))
    digits, predicted, probabilities = (torch.cat(parts) for parts in zip(*found, strict=True))
    return digits, predicted, probabilities


if __name__ == "__main__":
    main(tyro.cli(Options, description=Options.__doc__))
