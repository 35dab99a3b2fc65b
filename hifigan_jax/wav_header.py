"""WAV files whose writer never set the size of the samples: a recorder that was interrupted, or one that wrote to a pipe."""

import io
import os
import struct
from pathlib import Path

_MOST_CHUNKS = 1000


def unset_size_position(path: str | Path) -> int | None:
    """Where the data chunk states a size of 0 although samples follow up to the end of the file; None for any other file."""
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        if (start := _find_chunk(file, b"data", 12, length)) is None or file.seek(0) or file.read(4) != b"RIFF":
            return None
        file.seek(start + 4)
        size = struct.unpack("<I", file.read(4))[0]
        empty = size != 0 or start + 8 == length or _is_chunk_list(file, start + 8, length)
        return None if empty else start + 4


class CompletedWav(io.FileIO):
    """Such a file, read as if its data chunk stated the size up to the end of the file."""

    def __init__(self, path: str | Path, position: int):
        super().__init__(path, "rb")
        size = os.fstat(self.fileno()).st_size - position - 4
        self._position, self._size = position, struct.pack("<I", min(size, 2**32 - 1))

    def readinto(self, buffer) -> int:
        """Reads like a file, with the size replaced."""
        start = self.tell()
        count = super().readinto(buffer)
        for offset, byte in enumerate(self._size, self._position - start):
            if 0 <= offset < count:
                memoryview(buffer).cast("B")[offset] = byte
        return count


def _find_chunk(file: io.BufferedReader, name: bytes, start: int, length: int) -> int | None:
    """The position of a chunk in the list of chunks at `start`."""
    for _ in range(_MOST_CHUNKS):
        file.seek(start)
        header = file.read(8)
        if len(header) < 8 or start > length:
            return None
        if header[:4] == name:
            return start
        size = struct.unpack("<I", header[4:])[0]
        start += 8 + size + size % 2
    return None


def _is_chunk_list(file: io.BufferedReader, start: int, length: int) -> bool:
    """Whether the bytes from `start` to the end of the file are chunks."""
    while start < length:
        file.seek(start)
        header = file.read(8)
        if len(header) < 8 or not header[:4].isascii() or not header[:4].decode().isprintable():
            return False
        size = struct.unpack("<I", header[4:])[0]
        start += 8 + size + size % 2
    return start in (length, length + 1)
