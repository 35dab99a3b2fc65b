"""An unpickler for PyTorch files that runs no code from the file and whose work is bounded by the size of the file.

A pickle is a program that can import and call any function. This unpickler allows only the few names that tensors and numbers
need, and replaces each by a function of this module. Any other name ends the reading with an error.
"""

import io
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from hifigan_jax.errors import shortened

DTYPES = {
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


class Storage(NamedTuple):
    """The values of one or more tensors, stored elsewhere in the file."""

    dtype: str
    key: str
    count: int


class Tensor(NamedTuple):
    """A tensor as a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Refused(Exception):
    """The file contains something that is not part of tensors and numbers."""


def load_pickle(file: io.BufferedIOBase) -> Any:
    """The next pickle in a file, with a `Tensor` for each tensor. Raises Refused, and any exception for a damaged pickle."""
    start = file.tell()
    _check_work(file)
    file.seek(start)
    return _Unpickler(file).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in DTYPES:
            return name
        try:
            return ALLOWED[module, name]
        except KeyError:
            full_name = f"{module}.{name}"
            raise Refused(f"the file imports {full_name:.80}, which is not part of a tensor") from None

    def persistent_load(self, identity: tuple) -> Storage:
        kind, dtype, key, _, count = identity[:5]
        if kind != "storage" or dtype not in DTYPES or not isinstance(count, int) or count < 0:
            raise Refused(f"unknown storage {shortened(identity)}")
        if len(identity) > 5 and identity[5] is not None:
            raise Refused("storages that are views of other storages (PyTorch before 0.4)")
        return Storage(dtype, str(key), count)


class _Function:
    """A function that a file may call but not modify (a pickle can set attributes of the objects that it imports)."""

    __slots__ = ("call",)

    def __init__(self, call: Callable):
        self.call = call

    def __call__(self, *arguments):
        return self.call(*arguments)

    def __setstate__(self, _):
        raise Refused("the file tries to modify the reader")


class _NumpyDtype:
    """The dtype of a numpy scalar, for example "f8"."""

    def __init__(self, code: str, *_):
        if not isinstance(code, str) or not re.fullmatch(r"b1|[fiu][1248]", code):
            raise Refused(f"a numpy scalar of dtype {shortened(code)}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple):
        if state[1] not in ("<", "|"):
            raise Refused("a big-endian numpy scalar")


def _numpy_scalar(dtype: _NumpyDtype, content: bytes) -> bool | int | float:
    return np.frombuffer(content, dtype.dtype, 1)[0].item()


def _latin_1(text: str, encoding: str) -> bytes:
    """The bytes of a numpy scalar, which protocol 2 stores as text."""
    if encoding != "latin1":
        raise Refused(f"the encoding {shortened(encoding)}")
    return text.encode("latin-1")


def _rebuild_tensor(storage, offset, shape, strides, *_) -> Tensor:
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *_) -> Tensor:
    return tensor


ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
    ("torch", "Size"): tuple,
    # Losses and step counts that were saved as numpy scalars. numpy 2 renamed the module.
    ("numpy", "dtype"): _Function(_NumpyDtype),
    ("numpy.core.multiarray", "scalar"): _Function(_numpy_scalar),
    ("numpy._core.multiarray", "scalar"): _Function(_numpy_scalar),
    ("_codecs", "encode"): _Function(_latin_1),
}

_CHANGES_ITS_FIRST = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}
_GET, _PUT = ("GET", "BINGET", "LONG_BINGET"), ("PUT", "BINPUT", "LONG_BINPUT")


def _check_work(file: io.BufferedIOBase) -> None:
    """Refuses a pickle whose objects, written out, are far larger than the pickle, without building them.

    A tuple of twice the same tuple, 40 times over, takes 120 bytes; hashing or printing it takes 2^40 operations. This follows
    the opcodes with the number of nodes of each object instead of the object. A list that is changed later counts with its size
    at the time of each use: only tuples, which cannot change, are hashed.
    """
    stack: list[list[int]] = []  # one-element lists, so that all references to a list or dict see that it grows
    memo: dict[int, list[int]] = {}
    marks: list[int] = []
    work = 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name in _PUT:
            if argument > count:
                raise Refused("the pickle has an impossible memo index")
            memo[argument] = stack[-1]
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif opcode.name in _GET:
            stack.append(memo[int(argument)])
        elif opcode.name == "DUP":
            stack.append(stack[-1])
        elif opcode.name == "MARK":
            marks.append(len(stack))
        else:
            taken = _taken(stack, marks, opcode)
            size = sum(item[0] for item in taken)
            work += size
            if work > 100 * count + 100_000:
                raise Refused("the pickle repeats its objects far too often")
            if opcode.name in _CHANGES_ITS_FIRST:
                taken[0][0] += size - taken[0][0]
                stack.append(taken[0])
            else:
                stack += [[1 + size] for _ in opcode.stack_after]


def _taken(stack: list[list[int]], marks: list[int], opcode: pickletools.OpcodeInfo) -> list[list[int]]:
    """Removes from the stack what an opcode consumes."""
    before = opcode.stack_before
    marked = pickletools.markobject in before
    start = marks.pop() - before.index(pickletools.markobject) if marked else len(stack) - len(before)
    if start < 0:
        raise Refused("the pickle takes more objects than it has")
    taken = stack[start:]
    del stack[start:]
    return taken
