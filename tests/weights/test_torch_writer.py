import zipfile

import numpy as np
import pytest

from hifigan_jax.errors import DiskError
from hifigan_jax.weights.torch_file import read_torch_file
from hifigan_jax.weights.torch_writer import write_torch_file

CONTENT = {
    "tensors": {"matrix": np.arange(6, dtype=np.float32).reshape(2, 3), "number": np.array(2.5), "none": np.zeros((0, 3))},
    "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "counts": np.arange(3),
    "numbers": [0, 1, -1, 127, 128, 255, 256, -128, -129, 2**31, -(2**31), 2**40, 1.5, -0.0, 1e-300],
    "others": (True, False, None, "", "ü", (), [], {}),
    3: {"nested": [1, {"deep": (1, [2])}]},
}


def assert_same(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        assert_same(list(ours.values()), list(theirs.values()))
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for pair in zip(ours, theirs, strict=True):
            assert_same(*pair)
    else:
        assert repr(ours) == repr(theirs)


def test_written_content_is_read_back(tmp_path):
    write_torch_file(tmp_path / "a.pth", CONTENT)
    assert_same(read_torch_file(tmp_path / "a.pth"), CONTENT)


@pytest.mark.parity
def test_torch_reads_it_with_weights_only(tmp_path):
    torch = pytest.importorskip("torch")
    write_torch_file(tmp_path / "a.pth", CONTENT)

    def as_numpy(node):
        if isinstance(node, torch.Tensor):
            return node.numpy()
        if isinstance(node, dict):
            return {key: as_numpy(value) for key, value in node.items()}
        return type(node)(map(as_numpy, node)) if isinstance(node, list | tuple) else node

    for mmap in (False, True):
        assert_same(as_numpy(torch.load(tmp_path / "a.pth", weights_only=True, mmap=mmap)), CONTENT)


def test_members_are_stored_uncompressed(tmp_path):
    write_torch_file(tmp_path / "a.pth", {"x": np.zeros(3, np.float32)})
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("archive/data/0") == bytes(12)


@pytest.mark.parametrize("content", [{1, 2}, [np.zeros(2, np.complex64)], {"x": np.float32(1)}, {"x": b"b"}, object()])
def test_other_types_are_refused_and_leave_no_file(content, tmp_path):
    with pytest.raises(TypeError, match="cannot write .+ to a PyTorch file"):
        write_torch_file(tmp_path / "a.pth", content)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_can_t_be_written_is_a_disk_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DiskError, match=rf"^{tmp_path / 'file' / 'a.pth'}: "):
        write_torch_file(tmp_path / "file" / "a.pth", {})
