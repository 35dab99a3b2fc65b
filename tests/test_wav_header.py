"""WAV files with unset sizes are read up to their end; files that are really empty stay empty."""

import struct

import numpy as np
import pytest
import soundfile

from hifigan_jax import audio
from hifigan_jax.errors import DataError
from hifigan_jax.wav_header import unset_size_position

SAMPLES = np.arange(-500, 500, dtype=np.int16)
FORMAT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 22050, 44100, 2, 16)
LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"


def wav(*parts):
    content = b"WAVE" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", 0) + content


UNSET = b"data" + struct.pack("<I", 0)


@pytest.fixture
def written(tmp_path):
    def written(content):
        (tmp_path / "a.wav").write_bytes(content)
        return tmp_path / "a.wav"

    return written


@pytest.mark.parametrize("before", [b"", LIST], ids=["plain", "after_a_list"])
def test_the_samples_up_to_the_end_are_read_in_parts_and_at_once(written, before):
    path = written(wav(FORMAT, before, UNSET, SAMPLES.tobytes()))
    np.testing.assert_array_equal(audio.read_audio(path)[0], SAMPLES / np.float32(32768))
    np.testing.assert_array_equal(audio.read_segment(path, 300, 100), SAMPLES[300:400] / np.float32(32768))
    assert audio.inspect_audio(path).samples == SAMPLES.size
    assert audio.is_seekable(path)


@pytest.mark.parametrize(
    "content",
    [
        wav(FORMAT, UNSET),
        wav(FORMAT, UNSET, LIST),
        wav(FORMAT, UNSET, LIST, LIST),
        wav(FORMAT, LIST),
        wav(FORMAT),
        wav(),
        b"RIFX" + wav(FORMAT, UNSET, SAMPLES.tobytes())[4:],
        b"",
    ],
    ids=["nothing", "a_list", "two_lists", "no_data", "no_list", "no_chunks", "big_endian", "no_bytes"],
)
def test_a_file_without_samples_is_not_completed(written, content):
    path = written(content)
    assert unset_size_position(path) is None
    with pytest.raises(DataError):
        audio.read_audio(path)


def test_a_set_size_is_not_changed(tmp_path):
    soundfile.write(tmp_path / "a.wav", SAMPLES, 22050)
    assert unset_size_position(tmp_path / "a.wav") is None
