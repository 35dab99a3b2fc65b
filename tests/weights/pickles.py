"""PyTorch files made opcode by opcode, among them malicious ones, which torch would refuse to write."""

import io
import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

STORAGES = {
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


class Raw(bytes):
    """Opcodes that are copied as they are."""


class Global(NamedTuple):
    """A name that the pickle imports."""

    module: str
    name: str


class Call(NamedTuple):
    """A function called with arguments, and the state that is then set on the result."""

    function: Any
    arguments: tuple
    state: Any = None


class Tensor(NamedTuple):
    """A tensor as torch saves it: a view of a storage, here a one-dimensional array."""

    storage: np.ndarray
    offset: Any
    shape: Any
    strides: Any
    kind: str = "FloatStorage"
    claims: int | None = None


def opcodes(node, storages, legacy):
    """The pickle of `node` without start and stop; adds key -> array to `storages`."""

    def of(node):
        return opcodes(node, storages, legacy)

    match node:
        case Raw():
            return bytes(node)
        case Global():
            return f"c{node.module}\n{node.name}\n".encode()
        case Call():
            return of(node.function) + of(tuple(node.arguments)) + b"R" + (b"" if node.state is None else of(node.state) + b"b")
        case Tensor():
            key = next((key for key, known in storages.items() if known is node.storage), str(len(storages)))
            storages[key] = node.storage
            identity = ("storage", Global("torch", node.kind), key, "cpu", node.claims or node.storage.size, *([None] * legacy))
            hooks = Call(Global("collections", "OrderedDict"), ())
            arguments = (Raw(of(identity) + b"Q"), node.offset, node.shape, node.strides, False, hooks)
            return of(Call(Global("torch._utils", "_rebuild_tensor_v2"), arguments))
        case dict():
            return b"}(" + b"".join(of(key) + of(value) for key, value in node.items()) + b"u"
        case list():
            return b"](" + b"".join(of(item) for item in node) + b"e"
        case tuple():
            return b"(" + b"".join(of(item) for item in node) + b"t"
        case _:
            return pickle.dumps(node, 2)[2:-1]


def zip_file(content, edit=lambda members: None):
    """The bytes of a .pth file in the format since torch 1.6; `edit` may damage the members."""
    storages = {}
    members = {"data.pkl": b"\x80\x02" + opcodes(content, storages, legacy=False) + b"."}
    members |= {"byteorder": b"little", "version": b"3\n"}
    members |= {f"data/{key}": values.tobytes() for key, values in storages.items()}
    edit(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, value in members.items():
            archive.writestr(f"archive/{name}", value)
    return buffer.getvalue()


def legacy_file(content, edit=lambda parts: None):
    """The bytes of a .pth file in the format before torch 1.6; `edit` may damage the parts."""
    storages = {}
    pickled = opcodes(content, storages, legacy=True)
    parts = {
        "magic": opcodes(0x1950A86A20F9469CFC6C, {}, True),
        "protocol": opcodes(1001, {}, True),
        "system": opcodes({"protocol_version": 1001, "little_endian": True}, {}, True),
        "content": pickled,
        "keys": opcodes(list(storages), {}, True),
    }
    edit(parts)
    values = b"".join(struct.pack("<q", values.size) + values.tobytes() for values in storages.values())
    return b"".join(b"\x80\x02" + part + b"." for part in parts.values()) + values


FORMATS = {"zip": zip_file, "legacy": legacy_file}


def tensor(array, kind="FloatStorage"):
    array = np.ascontiguousarray(array)
    return Tensor(array.reshape(-1), 0, array.shape, tuple(stride // array.itemsize for stride in array.strides), kind)


SIX = np.arange(6, dtype=np.float32)
SOME = {"step": 7, "layer.weight": tensor(SIX.reshape(2, 3)), "layer.bias": tensor(SIX[:2] + 0.5)}


TOUCH = "open({canary!r}, 'w').close()"
GADGETS = {
    "posix.system": ("touch {canary}",),
    "os.system": ("touch {canary}",),
    "nt.system": ("echo > {canary}",),
    "subprocess.Popen": (["touch", "{canary}"],),
    "subprocess.check_output": (["touch", "{canary}"],),
    "builtins.eval": (TOUCH,),
    "builtins.exec": (TOUCH,),
    "__builtin__.eval": (TOUCH,),
    "builtins.open": ("{canary}", "w"),
    "io.open": ("{canary}", "w"),
    "builtins.getattr": (Global("os", "path"), "join"),
    "builtins.__import__": ("os",),
    "builtins.map": (Global("builtins", "eval"), [TOUCH]),
    "builtins.object": (),
    "importlib.import_module": ("os",),
    "runpy._run_code": (TOUCH, {}),
    "timeit.timeit": (TOUCH,),
    "functools.partial": (Global("builtins", "eval"), TOUCH),
    "operator.attrgetter": ("system",),
    "operator.methodcaller": ("system", "touch {canary}"),
    "pathlib.Path.touch": ("{canary}",),
    "argparse.Namespace": (),
    "codecs.encode": ("a", "latin1"),
    "copyreg._reconstructor": (Global("builtins", "object"), Global("builtins", "object"), None),
    "types.CodeType": (),
    "numpy.core.multiarray._reconstruct": (Global("numpy", "ndarray"), (0,), b"b"),
    "numpy.load": ("{canary}",),
    "pickle.loads": (b"N.",),
    "torch.load": ("{canary}",),
    "torch.storage._load_from_bytes": (b"N.",),
    "torch._utils._rebuild_tensor": (),
    "torch._utils._rebuild_tensor_v2.__globals__": (),
    "torch.jit.load": ("{canary}",),
    "torch.float32": (),
    "torch.nn.modules.linear.Linear": (1, 1),
    "collections.OrderedDict.fromkeys": ([1],),
    "collections.defaultdict": (Global("builtins", "list"),),
    "hifigan_jax.weights.safe_pickle.Tensor": (),
}


def filled(value, canary):
    """The arguments of a gadget with the canary's path filled in."""
    if isinstance(value, str) and not isinstance(value, Global):
        return value.format(canary=canary)
    if type(value) in (list, tuple):
        return type(value)(filled(item, canary) for item in value)
    return value


def eval_call(canary):
    return opcodes(Call(Global("builtins", "eval"), (TOUCH.format(canary=canary),)), {}, False)


HIDING_PLACES = {
    "alone": lambda call: Raw(call),
    "as_a_key": lambda call: Raw(b"}(" + call + b"K\x01u"),
    "deep_inside": lambda call: [({"a": [{"b": (Raw(call),)}]},)],
    "dropped_at_once": lambda call: Raw(call + b"0N"),
    "as_a_shape": lambda call: Tensor(SIX, 0, Raw(call), (1,)),
    "as_an_argument": lambda call: Call(Global("collections", "OrderedDict"), (Raw(call),)),
    "as_a_state": lambda call: Call(Global("collections", "OrderedDict"), (), Raw(call)),
    "as_a_storage": lambda call: Raw(call + b"Q"),
    "as_a_storage_s_kind": lambda call: Raw(b"(" + opcodes("storage", {}, True) + call + b"tQ"),
    "as_a_function": lambda call: Call(Raw(call), ()),
}


def compressed(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", content)
    return buffer.getvalue()


LARGE = np.zeros(4096, np.float32)
REPEATED = Raw(b"(" + opcodes(Tensor(LARGE, 0, (4096,), (1,)), {}, False) + b"q\x00" + b"h\x00" * 1000 + b"t")


BOMBS = {
    "none": lambda: zip_file(SOME),
    "one_tensor_1000_times": lambda: zip_file(REPEATED, lambda members: members.update({"data/0": LARGE.tobytes()})),
    "one_storage_1000_times": lambda: zip_file([Tensor(LARGE, 0, (4096,), (1,)) for _ in range(1000)]),
    "doubled_16_times": lambda: zip_file(Raw(b"]" + b"2\x86" * 16)),
    "a_far_memo": lambda: zip_file(Raw(b"Nr" + struct.pack("<I", 2**20))),
    "compressed": lambda: compressed(b"\x8e" + struct.pack("<Q", 2**24) + bytes(2**24) + b"."),
}


def nested(depth):
    """The opcodes of a tuple of twice a tuple, and so on: 3 bytes a level, 2^depth leaves."""
    return b"K\x01" + b"2\x86" * depth


TIME_BOMBS = {
    "printed": Raw(nested(40) + b"Q"),
    "hashed_as_a_key": Raw(b"}" + nested(40) + b"Ns"),
    "hashed_as_keys": Raw(b"}(" + nested(40) + b"N" * 3 + b"u"),
    "hashed_by_a_constructor": Raw(opcodes(Global("collections", "OrderedDict"), {}, True) + b"](" + nested(40) + b"N\x86e\x85R"),
    "kept": Raw(nested(40)),
    "wide": Raw(b"K\x01q\x01" + b"".join(b"(" + b"h%c" % n * 200 + b"tq%c" % (n + 1) for n in range(1, 9))),
    "printed_as_a_dtype": Raw(opcodes(Global("numpy", "dtype"), {}, True) + nested(40) + b"\x85R"),
}


# Opcodes that call `eval` with %s
CALLS = {
    "INST": b"(S'%s'\nibuiltins\neval\n",
    "OBJ": b"(cbuiltins\neval\nS'%s'\no",
    "STACK_GLOBAL": b"\x8c\x08builtins\x8c\x04eval\x93S'%s'\n\x85R",
    "NEWOBJ": b"cbuiltins\neval\nS'%s'\n\x85\x81",
    "NEWOBJ_EX": b"cbuiltins\neval\nS'%s'\n\x85}\x92",
    "EXT1": b"\x82\x01S'%s'\n\x85R",
}


def call_by(opcode, canary):
    """The opcodes of such a call, which creates the file `canary`."""
    return Raw(CALLS[opcode] % TOUCH.format(canary=canary).replace("'", '"').encode())
