import json
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from hifigan_jax.errors import CheckpointError
from hifigan_jax.weights.safetensors_file import is_safetensors, read_safetensors, write_safetensors

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.array([1.5, -0.0], np.float32)}


def test_tensors_and_configuration_are_read_back_bit_for_bit(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", TENSORS, '{"key": 1}')
    tensors, config = read_safetensors(tmp_path / "a.safetensors")
    assert tensors.keys() == TENSORS.keys()
    assert all(tensors[name].tobytes() == TENSORS[name].tobytes() for name in TENSORS)
    assert config == '{"key": 1}'
    assert is_safetensors(tmp_path / "a.safetensors")


def test_a_file_of_another_program_has_no_configuration(tmp_path):
    safetensors.numpy.save_file(TENSORS, tmp_path / "a.safetensors")
    assert read_safetensors(tmp_path / "a.safetensors")[1] is None


@pytest.mark.parity
def test_torch_reads_it(tmp_path):
    pytest.importorskip("torch")
    from safetensors.torch import load_file

    write_safetensors(tmp_path / "a.safetensors", TENSORS, "{}")
    for name, tensor in load_file(tmp_path / "a.safetensors").items():
        np.testing.assert_array_equal(tensor.numpy(), TENSORS[name])


WRONG_SHAPE = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}).ljust(64).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no tensors",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 5) + b"{bad}",
        safetensors.numpy.save(TENSORS)[:-1],
        safetensors.numpy.save(TENSORS) + b"more",
        struct.pack("<Q", 64) + WRONG_SHAPE + bytes(4),
    ],
)
def test_a_damaged_file_is_refused_with_its_path(content, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"^{path}: not a safetensors file, or damaged \(.+\): fetch it again$"):
        read_safetensors(path)


def test_bfloat16_is_read(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"a": np.array([1, 2.5], ml_dtypes.bfloat16)}, path)
    np.testing.assert_array_equal(read_safetensors(path)[0]["a"].astype(np.float32), [1, 2.5])


def test_other_files_are_not_recognized_as_safetensors(tmp_path):
    assert not is_safetensors(tmp_path / "missing")
    (tmp_path / "a").write_bytes(b"PK\x03\x04 and so on")
    assert not is_safetensors(tmp_path / "a")
