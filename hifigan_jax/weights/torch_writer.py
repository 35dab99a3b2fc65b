"""A writer of PyTorch's zip files that needs no torch; `torch.load(..., weights_only=True)` reads them."""

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_jax.files import atomic_write

_STORAGES = {np.dtype(np.float32): "FloatStorage", np.dtype(np.float64): "DoubleStorage", np.dtype(np.int64): "LongStorage"}


def write_torch_file(path: str | Path, content: Any) -> None:
    """Writes dicts, lists, tuples, strings, numbers and arrays (as tensors of float32, float64 or int64) atomically.

    Raises TypeError for anything else, DiskError if the file cannot be written.
    """
    pickled = _Pickle()
    pickled.add(content)
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:  # stored uncompressed, as torch requires
        archive.writestr("archive/data.pkl", pickled.finished())
        archive.writestr("archive/byteorder", "little")
        for key, array in enumerate(pickled.storages):
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", "3\n")


class _Pickle:
    """The opcodes (protocol 2) of one object, and the arrays of its tensors, which refer to them by number."""

    def __init__(self):
        self.opcodes = bytearray(b"\x80\x02")
        self.storages: list[np.ndarray] = []

    def finished(self) -> bytes:
        """The complete pickle."""
        return bytes(self.opcodes) + b"."

    def add(self, node: Any) -> None:
        """Appends the opcodes that push `node` on the unpickler's stack."""
        match node:
            case None:
                self.opcodes += b"N"
            case bool():
                self.opcodes += b"\x88" if node else b"\x89"
            case int():
                size = node.bit_length() // 8 + 1
                self.opcodes += b"\x8a" + bytes([size]) + node.to_bytes(size, "little", signed=True)
            case float():
                self.opcodes += b"G" + struct.pack(">d", node)
            case str():
                text = node.encode()
                self.opcodes += b"X" + struct.pack("<I", len(text)) + text
            case dict():
                self._sequence(b"}(", [part for item in node.items() for part in item], b"u")
            case list():
                self._sequence(b"](", node, b"e")
            case tuple():
                self._sequence(b"(", node, b"t")
            case np.ndarray():
                self._tensor(node)
            case _:
                raise TypeError(f"cannot write a {type(node).__name__} to a PyTorch file")

    def _sequence(self, before: bytes, nodes: Any, after: bytes) -> None:
        self.opcodes += before
        for node in nodes:
            self.add(node)
        self.opcodes += after

    def _tensor(self, array: np.ndarray) -> None:
        if array.dtype not in _STORAGES:
            raise TypeError(f"cannot write tensors of {array.dtype} to a PyTorch file")
        array = array if array.flags.c_contiguous else np.ascontiguousarray(array)
        strides = tuple(stride // array.itemsize for stride in array.strides)
        self.opcodes += b"ctorch._utils\n_rebuild_tensor_v2\n(("
        self.add("storage")
        self.opcodes += f"ctorch\n{_STORAGES[array.dtype]}\n".encode()
        for part in (str(len(self.storages)), "cpu", array.size):
            self.add(part)
        self.opcodes += b"tQ"  # the storage, by its persistent id
        for part in (0, array.shape, strides, False):  # offset, shape, strides, requires_grad
            self.add(part)
        self.opcodes += b"ccollections\nOrderedDict\n)RtR"  # an empty OrderedDict of hooks, then the call
        self.storages.append(array)
