"""A reader of PyTorch's .pth files (zip and legacy) that needs no torch and runs no code from the file.

A .pth file is a pickle, and a pickle is a program that can import and call any function. This unpickler allows only the few names
that tensors need and replaces each by a function of this module. Any other name ends the reading with an error.
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from hifigan_jax.errors import CheckpointError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_DTYPES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


class _Storage(NamedTuple):
    dtype: str
    key: str
    count: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


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
    except _Refused as error:
        raise CheckpointError(f"{path}: refused: {error}: save only tensors and plain numbers (a state_dict)") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path}: not a PyTorch file, or damaged ({type(error).__name__}): fetch it again") from None


class _Refused(Exception):
    pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return name
        try:
            return _ALLOWED[module, name]
        except KeyError:
            full_name = f"{module}.{name}"
            raise _Refused(f"the file imports {full_name:.80}, which is not part of a tensor") from None

    def persistent_load(self, identity: tuple) -> _Storage:
        kind, dtype, key, _, count = identity[:5]
        if kind != "storage" or dtype not in _DTYPES or not isinstance(count, int) or count < 0:
            raise _Refused(f"unknown storage {identity!r:.80}")
        if len(identity) > 5 and identity[5] is not None:
            raise _Refused("storages that are views of other storages (PyTorch before 0.4)")
        return _Storage(dtype, str(key), count)


class _Function:
    """A function that a file may call but not modify (a pickle can set attributes of the objects that it imports)."""

    __slots__ = ("call",)

    def __init__(self, call: Callable):
        self.call = call

    def __call__(self, *arguments):
        return self.call(*arguments)

    def __setstate__(self, _):
        raise _Refused("the file tries to modify the reader")


def _rebuild_tensor(storage, offset, shape, strides, *_) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *_) -> _Tensor:
    return tensor


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
    ("torch", "Size"): tuple,
}


def _unpickle(file: io.BufferedIOBase) -> Any:
    """The next pickle in a file; refuses one whose memo indices exceed its number of opcodes, which would allocate memory."""
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name.endswith("PUT") and argument > count:
            raise _Refused("the pickle has an impossible memo index")
    file.seek(start)
    return _Unpickler(file).load()


def _read_zip(archive: zipfile.ZipFile) -> Any:
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(pickles) != 1:
        raise _Refused("the zip archive does not contain exactly one data.pkl")
    if members[pickles[0]].compress_type != zipfile.ZIP_STORED:
        raise _Refused("data.pkl is compressed")
    folder = pickles[0].removesuffix("data.pkl")
    if folder + "byteorder" in members and archive.read(folder + "byteorder") != b"little":
        raise _Refused("the file is from a big-endian machine")

    def load(storage: _Storage) -> np.ndarray:
        member = members[f"{folder}data/{storage.key}"]
        dtype = np.dtype(_DTYPES[storage.dtype])
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != storage.count * dtype.itemsize:
            raise _Refused(f"storage {storage.key} does not have its declared size")
        return np.frombuffer(archive.read(member), dtype)

    content = _unpickle(io.BytesIO(archive.read(pickles[0])))
    return _Resolver(load, _storages_in(content, set())).resolve(content)


def _read_legacy(file: io.BufferedReader) -> Any:
    if _unpickle(file) != _LEGACY_MAGIC or _unpickle(file) != _LEGACY_PROTOCOL:
        raise _Refused("not a PyTorch file")
    if not _unpickle(file).get("little_endian", True):
        raise _Refused("the file is from a big-endian machine")
    content = _unpickle(file)
    positions = {}
    dtypes = {storage.key: np.dtype(_DTYPES[storage.dtype]) for storage in _storages_in(content, set())}
    for key in _unpickle(file):  # then follow, for each key, a count and the values
        (count,) = struct.unpack("<q", file.read(8))
        positions[key] = file.tell(), count
        file.seek(count * dtypes[key].itemsize, io.SEEK_CUR)

    def load(storage: _Storage) -> np.ndarray:
        start, count = positions[storage.key]
        if count != storage.count:
            raise _Refused(f"storage {storage.key} does not have its declared size")
        file.seek(start)
        dtype = dtypes[storage.key]
        return np.frombuffer(file.read(count * dtype.itemsize), dtype, count)

    return _Resolver(load, _storages_in(content, set())).resolve(content)


def _storages_in(node: Any, seen: set[int]) -> list[_Storage]:
    if id(node) in seen:
        return []
    seen.add(id(node))
    if isinstance(node, _Tensor):
        return [node.storage]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    return [storage for child in children for storage in _storages_in(child, seen)]


class _Resolver:
    """Replaces each `_Tensor` by an array; arrays of the same storage are independent copies.

    A small file can refer to one storage a million times. So each object is resolved once, by identity, and all arrays together
    may take at most four times the size of the storages.
    """

    def __init__(self, load: Callable[[_Storage], np.ndarray], storages: list[_Storage]):
        sizes = {storage.key: storage.count * np.dtype(_DTYPES[storage.dtype]).itemsize for storage in storages}
        self.load, self.bytes_left, self.resolved = load, 4 * sum(sizes.values()), {}

    def resolve(self, node: Any) -> Any:
        """Returns `node` with arrays in place of tensors."""
        if not isinstance(node, _Tensor | dict | list | tuple):
            return node
        if id(node) not in self.resolved:
            if isinstance(node, _Tensor):
                self.resolved[id(node)] = self._array(node)
            elif isinstance(node, dict):
                self.resolved[id(node)] = {key: self.resolve(value) for key, value in node.items()}
            else:
                self.resolved[id(node)] = type(node)(self.resolve(value) for value in node)
        return self.resolved[id(node)]

    def _array(self, tensor: _Tensor) -> np.ndarray:
        values = self.load(tensor.storage)
        if all(isinstance(n, int) and n >= 0 for n in tensor.shape):
            self.bytes_left -= math.prod(tensor.shape) * values.itemsize
        if self.bytes_left < 0:
            raise _Refused("the tensors are far larger than the data in the file")
        return _array(tensor, values)


def _array(tensor: _Tensor, values: np.ndarray) -> np.ndarray:
    numbers = (tensor.offset, *tensor.shape, *tensor.strides)
    if len(tensor.shape) != len(tensor.strides) or any(not isinstance(n, int) or n < 0 for n in numbers):
        raise _Refused("a tensor has an impossible shape")
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    size = math.prod(tensor.shape)
    if size and (last >= values.size or size > values.size):
        raise _Refused("a tensor extends beyond its storage")
    if not size:
        return np.zeros(tensor.shape, values.dtype)
    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides).copy()
