"""Datasets in files of any size: mapped into memory, so only what is read takes some."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor
from torch.utils.data import Dataset


class ArrayFiles(Dataset[Any]):
    """Row i of each .npy file, as Tensors: ArrayFiles("images.npy", "labels.npy")[i].

    Raises ValueError when the files have different numbers of rows.
    """

    def __init__(self, *paths: Path | str) -> None:
        self.paths = paths
        self.arrays = [np.load(path, mmap_mode="r") for path in paths]
        rows = {str(path): len(array) for path, array in zip(paths, self.arrays, strict=True)}
        if len(set(rows.values())) != 1:
            raise ValueError(f"files of different numbers of rows: {rows}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, row: int) -> list[Tensor]:
        return [torch.from_numpy(np.array(array[row])) for array in self.arrays]

    def __reduce__(self) -> tuple[type[Self], tuple[Path | str, ...]]:
        return type(self), self.paths  # a loader's worker maps the files itself


class TokenFile(Dataset[Any]):
    """Windows of a file of tokens: (int64[context], the same one token later: int64[context]).

    Window i begins at token first + i * context; last is the end of the part that is read.
    """

    def __init__(
        self,
        path: Path | str,
        context: int,  # tokens per window
        first: int = 0,  # token
        last: int | None = None,  # token after the last one; None: the end of the file
        dtype: DTypeLike = np.uint8,  # of a token in the file
    ) -> None:
        self.settings = path, context, first, last, dtype
        self.tokens, self.context = np.memmap(path, dtype, "r")[first:last], context

    def __len__(self) -> int:
        return max(0, len(self.tokens) - 1) // self.context

    def __getitem__(self, window: int) -> tuple[Tensor, Tensor]:
        begin = window * self.context
        if not 0 <= window < len(self):
            raise IndexError(f"window {window} is not in 0..{len(self) - 1}")
        tokens = torch.from_numpy(self.tokens[begin : begin + self.context + 1].astype(np.int64))
        return tokens[:-1], tokens[1:]

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), self.settings  # a loader's worker maps the file itself
