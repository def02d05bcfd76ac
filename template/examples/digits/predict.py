"""Read validation digits with the best checkpoint of a run, on one device.

python predict.py --run_dir runs/default --count 10
"""

from engine import begin  # isort: skip  # noqa: F401  # first: for Ctrl-C while the others load
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn
from torch.utils.data import Dataset

from config import Config
from data import build_datasets, collate
from engine import inference
from engine.dataloader import build_val_loader
from engine.errors import leave_if
from model import BEST, build_model


@dataclass(frozen=True)
class Options:
    """What is read, by which run."""

    run_dir: Path = Path("runs/default")  # of the run; its best checkpoint is read
    count: int = 10  # validation samples to show; the accuracy is that of all
    export: Path | None = None  # file for the network's weights, as safetensors; none: no file


def main(options: Options) -> None:
    leave_if(inference.problems(options, {"count": 10**9}))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, config, folder = inference.load(build_model, BEST, options.run_dir, device)
    print(f"checkpoint {folder}")
    if options.export is not None:
        inference.export(net, options.export)
    _, val_set = build_datasets(config)
    digits, predicted, probabilities = predict(net, val_set, device, config)
    for sample in range(min(options.count, len(digits))):
        print(
            f"sample {sample}  digit {digits[sample]}  predicted {predicted[sample]}  "
            f"probability {probabilities[sample]:.3f}"
        )
    correct = int((predicted == digits).sum())
    print(f"accuracy {correct / len(digits):.5g}  correct {correct}  val_samples {len(digits)}")


def predict(
    net: nn.Module, dataset: Dataset[Any], device: torch.device, config: Config
) -> tuple[Tensor, Tensor, Tensor]:
    """(digits: int64[N], likeliest digits: int64[N], their probabilities in 0..1: float32[N])."""
    found = []
    with torch.inference_mode():
        config = replace(config, workers=0)
        for images, digits in build_val_loader(dataset, config, 0, 1, collate):
            # as in training, or the accuracy would be another
            with torch.autocast(device.type, torch.bfloat16, config.precision == "bf16"):
                scores = net(images.to(device)).float().cpu()
            probabilities, predicted = scores.softmax(dim=1).max(dim=1)
            found.append((digits, predicted, probabilities))
    digits, predicted, probabilities = (torch.cat(parts) for parts in zip(*found, strict=True))
    return digits, predicted, probabilities


if __name__ == "__main__":
    main(tyro.cli(Options, description=Options.__doc__))
