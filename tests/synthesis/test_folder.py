"""Folder synthesis as another program calls it; tests/cli/test_infer.py covers the rest through infer.py."""

import functools

import numpy as np
import pytest
import soundfile

from hifigan_jax.errors import DiskError
from hifigan_jax.synthesis import Vocoder, folder
from hifigan_jax.synthesis.targets import MELS, output_paths
from hifigan_jax.weights.state_dicts import descend


@pytest.fixture
def vocoder(tiny_config, tiny_leaves, shared_programs):
    params = {}
    for name, leaf in tiny_leaves.items():
        *path, last = name.split("/")
        descend(params, path)[last] = leaf
    return Vocoder(tiny_config, params)


def test_every_file_has_an_outcome(vocoder, tmp_path, rng):
    mels = {name: rng.normal(-5, 2, (80, frames)).astype(np.float32) for name, frames in (("a", 30), ("b", 9))}
    for name, mel in mels.items():
        np.save(tmp_path / f"{name}.npy", mel)
    np.save(tmp_path / "bad.npy", np.zeros((3, 3), np.float32))
    targets = output_paths(tmp_path, tmp_path / "out", MELS)
    written = []
    outcomes = {outcome.path.stem: outcome for outcome in folder.synthesize_files(vocoder, targets, MELS, written.append)}
    assert outcomes.keys() == {"a", "b", "bad"}
    for name, mel in mels.items():
        assert outcomes[name].error is None
        assert outcomes[name].seconds == mel.shape[1] * 256 / 22050
        samples = soundfile.read(outcomes[name].target, dtype="int16")[0]
        assert np.abs(samples - np.round(vocoder.decode(mel) * 32768)).max() <= 1
    assert "shape (3, 3)" in str(outcomes["bad"].error)
    assert outcomes["bad"].seconds == 0
    assert sorted(written) == [tmp_path / "out" / f"{name}_generated_e2e.wav" for name in mels]


def test_an_output_that_cannot_be_written_is_an_error(vocoder, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((80, 3), np.float32))
    (tmp_path / "out").write_text("a file, not a folder")
    targets = output_paths(tmp_path, tmp_path / "out", MELS)
    with pytest.raises(DiskError, match="out"):
        list(folder.synthesize_files(vocoder, targets, MELS))


def test_few_files_are_prefetched():
    begun = []
    tasks = ((number, functools.partial(begun.append, number)) for number in range(20))
    with folder._threads(2) as pool:
        for number, _ in folder._prefetch(pool, tasks, []):
            assert len(begun) <= number + 1 + folder._PREFETCH
    assert sorted(begun) == list(range(20))


def test_parts_divide_the_files_by_size(tmp_path):
    for size in (10, 70, 30, 60, 20):
        (tmp_path / f"{size}.npy").write_bytes(bytes(size))
    paths = functools.partial(output_paths, tmp_path, tmp_path / "out", MELS)
    assert [[path.stem for path in paths(part, 2)] for part in (1, 2)] == [["70", "30", "10"], ["60", "20"]]
    assert paths(1, 1) == paths()
    assert len(paths()) == 5
