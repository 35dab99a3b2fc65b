"""A reader of PyTorch's .pth files (zip and legacy) that needs no torch and runs no code from the file."""

import io
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_jax.errors import CheckpointError
from hifigan_jax.weights.safe_pickle import DTYPES, Refused, Storage, Tensor, load_pickle

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def read_torch_file(path: str | Path) -> Any:
    """The object that `torch.save` wrote: dicts, lists and numbers, with tensors as numpy arrays.

    Raises CheckpointError if the file cannot be opened, is truncated, or contains anything but tensors and plain containers.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    return _read_zip(archive)
            file.seek(0)
            return _read_legacy(file)
    except Refused as error:
        raise CheckpointError(f"{path}: refused: {error}: save only tensors and plain numbers (a state_dict)") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path}: not a PyTorch file, or damaged ({type(error).__name__}): fetch it again") from None


def _read_zip(archive: zipfile.ZipFile) -> Any:
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(pickles) != 1:
        raise Refused("the zip archive does not contain exactly one data.pkl")
    if members[pickles[0]].compress_type != zipfile.ZIP_STORED:
        raise Refused("data.pkl is compressed")
    folder = pickles[0].removesuffix("data.pkl")
    if folder + "byteorder" in members and archive.read(folder + "byteorder") != b"little":
        raise Refused("the file is from a big-endian machine")

    def load(storage: Storage) -> np.ndarray:
        member = members[f"{folder}data/{storage.key}"]
        dtype = np.dtype(DTYPES[storage.dtype])
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != storage.count * dtype.itemsize:
            raise Refused(f"storage {storage.key} does not have its declared size")
        return np.frombuffer(archive.read(member), dtype)

    content = load_pickle(io.BytesIO(archive.read(pickles[0])))
    return _Resolver(load, _storages_in(content, set())).resolve(content)


def _read_legacy(file: io.BufferedReader) -> Any:
    if load_pickle(file) != _LEGACY_MAGIC or load_pickle(file) != _LEGACY_PROTOCOL:
        raise Refused("not a PyTorch file")
    if not load_pickle(file).get("little_endian", True):
        raise Refused("the file is from a big-endian machine")
    content = load_pickle(file)
    positions = {}
    dtypes = {storage.key: np.dtype(DTYPES[storage.dtype]) for storage in _storages_in(content, set())}
    for key in load_pickle(file):  # then follow, for each key, a count and the values
        (count,) = struct.unpack("<q", file.read(8))
        positions[key] = file.tell(), count
        file.seek(count * dtypes[key].itemsize, io.SEEK_CUR)

    def load(storage: Storage) -> np.ndarray:
        start, count = positions[storage.key]
        if count != storage.count:
            raise Refused(f"storage {storage.key} does not have its declared size")
        file.seek(start)
        dtype = dtypes[storage.key]
        return np.frombuffer(file.read(count * dtype.itemsize), dtype, count)

    return _Resolver(load, _storages_in(content, set())).resolve(content)


def _storages_in(node: Any, seen: set[int]) -> list[Storage]:
    if id(node) in seen:
        return []
    seen.add(id(node))
    if isinstance(node, Tensor):
        return [node.storage]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    return [storage for child in children for storage in _storages_in(child, seen)]


class _Resolver:
    """Replaces each `Tensor` by an array; arrays of the same storage are independent copies.

    A small file can refer to one storage a million times. So each object is resolved once, by identity, and all arrays together
    may take at most four times the size of the storages.
    """

    def __init__(self, load: Callable[[Storage], np.ndarray], storages: list[Storage]):
        sizes = {storage.key: storage.count * np.dtype(DTYPES[storage.dtype]).itemsize for storage in storages}
        self.load, self.bytes_left, self.resolved = load, 4 * sum(sizes.values()), {}

    def resolve(self, node: Any) -> Any:
        """Returns `node` with arrays in place of tensors."""
        if not isinstance(node, Tensor | dict | list | tuple):
            return node
        if id(node) not in self.resolved:
            if isinstance(node, Tensor):
                self.resolved[id(node)] = self._array(node)
            elif isinstance(node, dict):
                self.resolved[id(node)] = {key: self.resolve(value) for key, value in node.items()}
            else:
                self.resolved[id(node)] = type(node)(self.resolve(value) for value in node)
        return self.resolved[id(node)]

    def _array(self, tensor: Tensor) -> np.ndarray:
        numbers = (tensor.offset, *tensor.shape, *tensor.strides)
        valid = all(isinstance(n, int) and 0 <= n < 2**63 for n in numbers)
        if not valid or not len(tensor.shape) == len(tensor.strides) <= 8:
            raise Refused("a tensor has an impossible shape")
        values = self.load(tensor.storage)
        self.bytes_left -= math.prod(tensor.shape) * values.itemsize
        if self.bytes_left < 0:
            raise Refused("the tensors are far larger than the data in the file")
        return _array(tensor, values)


def _array(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    size = math.prod(tensor.shape)
    if size and (last >= values.size or size > values.size):
        raise Refused("a tensor extends beyond its storage")
    if not size:
        return np.zeros(tensor.shape, values.dtype)
    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides).copy()
