"""Long recordings in pieces have the audio of the recording at once."""

import numpy as np
import pytest
import soundfile

from hifigan_jax import audio
from hifigan_jax.benchmark import random_params
from hifigan_jax.errors import DataError
from hifigan_jax.synthesis import Vocoder, folder, pieces
from hifigan_jax.synthesis.piecewise_output import PiecewiseOutput
from hifigan_jax.synthesis.targets import RECORDINGS, output_paths


@pytest.fixture
def vocoder(tiny_config, shared_programs):
    return Vocoder(tiny_config, random_params(tiny_config))


@pytest.fixture
def short_pieces(monkeypatch):
    """Pieces of one second, for recordings of more than two."""
    monkeypatch.setattr(pieces, "SECONDS", 1)
    monkeypatch.setattr(folder, "_LONGEST_AT_ONCE", 2)


@pytest.mark.parametrize("length", [22016, 22050, 44000, 51234])
@pytest.mark.parametrize("block", [300, 5000, 60000])
def test_pieces_have_the_audio_of_the_recording_at_once(vocoder, short_pieces, rng, length, block):
    samples = rng.uniform(-0.5, 0.5, length).astype(np.float32)
    found = dict(enumerate(vocoder.pieces(samples[i : i + block] for i in range(0, length, block))))
    parts = dict(vocoder.synthesize((number, piece.utterance) for number, piece in found.items()))
    joined = np.concatenate([parts[number][piece.start : piece.stop] for number, piece in found.items()])
    expected = vocoder.decode(vocoder.mel(samples))
    assert joined.shape == expected.shape
    np.testing.assert_allclose(joined, expected, rtol=0, atol=1e-5)
    assert [piece.is_last for piece in found.values()] == [False] * (len(found) - 1) + [True]
    assert len(found) == {22016: 1, 22050: 1, 44000: 2, 51234: 3}[length]  # of 86 frames


def test_a_long_recording_in_a_folder_is_written_like_a_short_one(vocoder, tmp_path, rng, monkeypatch):
    for name, length in {"a": 60000, "b": 9000, "c": 50000}.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "in" / f"{name}.wav", rng.uniform(-0.5, 0.5, length), 22050)

    def written(output):
        targets = output_paths(tmp_path / "in", output, RECORDINGS)
        outcomes = list(folder.synthesize_files(vocoder, targets, RECORDINGS))
        assert sorted(outcome.seconds for outcome in outcomes) == [length // 256 * 256 / 22050 for length in (9000, 50000, 60000)]
        return {name: soundfile.read(output / f"{name}_generated.wav", dtype="int16")[0].astype(int) for name in "abc"}

    at_once = written(tmp_path / "at_once")
    monkeypatch.setattr(pieces, "SECONDS", 1)
    monkeypatch.setattr(folder, "_LONGEST_AT_ONCE", 1)
    for name, samples in written(tmp_path / "in_pieces").items():
        assert np.abs(samples - at_once[name]).max() <= 1


def test_damage_late_in_a_long_recording_leaves_no_output(vocoder, short_pieces, tmp_path, rng, monkeypatch):
    samples = rng.uniform(-0.5, 0.5, 90000)
    samples[80000] = np.nan
    soundfile.write(tmp_path / "bad.wav", samples, 22050, subtype="FLOAT")
    soundfile.write(tmp_path / "good.wav", samples[:70000], 22050)
    monkeypatch.setattr(audio, "_BLOCK", 8192)
    targets = output_paths(tmp_path, tmp_path / "out", RECORDINGS)
    outcomes = {outcome.path.stem: outcome for outcome in folder.synthesize_files(vocoder, targets, RECORDINGS)}
    assert "NaN" in str(outcomes["bad"].error)
    assert outcomes["good"].error is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good_generated.wav"]


def test_a_piece_that_cannot_be_written_ends_the_file(tmp_path):
    output = PiecewiseOutput(tmp_path / "a.wav", 22050)
    assert output.add(np.zeros(10, np.float32), False) is None
    with pytest.raises(DataError, match="NaN"):
        output.add(np.full(10, np.nan, np.float32), False)
    assert output.add(np.zeros(10, np.float32), True) is None
    assert not list(tmp_path.iterdir())


def test_an_output_without_its_last_piece_leaves_nothing(tmp_path):
    output = PiecewiseOutput(tmp_path / "a.wav", 22050)
    output.add(np.zeros(10, np.float32), False)
    output.close()
    assert not list(tmp_path.iterdir())
