"""The files are assembled opcode by opcode: that needs no torch, and torch would refuse to write the malicious ones."""

import contextlib
import io
import pathlib
import pickle
import re
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickles import (
    BOMBS,
    CALLS,
    FORMATS,
    GADGETS,
    HIDING_PLACES,
    SIX,
    SOME,
    STORAGES,
    TIME_BOMBS,
    Call,
    Global,
    Raw,
    Tensor,
    call_by,
    eval_call,
    filled,
    legacy_file,
    opcodes,
    tensor,
    zip_file,
)

from hifigan_jax.errors import CheckpointError
from hifigan_jax.weights import safe_pickle
from hifigan_jax.weights.torch_file import read_torch_file

pytestmark = pytest.mark.smoke

# Error messages after the path: what is wrong, and how to fix it
REFUSED = r"refused: .+: save only tensors and plain numbers \(a state_dict\)"
DAMAGED = r"not a PyTorch file, or damaged \(\w+\): fetch it again"


@pytest.fixture(params=FORMATS.values(), ids=FORMATS.keys())
def file_of(request):
    return request.param


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "a.pth").write_bytes(content)
        return read_torch_file(tmp_path / "a.pth")

    return read


@pytest.fixture
def refusal(tmp_path, read):
    def refusal(content):
        with pytest.raises(CheckpointError) as caught:
            read(content)
        match = re.fullmatch(f"{re.escape(str(tmp_path / 'a.pth'))}: ({REFUSED}|{DAMAGED})", str(caught.value))
        assert match, caught.value
        return match[1]

    return refusal


# --- what is read ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "dtype"), STORAGES.items())
def test_every_dtype_is_read_bit_for_bit(file_of, read, kind, dtype):
    values = np.array([[0, 1, 2], [3, 100, 5]]).astype(dtype)
    array = read(file_of({"x": tensor(values, kind)}))["x"]
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, values)


def test_numbers_and_containers_are_kept(file_of, read):
    content = {"a": [1, 2.5, None, True, "text"], "b": (1, (2,)), 3: {"c": -(2**70)}}
    assert read(file_of(content)) == content


def test_a_state_dict_is_an_ordered_dict_with_metadata(file_of, read):
    items = Raw(opcodes(Call(Global("collections", "OrderedDict"), ()), {}, False) + opcodes({"b": 1, "a": 2}, {}, False)[1:])
    content = Raw(items + opcodes({"_metadata": {"version": 1}}, {}, False) + b"b")
    assert list(read(file_of(content)).items()) == [("b", 1), ("a", 2)]


def test_views_are_read_as_independent_arrays(file_of, read):
    content = {
        "transposed": Tensor(SIX, 0, (3, 2), (1, 3)),
        "row": Tensor(SIX, 3, (3,), (1,)),
        "column": Tensor(SIX, 1, (2,), (3,)),
        "scalar": Tensor(SIX, 5, (), ()),
        "empty": Tensor(SIX, 0, (0, 3), (3, 1)),
        "empty_at_the_end": Tensor(SIX, 6, (0,), (1,)),
    }
    arrays = read(file_of(content))
    matrix = SIX.reshape(2, 3)
    expected = {"transposed": matrix.T, "row": matrix[1], "column": matrix[:, 1], "scalar": np.float32(5)}
    expected |= {"empty": np.zeros((0, 3)), "empty_at_the_end": np.zeros(0)}
    for name, values in expected.items():
        assert arrays[name].shape == values.shape
        np.testing.assert_array_equal(arrays[name], values)


def test_tensors_of_one_storage_become_independent(file_of, read):
    arrays = read(file_of({"a": tensor(SIX), "b": Tensor(SIX, 0, (6,), (1,))}))
    arrays["a"][0] = 99
    assert arrays["b"][0] == 0


def test_parameters_are_tensors(file_of, read):
    hooks = Call(Global("collections", "OrderedDict"), ())
    parameter = Call(Global("torch._utils", "_rebuild_parameter"), (tensor(SIX), True, hooks))
    np.testing.assert_array_equal(read(file_of([parameter]))[0], SIX)


def test_the_folder_in_the_archive_may_have_any_name(read):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(zip_file(SOME))) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            target.writestr(name.replace("archive/", "g_00000001/"), source.read(name))
    np.testing.assert_array_equal(read(buffer.getvalue())["layer.weight"], SIX.reshape(2, 3))


# --- what is refused ------------------------------------------------------------------------------------------------------------


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="absent.pth: cannot be read: No such file or directory"):
        read_torch_file(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        read_torch_file(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x80\x02N.", b"PK\x05\x06" + bytes(18), b"<html></html>", bytes(1000)])
def test_other_files_are_refused(refusal, content):
    refusal(content)


def test_a_file_cut_anywhere_is_refused(file_of, refusal):
    content = file_of(SOME)
    for length in range(0, len(content), 3):
        refusal(content[:length])


@contextlib.contextmanager
def at_most(size):
    """Limits further memory to `size` bytes (on Linux): more raises MemoryError instead of exhausting the machine."""
    if not pathlib.Path("/proc/self/statm").exists():
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@given(st.sampled_from(list(FORMATS)), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_read_as_saved_or_refused(tmp_path_factory, name, changes):
    """Zip files have checksums. Legacy files have none: damage can change what is read, but not make it large."""
    content = bytearray(FORMATS[name](SOME))
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(content)
    try:
        with at_most(2**28):
            found = read_torch_file(path)
    except CheckpointError as error:
        assert re.fullmatch(f"{re.escape(str(path))}: ({REFUSED}|{DAMAGED}|cannot be read: .+)", str(error))  # noqa: PT017
        return
    if name == "zip":
        assert found.keys() == SOME.keys()
        assert found["step"] == 7
        np.testing.assert_array_equal(found["layer.weight"], SIX.reshape(2, 3))
        np.testing.assert_array_equal(found["layer.bias"], SIX[:2] + 0.5)
    else:
        assert size_of(found) <= 4 * len(content)


def size_of(node):
    """The size in bytes of all arrays in a container."""
    if isinstance(node, np.ndarray):
        return node.nbytes
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    return sum(size_of(child) for child in children)


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(SIX, 0, (7,), (1,)),
        Tensor(SIX, 1, (6,), (1,)),
        Tensor(SIX, 6, (1,), (1,)),
        Tensor(SIX, 0, (2, 3), (4, 1)),
        Tensor(SIX, 0, (2,), (2**62,)),
        Tensor(SIX, 0, (2**40,), (0,)),
        Tensor(SIX, 0, (2**62, 0), (1, 1)),
        Tensor(SIX, -1, (2,), (1,)),
        Tensor(SIX, 5, (2,), (-1,)),
        Tensor(SIX, 0, (-1,), (1,)),
        Tensor(SIX, 0, (-1, -1), (1, 1)),
        Tensor(SIX, 0, (2, 3), (1,)),
        Tensor(SIX, 0, (2.0,), (1,)),
        Tensor(SIX, 0, "23", "11"),
        Tensor(SIX, None, (2,), (1,)),
        Tensor(SIX, 0, (2,), (1,), "ComplexFloatStorage"),
        Tensor(SIX, 0, (2,), (1,), claims=7),
        Tensor(SIX, 0, (2,), (1,), claims=-1),
        Tensor(SIX, 0, (2,), (1,), claims=2**62),
        Tensor(SIX, 0, (2,), (1,), "LongStorage"),
    ],
)
def test_a_tensor_that_does_not_fit_its_storage_is_refused(file_of, refusal, tensor):
    refusal(file_of({"x": tensor}))


@pytest.mark.parametrize(
    "edit",
    [
        lambda members: members.pop("data/0"),
        lambda members: members.pop("data.pkl"),
        lambda members: members.update({"other/data.pkl": members["data.pkl"]}),
        lambda members: members.update({"byteorder": b"big"}),
        lambda members: members.update({"data/0": members["data/0"][:-1]}),
        lambda members: members.update({"data.pkl": members["data.pkl"][:-1]}),
    ],
)
def test_an_archive_with_wrong_members_is_refused(refusal, edit):
    refusal(zip_file(SOME, edit))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("magic", 1),
        ("protocol", 1002),
        ("system", {"little_endian": False}),
        ("system", 3),
        ("keys", []),
        ("keys", ["1"]),
        ("keys", ["9", "0"]),
        ("keys", 5),
    ],
)
def test_a_legacy_file_with_wrong_parts_is_refused(refusal, part, value):
    refusal(legacy_file(SOME, lambda parts: parts.update({part: opcodes(value, {}, True)})))


def test_views_of_storages_are_refused(refusal):
    identity = ("storage", Global("torch", "FloatStorage"), "0", "cpu", 6, ("1", 0, 3))
    assert "views of other storages" in refusal(legacy_file(Raw(opcodes(identity, {}, True) + b"Q")))


def test_messages_stay_short_and_printable_whatever_the_file_contains(refusal):
    name = Raw(opcodes("os\npath", {}, True) + opcodes("sys\ntem", {}, True) + b"\x93")
    assert refusal(zip_file(name)).startswith("refused: the file imports os path.sys tem, which is not part of a tensor: ")
    assert len(refusal(zip_file(Raw(opcodes("o" * 10_000, {}, True) * 2 + b"\x93")))) < 1000


# --- malice ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gadget", GADGETS)
def test_no_foreign_name_is_ever_called(tmp_path, file_of, refusal, gadget):
    module, _, name = gadget.rpartition(".")
    canary = tmp_path / "canary"
    message = refusal(file_of({"x": Call(Global(module, name), filled(GADGETS[gadget], str(canary)))}))
    assert f"refused: the file imports {module}." in message
    assert not canary.exists()


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_a_call_is_refused_wherever_it_is_hidden(tmp_path, file_of, refusal, place):
    canary = tmp_path / "canary"
    assert "builtins.eval" in refusal(file_of(HIDING_PLACES[place](eval_call(canary))))
    assert not canary.exists()


@pytest.mark.parametrize("part", ["magic", "protocol", "system", "content", "keys"])
def test_no_part_of_a_legacy_file_is_trusted(tmp_path, refusal, part):
    canary = tmp_path / "canary"
    assert "builtins.eval" in refusal(legacy_file(SOME, lambda parts: parts.update({part: eval_call(canary)})))
    assert not canary.exists()


@pytest.mark.parametrize("opcode", CALLS)
def test_no_opcode_calls_a_forbidden_function(tmp_path, file_of, refusal, opcode):
    canary = tmp_path / "canary"
    refusal(file_of(call_by(opcode, str(canary))))
    assert not canary.exists()


@pytest.mark.parametrize("name", ["_rebuild_tensor_v2", "_rebuild_parameter"])
def test_a_file_cannot_modify_the_reader(refusal, file_of, name):
    function = safe_pickle.ALLOWED["torch._utils", name]
    defaults = getattr(function, "__defaults__", None)
    state = opcodes(({"polluted": 1}, {"__defaults__": (1, 2, 3, 4)}), {}, True)
    try:
        refusal(file_of(Raw(opcodes(Global("torch._utils", name), {}, True) + state + b"b")))
        assert not hasattr(function, "polluted")
        assert getattr(function, "__defaults__", None) == defaults
    finally:
        if hasattr(function, "polluted"):
            del function.polluted
            function.__defaults__ = defaults


def test_a_list_that_contains_itself_is_refused(file_of, refusal):
    refusal(file_of(Raw(b"]q\x00h\x00a")))


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_needs_little_memory(tmp_path, bomb):
    (tmp_path / "a.pth").write_bytes(BOMBS[bomb]())
    tracemalloc.start()
    with contextlib.suppress(CheckpointError):
        read_torch_file(tmp_path / "a.pth")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6


@pytest.mark.parametrize("bomb", TIME_BOMBS)
def test_a_small_file_needs_little_time(file_of, refusal, bomb):
    assert "repeats its objects far too often" in refusal(file_of(TIME_BOMBS[bomb]))


@pytest.mark.parametrize("steps", ["lots"])
def test_a_list_of_many_references_to_one_object_is_read(file_of, read, steps):
    assert read(file_of(Raw(b"](" + opcodes(steps, {}, True) + b"q\x05" + b"h\x05" * 5000 + b"e"))) == [steps] * 5001


def scalar_opcodes(scalar, module="numpy._core"):
    return Raw(pickle.dumps(scalar, protocol=2)[2:-1].replace(b"numpy._core", module.encode()))


@pytest.mark.parametrize("module", ["numpy._core", "numpy.core"])
@pytest.mark.parametrize("scalar", [np.float64(0.1), np.float32(0.5), np.int64(-3), np.uint8(200), np.bool_(True)], ids=repr)
def test_a_numpy_scalar_is_read_as_a_number(file_of, read, scalar, module):
    value = read(file_of({"loss": scalar_opcodes(scalar, module)}))["loss"]
    assert value == scalar
    assert type(value) in (bool, int, float)


@pytest.mark.parametrize("scalar", [np.str_("a"), np.datetime64(1, "s"), np.complex64(1)], ids=repr)
def test_other_numpy_scalars_are_refused(file_of, refusal, scalar):
    assert "a numpy scalar of dtype" in refusal(file_of({"loss": scalar_opcodes(scalar)}))


def test_a_big_endian_numpy_scalar_is_refused(file_of, refusal):
    swapped = Raw(scalar_opcodes(np.float64(1)).replace(b"X\x01\x00\x00\x00<", b"X\x01\x00\x00\x00>"))
    assert "big-endian" in refusal(file_of({"loss": swapped}))


# --- files of torch itself ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def by_torch(request, tmp_path):
    """by_torch(content): what our reader makes of a file that torch saved."""
    torch = pytest.importorskip("torch")

    def by_torch(content):
        torch.save(content, tmp_path / "torch.pth", _use_new_zipfile_serialization=request.param)
        return read_torch_file(tmp_path / "torch.pth")

    return by_torch


@pytest.mark.parity
@pytest.mark.parametrize("dtype", [np.dtype(dtype).name for dtype in STORAGES.values()])
def test_torch_s_dtypes(by_torch, dtype):
    import torch

    tensor = torch.tensor([[0, 1, 2], [3, 100, 5]]).to(getattr(torch, dtype))
    array = by_torch({"x": tensor})["x"]
    assert array.dtype.name == dtype
    np.testing.assert_array_equal(array.astype(np.float64), tensor.double().numpy())


@pytest.mark.parity
def test_torch_s_views(by_torch):
    import torch

    base = torch.arange(24.0).reshape(2, 3, 4)
    views = {
        "base": base,
        "transposed": base.transpose(0, 2),
        "slice": base[1, 1:, ::2],
        "scalar": base[1, 2, 3],
        "empty": base[:, :0],
        "channels_last": base[None].contiguous(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(base[0]),
    }
    arrays = by_torch(views)
    for name, view in views.items():
        assert arrays[name].shape == tuple(view.shape)
        np.testing.assert_array_equal(arrays[name], view.detach().numpy())


@pytest.mark.parity
def test_torch_s_modules_and_optimizers(by_torch):
    import torch

    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(3, 4, 5))
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3, 9)).sum().backward()
    optimizer.step()
    read = by_torch({"generator": module.state_dict(), "optim_g": optimizer.state_dict(), "steps": 5, "epoch": -1})
    assert (read["steps"], read["epoch"]) == (5, -1)
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(read["generator"][name], value.numpy())
    state = optimizer.state_dict()["state"]
    assert read["optim_g"]["state"].keys() == state.keys()
    for number, moments in state.items():
        np.testing.assert_array_equal(read["optim_g"]["state"][number]["exp_avg_sq"], moments["exp_avg_sq"].numpy())


@pytest.mark.parity
def test_a_whole_module_of_torch_is_refused(by_torch):
    import torch

    with pytest.raises(CheckpointError, match=r"refused: the file imports torch\.nn\.modules\.linear\.Linear"):
        by_torch(torch.nn.Linear(2, 2))
