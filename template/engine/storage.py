"""Folders that are whole or not there: written beside, brought to the disk, then renamed.

A folder that was damaged later is found by the checksums in its manifest.json.
"""

import errno
import json
import os
import pickle
import shutil
import zlib
from pathlib import Path
from typing import Any

import torch

from engine.checksum import Summed, size_and_crc32
from engine.errors import leave_if
from engine.hints import is_disk
from engine.resources import disk

FORMAT = 1  # a reader refuses newer ones
STATE = "state.pt"
MANIFEST = "manifest.json"
# gone, or unreadable for good
ROTTEN = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ELOOP)


def write(final: Path, state: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write the state and a manifest with the facts; raises OSError and leaves no half folder."""
    sweep(final.parent)
    staging = final.with_name(f".{final.name}.tmp")
    refused: list[OSError] = []  # what the disk says; torch may say something else then
    try:
        staging.mkdir(parents=True)
        with (staging / STATE).open("wb") as file:  # given a path, torch raises no OSError
            summed = Summed(file, refused)
            torch.save(state, summed)  # type: ignore[arg-type]  # it asks for write and flush alone
        files = {STATE: [summed.size, summed.crc32]}
        (staging / MANIFEST).write_text(manifest_text({"format": FORMAT, **facts, "files": files}))
        for path in (staging / STATE, staging / MANIFEST, staging):
            sync(path)
        remove(final)  # a damaged one that this run has passed again
        staging.rename(final)
        sync(final.parent)
    except (OSError, RuntimeError) as error:  # the latter: torch, when it closes what is half done
        shutil.rmtree(staging, ignore_errors=True)
        cause = refused[0] if refused else error
        where = f", {disk(final, cause)}" if is_disk(cause) else ""
        raise OSError(f"{type(cause).__name__}: {cause}{where}") from error


def manifest_text(facts: dict[str, Any]) -> str:
    """A manifest that tells when one of its own bits was turned."""
    own = {name: value for name, value in facts.items() if name != "crc32"}
    return json.dumps({**own, "crc32": zlib.crc32(json.dumps(own).encode())}, indent=1)


def remove(folder: Path) -> None:
    """Remove a folder, if it is there; killed meanwhile, it is gone nevertheless."""
    if folder.exists():
        shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.old")))


def sweep(folder: Path) -> None:
    """Remove what a killed writer left."""
    for path in folder.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def read(folder: Path) -> dict[str, Any]:
    """The state in a folder. It runs no code: the program ends where there is more than numbers."""
    try:
        state: dict[str, Any] = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        whole = isinstance(state, dict) and {"model", "optimizer", "random"} <= state.keys()
    except (pickle.UnpicklingError, RuntimeError):  # the latter: TorchScript
        whole = False
    if not whole:
        remedy = "it may come from somebody who means harm: find out, or delete it"
        fact = f"{folder / STATE} holds more than tensors and numbers, and was not loaded"
        leave_if([(fact, remedy)], status=1)
    return state


def facts(folder: Path) -> dict[str, Any]:
    """What the manifest says; empty where it is damaged.

    Raises OSError where it cannot be reached and may be whole.
    """
    try:
        text = (folder / MANIFEST).read_text()
        manifest = json.loads(text)
    except OSError as error:
        if error.errno not in ROTTEN:
            raise
        return {}
    except ValueError:
        return {}
    whole = isinstance(manifest, dict) and text == manifest_text(manifest)
    return manifest if whole else {}


def is_newer(manifest: dict[str, Any]) -> bool:
    """Whether a later version of this file has written the folder."""
    number = manifest.get("format")
    return isinstance(number, int) and number > FORMAT


def damage(folder: Path, manifest: dict[str, Any]) -> str | None:
    """What makes a folder of this format unusable; None when it is whole. Raises OSError."""
    try:
        if folder.name != f"step-{manifest['step']:09d}":
            return f"it is that of step {manifest['step']}"
        if size_and_crc32(folder / STATE) != manifest["files"][STATE]:
            return f"{STATE} does not match its checksum"
    except OSError as error:
        if error.errno not in ROTTEN:
            raise
        return f"{STATE} is not readable ({error})"
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} is not there or does not match its checksum"
    return None


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk before a rename can reach it."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
