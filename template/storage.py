"""Folders that are whole or not there: written beside, brought to the disk, then renamed.

A folder that was damaged later is found by the checksums in its manifest.json.
"""

import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import torch

FORMAT = 1  # a reader refuses newer ones
STATE = "state.pt"


def write(final: Path, state: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write the state and a manifest with the facts; raises OSError and leaves no half folder."""
    staging = final.with_name(f".{final.name}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        with (staging / STATE).open("wb") as file:  # given a path, torch raises no OSError
            torch.save(state, file)
        manifest = {"format": FORMAT, **facts, "files": {STATE: size_and_crc32(staging / STATE)}}
        (staging / "manifest.json").write_text(json.dumps(manifest, indent=1))
        for path in (staging / STATE, staging / "manifest.json", staging):
            sync(path)
    except (OSError, RuntimeError) as error:  # the latter: torch, when it closes what is half done
        shutil.rmtree(staging, ignore_errors=True)
        raise OSError(f"{type(error).__name__}: {error}") from error
    shutil.rmtree(final, ignore_errors=True)  # a damaged one that this run has passed again
    staging.rename(final)
    sync(final.parent)


def read(folder: Path) -> dict[str, Any]:
    """The state in a folder. It runs no code: weights_only refuses what is no tensor or number."""
    state: dict[str, Any] = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    return state


def facts(folder: Path) -> dict[str, Any]:
    """What the manifest says; empty where it is not readable."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def damage(folder: Path) -> str | None:
    """What makes a folder unusable; None when it is whole."""
    manifest = facts(folder)
    try:
        if manifest["format"] > FORMAT:
            return f"format {manifest['format']} is newer than this program's {FORMAT}"
        if size_and_crc32(folder / STATE) != manifest["files"][STATE]:
            return f"{STATE} does not match its checksum"
    except (OSError, KeyError, TypeError) as error:
        return f"not readable ({type(error).__name__}: {error})"
    return None


def size_and_crc32(path: Path) -> list[int]:
    """[bytes, CRC32] of a file."""
    crc32 = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            crc32 = zlib.crc32(block, crc32)
    return [path.stat().st_size, crc32]


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk before a rename can reach it."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
