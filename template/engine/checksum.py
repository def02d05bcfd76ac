"""The size and the CRC32 of a file, while it is written and of one that is there."""

import zlib
from pathlib import Path
from typing import IO


class Summed:
    """A file that knows the size and the CRC32 of what was written into it, and what went wrong."""

    def __init__(self, file: IO[bytes], refused: list[OSError]) -> None:
        self.file, self.refused, self.size, self.crc32 = file, refused, 0, 0

    def write(self, block: bytes) -> int:
        self.crc32 = zlib.crc32(block, self.crc32)
        self.size += len(block)
        try:
            return self.file.write(block)
        except OSError as error:
            self.refused.append(error)
            raise

    def flush(self) -> None:
        self.file.flush()


def size_and_crc32(path: Path) -> list[int]:
    """[bytes, CRC32] of a file."""
    crc32 = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            crc32 = zlib.crc32(block, crc32)
    return [path.stat().st_size, crc32]
