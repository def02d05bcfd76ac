"""The data: bytes of text. Replace the datasets, and what augments them, with yours."""

import hashlib
import shutil
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor
from torch.utils.data import default_collate

from config import Config
from engine import storage
from engine.errors import leave_if
from engine.memmap import TokenFile

Batch = list[Tensor]
CACHE = Path(__file__).with_name(".cache")  # may be deleted at any time between two runs
SUFFIXES = (".c", ".cpp", ".go", ".h", ".html", ".java", ".js", ".md", ".py", ".rs", ".rst", ".txt")
VAL_BYTES = 2**18  # at most: a validation takes a second or two on a CPU


def build_datasets(config: Config) -> tuple[TokenFile, TokenFile]:
    """(train, val): windows of the text's bytes, the same on every rank.

    An item is (bytes: int64[context], the bytes that follow them: int64[context]), 0..255 each.
    The last tenth of the text, at most 256 KiB, is for validation.
    Runs before the ranks wait for each other: what takes long, or is downloaded, belongs here.
    """
    source = config.text or Path(sysconfig.get_path("stdlib"))
    try:
        files = text_files(source, deep=config.text is not None)
        size = sum(path.stat().st_size for path in files)
        leave_if(problems(source, size, config))
        path = joined(files)
    except OSError as error:
        fact = f"cannot join the text in {CACHE}: {error}"
        leave_if([(fact, "let this program read the text, and write there")])
        raise
    val_bytes = min(size // 10, VAL_BYTES)
    train = TokenFile(path, config.context, last=size - val_bytes)
    return train, TokenFile(path, config.context, first=size - val_bytes)


# what makes a batch of items, for training and validation. Where they do not stack, as texts of
# different lengths, let a function at the top level of this file pad or pack them
collate = default_collate


def augment(item: Any, seed: int, config: Config) -> Any:
    """The training item as it is read this time: here, as it is.

    All chance must come from the seed. It is made of the run's seed, the epoch and the sample: so
    an item is the same for any number of ranks and workers, and after a resume.
    """
    return item


def text_files(source: Path, deep: bool) -> list[Path]:
    """The files of a text, in an order that is the same everywhere.

    A file is read whatever its name. Of a folder: the files with one of the SUFFIXES in it and
    (`deep`) below it, sorted by path, without what is hidden. Python's standard library is read
    without its subfolders: they hold its tests, and other people's packages.
    """
    if source.is_file():
        return [source]
    found = source.rglob("*") if deep else source.glob("*.py")
    files = [path for path in found if path.suffix in SUFFIXES and path.is_file()]
    return sorted(path for path in files if "/." not in f"/{path.relative_to(source).as_posix()}")


def problems(source: Path, size: int, config: Config) -> list[tuple[str, str]]:
    """Why a text of so many bytes cannot be learned from: (fact, remedy) each."""
    if not source.exists():
        return [(f"no file or folder `{source}`", "set --text to a text that is there")]
    if size == 0:
        return [(f"no text in `{source}`", f"set --text to a folder with {', '.join(SUFFIXES)}")]
    most = min(size // 10, VAL_BYTES) - 1  # bytes of a window, for the last one needs a next byte
    if config.context <= most:
        return []
    fact = f"context `{config.context}` is longer than the validation part of `{source}`"
    return [(fact, f"set --context {most}" if most > 0 else "set --text to a longer text")]


def joined(files: list[Path]) -> Path:
    """All files in one, made by the first run that reads them.

    It is named after their paths, sizes and times of change: a changed text is another file.
    """
    facts = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    path = CACHE / f"text-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.bin"
    if path.exists():
        return path
    CACHE.mkdir(exist_ok=True)
    # written beside and renamed: ranks do it at the same moment, and one may be killed meanwhile
    with TemporaryDirectory(dir=CACHE) as folder:
        staging = Path(folder) / path.name
        with staging.open("wb") as whole:
            for file in files:
                with file.open("rb") as part:
                    shutil.copyfileobj(part, whole)
        storage.sync(staging)
        staging.replace(path)
    return path
