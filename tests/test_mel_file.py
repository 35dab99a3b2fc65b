import gc
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.errors import DataError
from hifigan_jax.filterbank import silence
from hifigan_jax.mel_file import pad_with_silence, read_mel


@pytest.fixture
def mel(rng):
    """A log-mel in the usual layout on disk: (80, 7)."""
    return rng.uniform(-11, 2, (80, 7)).astype(np.float32)


def error_message(path, num_mels=80):
    with pytest.raises(DataError) as caught:
        read_mel(path, num_mels)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
def test_mels_are_read_as_float32_with_frames_first(tmp_path, mel, dtype, batched):
    stored = mel.astype(dtype)
    np.save(tmp_path / "a.npy", stored[None] if batched else stored)
    read = read_mel(tmp_path / "a.npy", 80)
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, stored.T.astype(np.float32))


def test_arrays_in_fortran_order_are_read(tmp_path, mel):
    np.save(tmp_path / "a.npy", np.asfortranarray(mel))
    np.testing.assert_array_equal(read_mel(tmp_path / "a.npy", 80), mel.T)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_mel_does_not_change_when_its_file_does(tmp_path, mel, order):
    np.save(tmp_path / "a.npy", np.asarray(mel, order=order))
    read = read_mel(tmp_path / "a.npy", 80)
    with open(tmp_path / "a.npy", "r+b") as file:
        file.seek(-mel.nbytes, os.SEEK_END)
        file.write(bytes(mel.nbytes))
    np.testing.assert_array_equal(read, mel.T)
    assert read.flags.writeable


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((7, 80), "shape (7, 80), expected (80, frames); it looks transposed"),
        ((1, 7, 80), "shape (1, 7, 80), expected (80, frames); it looks transposed"),
        ((40, 7), "shape (40, 7), expected (80, frames)"),
        ((2, 80, 7), "shape (2, 80, 7), expected (80, frames)"),
        ((1, 1, 80, 7), "shape (1, 1, 80, 7), expected (80, frames)"),
        ((80,), "shape (80,), expected (80, frames)"),
        ((), "shape (), expected (80, frames)"),
        ((80, 0), ""),
        ((0, 80), ""),
        ((0, 0), ""),
    ],
)
def test_other_shapes_are_rejected(tmp_path, shape, words):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    assert words in error_message(tmp_path / "a.npy")


@pytest.mark.parametrize("dtype", ["int16", "int64", "bool", "complex64", "U3", "S3", "datetime64[s]", "f4,i4"])
def test_dtypes_that_are_not_floats_are_rejected(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((80, 3), dtype))
    assert "float" in error_message(tmp_path / "a.npy")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinities_are_rejected(tmp_path, mel, bad):
    mel[3, 5] = bad
    np.save(tmp_path / "a.npy", mel)
    assert "NaN or infinite" in error_message(tmp_path / "a.npy")


def test_values_out_of_float32_s_range_are_rejected_without_a_warning(tmp_path):
    np.save(tmp_path / "a.npy", np.full((80, 3), 1e300))
    assert "infinite" in error_message(tmp_path / "a.npy")


def test_pickled_objects_are_never_loaded(tmp_path):
    canary = tmp_path / "canary"

    class Malicious:
        def __reduce__(self):
            return open, (str(canary), "w")

    np.save(tmp_path / "a.npy", np.array([Malicious()], object))
    error_message(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Malicious()))
    error_message(tmp_path / "b.npy")
    assert not canary.exists()


def npy(header, data=b"", version=b"\x01\x00"):
    header += b"\n"
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + data


def header(shape, descr=b"'<f4'"):
    return b"{'descr': " + descr + b", 'fortran_order': False, 'shape': " + shape + b", }"


BAD_FILES = {
    "empty": b"",
    "text": b"-11.5 -11.5 -11.5\n",
    "magic_only": b"\x93NUMPY",
    "future_version": npy(header(b"(80, 1)"), bytes(320), version=b"\x09\x00"),
    "no_data": npy(header(b"(80, 1)")),
    "cut": npy(header(b"(80, 7)"), bytes(1000)),
    "trillions_of_frames": npy(header(b"(80, 1000000000000)"), bytes(320)),
    "more_frames_than_integers": npy(header(b"(80, 100000000000000000000000000000000)"), bytes(320)),
    "negative": npy(header(b"(80, -1)"), bytes(320)),
    "true": npy(header(b"(80, True)")),
    "no_dictionary": npy(b"[1, 2]", bytes(320)),
    "open_bracket": npy(b"{'descr': '<f4', 'shape': (80,", bytes(320)),
    "open_string": npy(b"'''", bytes(320)),
    "deep": npy(b"(" * 3000, bytes(320)),
    "unknown_type": npy(header(b"(80, 1)", b"'<q9'"), bytes(320)),
    "code": npy(b"__import__('os').abort()", bytes(320)),
    "zip_magic": b"PK\x03\x04" + bytes(100),
    "pickle": b"\x80\x04N.",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_rejected_in_one_line_with_their_name(tmp_path, name):
    (tmp_path / "a.npy").write_bytes(BAD_FILES[name])
    error_message(tmp_path / "a.npy")


def test_npz_archives_are_rejected_and_closed(tmp_path, mel):
    np.savez(tmp_path / "a.npz", mel)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    error_message(tmp_path / "a.npy")
    gc.collect()  # an open file would raise a warning


def test_paths_that_are_not_files_are_rejected(tmp_path):
    assert error_message(tmp_path / "absent.npy") == f"{tmp_path / 'absent.npy'}: cannot be read: No such file or directory"
    error_message(tmp_path)
    with pytest.raises(DataError):
        read_mel(str(tmp_path) + "/a\0b.npy", 80)


@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 500))
@settings(max_examples=200, deadline=None)
def test_damaged_files_are_read_or_rejected(tmp_path_factory, changes, cut):
    path = tmp_path_factory.getbasetemp() / "damaged.npy"
    np.save(path, np.zeros((80, 1), np.float32))
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position] = value
    path.write_bytes(content[: max(len(content) - cut, 0)])
    try:
        read_mel(path, 80)
    except DataError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017


def test_mels_are_padded_with_silence(mel):
    padded = pad_with_silence(mel.T, 10, silence(CONVENTIONS["hifigan"]))
    assert padded.dtype == np.float32
    np.testing.assert_array_equal(padded[:7], mel.T)
    np.testing.assert_allclose(padded[7:], -11.512925, rtol=1e-7)
    assert padded.shape == (10, 80)
