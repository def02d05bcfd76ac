"""Read the validation data with the best checkpoint of a run, on one device.

python predict.py --run_dir runs/default --count 10
"""

from engine import begin  # isort: skip  # noqa: F401  # first: for Ctrl-C while the others load
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import torch
import tyro
from torch import nn

from data import Batch, build_datasets, collate
from engine import inference
from engine.batch import to_device
from engine.dataloader import build_val_loader
from engine.errors import leave_if
from engine.measures import measure
from model import BEST, build_model, loss_sums, metrics


def show(net: nn.Module, batch: Batch) -> list[str]:
    """A line about each sample of a batch. It is for digits: change it with your data."""
    images, digits = batch
    probabilities, guesses = net(images).float().softmax(dim=1).max(dim=1)
    return [
        f"digit {digit}  predicted {guess}  probability {probability:.3f}"
        for digit, guess, probability in zip(digits, guesses, probabilities, strict=True)
    ]


@dataclass(frozen=True)
class Options:
    """What is read, by which run."""

    run_dir: Path = Path("runs/default")  # of the run; its best checkpoint is read
    count: int = 10  # validation samples to show; the metrics are those of all
    export: Path | None = None  # file for the network's weights, as safetensors; none: no file


def main(options: Options) -> None:
    leave_if(inference.problems(options, {"count": 10**9}))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, config, folder = inference.load(build_model, BEST, options.run_dir, device)
    print(f"checkpoint {folder}")
    if options.export is not None:
        inference.export(net, options.export)
    _, val_set = build_datasets(config)
    batches = build_val_loader(val_set, replace(config, workers=0), 0, 1, collate)
    bf16 = config.precision == "bf16"  # as in training, or the metrics would be others
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, bf16):
        lines = chain.from_iterable(show(net, to_device(batch, device)) for batch in batches)
        try:
            for sample, line in enumerate(islice(lines, options.count)):
                print(f"sample {sample}  {line}")
        except Exception as error:
            error.add_note("hint: show in predict.py is for digits: change it with your data")
            raise
        sums = inference.total(net, loss_sums, batches, device)
    for name, value in measure(metrics, BEST, sums).items():
        print(f"val_{name} {value:.5g}", end="  ")
    print(f"val_samples {len(val_set)}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=Options.__doc__))
