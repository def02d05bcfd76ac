"""The data: images of digits. Replace the datasets, and what augments them, with yours."""

import csv
import gzip
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import TensorDataset

from config import Config

Batch = list[Tensor]
DIGITS = Path(__file__).with_name("digits.csv.gz")


def build_datasets(config: Config) -> tuple[TensorDataset, TensorDataset]:
    """(train, val): 1437 and 360 images, the same on every rank.

    An item is (image: float32[1, 8, 8] in 0..1, digit: int64[]). Every fifth image is for
    validation. Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (1998),
    UCI Machine Learning Repository, doi.org/10.24432/C50P49, CC BY 4.0; its test set.
    Runs before the ranks wait for each other: what takes long, or is downloaded, belongs here.
    """
    with gzip.open(DIGITS, "rt") as file:
        table = torch.tensor([[int(cell) for cell in row] for row in csv.reader(file)])
    images, digits = table[:, :64].float().view(-1, 1, 8, 8) / 16, table[:, 64]
    val = torch.arange(len(table)) % 5 == 0
    return TensorDataset(images[~val], digits[~val]), TensorDataset(images[val], digits[val])


# what makes a batch of items, for training and validation. Where they do not stack, as texts of
# different lengths, let a function at the top level of this file pad or pack them
collate = torch.utils.data.default_collate


def augment(item: Any, seed: int, config: Config) -> Any:
    """The training item as it is read this time: shifted by up to `augment` pixels each way.

    All chance must come from the seed. It is made of the run's seed, the epoch and the sample: so
    an item is the same for any number of ranks and workers, and after a resume.
    """
    if config.augment == 0:
        return item
    (image, digit), most = item, config.augment
    random = torch.Generator().manual_seed(seed)
    down, right = torch.randint(0, 2 * most + 1, (2,), generator=random).tolist()
    height, width = image.shape[-2:]
    return pad(image, [most] * 4)[:, down : down + height, right : right + width], digit
