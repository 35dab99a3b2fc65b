import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hifigan_jax import audio
from hifigan_jax.errors import DataError, DiskError

RATE = 22050


@pytest.fixture
def noise(rng):
    return rng.uniform(-0.9, 0.9, 5000).astype(np.float32)


def error_message(function, *arguments, error=DataError):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert str(caught.value).startswith(f"{arguments[0]}: ".replace("\0", " "))
    return str(caught.value)


# --- writing --------------------------------------------------------------------------------------------------------------------


def test_samples_are_scaled_by_32768_truncated_towards_zero_and_clipped(tmp_path):
    step = 1 / 32768
    values = [0, step, -step, 0.99 * step, -0.99 * step, 1.5 * step, -1.5 * step, 1 - step, 1, -1, 1.5, -1.5, 1e30, -1e30]
    expected = [0, 1, -1, 0, 0, 1, -1, 32767, 32767, -32768, 32767, -32768, 32767, -32768]
    audio.write_wav(tmp_path / "a.wav", np.array(values, np.float32), RATE)
    written, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert written.tolist() == expected
    assert rate == RATE


def test_the_file_is_a_16_bit_mono_wav(tmp_path, noise):
    audio.write_wav(tmp_path / "a.wav", noise, RATE)
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.format, info.subtype, info.channels, info.frames) == ("WAV", "PCM_16", 1, 5000)


def test_written_samples_are_read_back_exactly(tmp_path, rng):
    samples = rng.integers(-32768, 32768, 1000).astype(np.float32) / 32768
    audio.write_wav(tmp_path / "a.wav", samples, RATE)
    np.testing.assert_array_equal(audio.read_audio(tmp_path / "a.wav")[0], samples)


def test_missing_folders_are_created(tmp_path, noise):
    audio.write_wav(tmp_path / "new" / "folder" / "a.wav", noise, RATE)
    assert (tmp_path / "new" / "folder" / "a.wav").is_file()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinities_are_not_written(tmp_path, noise, bad):
    noise[17] = bad
    assert error_message(audio.write_wav, tmp_path / "a.wav", noise, RATE).startswith(f"{tmp_path / 'a.wav'}: not written")
    assert list(tmp_path.iterdir()) == []


def test_a_rejected_write_keeps_the_old_file(tmp_path, noise):
    audio.write_wav(tmp_path / "a.wav", noise, RATE)
    before = (tmp_path / "a.wav").read_bytes()
    error_message(audio.write_wav, tmp_path / "a.wav", noise * np.nan, RATE)
    assert (tmp_path / "a.wav").read_bytes() == before


def test_a_failed_write_is_a_disk_error(tmp_path, noise):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "folder.wav" / "inside").write_text("")
    for path in (tmp_path / "file" / "a.wav", tmp_path / "folder.wav"):
        assert error_message(audio.write_wav, path, noise, RATE, error=DiskError).startswith(f"{path}: cannot be written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.wav"]


# --- reading --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "FLOAT", 0),
        ("a.wav", "DOUBLE", 0),
        ("a.flac", "PCM_16", 2**-15),
        ("a.flac", "PCM_24", 2**-23),
        ("a.aiff", "PCM_16", 2**-15),
    ],
)
def test_every_sample_format_is_read_at_its_scale(tmp_path, noise, name, subtype, tolerance):
    soundfile.write(tmp_path / name, noise, 16000, subtype=subtype)
    samples, rate = audio.read_audio(tmp_path / name)
    assert samples.dtype == np.float32
    assert rate == 16000
    np.testing.assert_allclose(samples, noise, rtol=0, atol=tolerance)


def test_integers_are_divided_by_32768(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([-32768, -1, 0, 1, 32767], np.int16), RATE)
    np.testing.assert_array_equal(audio.read_audio(tmp_path / "a.wav")[0] * 32768, [-32768, -1, 0, 1, 32767])


def test_the_format_is_detected_from_the_content_not_the_suffix(tmp_path, noise):
    soundfile.write(tmp_path / "a.flac", noise, RATE)
    (tmp_path / "a.flac").rename(tmp_path / "a.wav")
    assert audio.read_audio(tmp_path / "a.wav")[0].size == noise.size


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([[0.5, 0.25], [1.0, -1.0], [-0.5, 0.0]]), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(audio.read_audio(tmp_path / "a.wav")[0], [0.375, 0, -0.25])
    assert audio.inspect_audio(tmp_path / "a.wav") == audio.AudioInfo(3, RATE, 0.375)
    np.testing.assert_array_equal(audio.read_segment(tmp_path / "a.wav", 1, 3), [0, -0.25, 0])


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff"])
@pytest.mark.parametrize(("start", "length"), [(0, 5000), (0, 1), (1234, 777), (4999, 1), (4000, 3000), (5000, 10), (9000, 10)])
def test_a_segment_is_a_slice_padded_with_zeros(tmp_path, noise, name, start, length):
    soundfile.write(tmp_path / name, noise, RATE)
    whole, _ = audio.read_audio(tmp_path / name)
    expected = np.concatenate([whole, np.zeros(10_000, np.float32)])[start : start + length]
    np.testing.assert_array_equal(audio.read_segment(tmp_path / name, start, length), expected)


def test_inspection_returns_length_rate_and_peak(tmp_path, noise):
    noise[3210] = -0.96875
    soundfile.write(tmp_path / "a.flac", noise, 24000)
    assert audio.inspect_audio(tmp_path / "a.flac") == audio.AudioInfo(5000, 24000, 0.96875)


def test_the_peak_is_found_in_any_block_of_a_long_file(tmp_path):
    samples = np.zeros(2**20 + 5, np.float32)
    samples[-1] = 0.5
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    assert audio.inspect_audio(tmp_path / "a.wav") == audio.AudioInfo(2**20 + 5, RATE, 0.5)


def test_formats_with_exact_partial_reads_are_recognized(tmp_path, noise):
    for name, exact in (("a.wav", True), ("a.flac", True), ("a.aiff", True), ("a.mp3", False), ("a.ogg", False)):
        soundfile.write(tmp_path / name, noise, RATE)
        assert audio.is_seekable(tmp_path / name) is exact


def wav_bytes(folder, samples, **options):
    soundfile.write(folder / "source.wav", samples, RATE, **options)
    return (folder / "source.wav").read_bytes()


def flac_bytes(folder, samples):
    soundfile.write(folder / "source.flac", samples, RATE)
    return (folder / "source.flac").read_bytes()


def with_unknown_length(flac):
    """STREAMINFO's 36 bits of total samples set to 0, which means unknown."""
    return flac[:21] + bytes([flac[21] & 0xF0, 0, 0, 0, 0]) + flac[26:]


BAD_FILES = {
    "empty.wav": lambda folder, noise: b"",
    "text.wav": lambda folder, noise: b"not audio at all\n" * 20,
    "page.flac": lambda folder, noise: b"<!DOCTYPE html><html><body>404</body></html>",
    "header.wav": lambda folder, noise: wav_bytes(folder, noise[:0]),
    "half_a_header.wav": lambda folder, noise: wav_bytes(folder, noise)[:20],
    "cut.flac": lambda folder, noise: flac_bytes(folder, noise)[:-3000],
    "flipped.flac": lambda folder, noise: flac_bytes(folder, noise).replace(flac_bytes(folder, noise)[6000:6200], bytes(200)),
    "endless.flac": lambda folder, noise: with_unknown_length(flac_bytes(folder, noise)),
    "nan.wav": lambda folder, noise: wav_bytes(folder, np.append(noise, np.nan), subtype="FLOAT"),
    "inf.wav": lambda folder, noise: wav_bytes(folder, np.append(noise, -np.inf), subtype="FLOAT"),
    "loud.wav": lambda folder, noise: wav_bytes(folder, noise * 1e4, subtype="FLOAT"),
    "stereo_nan.wav": lambda folder, noise: wav_bytes(folder, np.array([[0, np.nan]]), subtype="FLOAT"),
    "headerless.raw": lambda folder, noise: b"\0\1" * 500,
}


@pytest.mark.parametrize("read", [audio.read_audio, audio.inspect_audio])
@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_rejected_in_one_line_with_their_name(tmp_path, noise, name, read):
    path = tmp_path / name
    path.write_bytes(BAD_FILES[name](tmp_path, noise))
    assert error_message(read, path).startswith(f"{path}: ")


@pytest.mark.parametrize("read", [audio.read_audio, audio.inspect_audio, audio.is_seekable])
def test_paths_that_are_not_files_are_rejected_with_their_name(tmp_path, read):
    assert error_message(read, tmp_path / "absent.wav") == f"{tmp_path / 'absent.wav'}: cannot be decoded: no such file"
    assert error_message(read, tmp_path).startswith(f"{tmp_path}: cannot be decoded")
    assert error_message(read, str(tmp_path) + "/a\0b.wav").startswith(str(tmp_path))


def test_a_segment_before_the_damage_is_still_read(tmp_path, noise):
    (tmp_path / "nan.wav").write_bytes(wav_bytes(tmp_path, np.append(noise, np.nan), subtype="FLOAT"))
    np.testing.assert_array_equal(audio.read_segment(tmp_path / "nan.wav", 0, 5000), noise)
    error_message(audio.read_segment, tmp_path / "nan.wav", 1, 5000)


def test_a_truncated_wav_is_reported(tmp_path, noise, caplog):
    path = tmp_path / "half.wav"
    path.write_bytes(wav_bytes(tmp_path, noise)[:5044])
    try:
        audio.inspect_audio(path)
    except DataError as error:
        reported = str(error)
    else:
        reported = caplog.text
    assert str(path) in reported


@given(
    st.sampled_from(["wav", "flac"]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8),
    st.integers(0, 9),
)
@settings(max_examples=100, deadline=None)
def test_damaged_files_are_read_or_rejected(tmp_path_factory, kind, changes, tenths_cut):
    folder = tmp_path_factory.getbasetemp()
    noise = np.random.default_rng(1).uniform(-0.9, 0.9, 800).astype(np.float32)
    content = bytearray(wav_bytes(folder, noise) if kind == "wav" else flac_bytes(folder, noise))
    for position, value in changes:
        content[position % len(content)] = value
    path = folder / f"damaged.{kind}"
    path.write_bytes(content[: len(content) * (10 - tenths_cut) // 10])
    for read in (audio.read_audio, audio.inspect_audio, audio.is_seekable, lambda path: audio.read_segment(path, 300, 100)):
        try:
            read(path)
        except DataError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017


# --- resampling -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "target"), [(44100, 22050), (16000, 22050), (48000, 16000), (22050, 24000), (22050, 22050)])
def test_a_resampled_sine_is_the_same_sine(rate, target):
    def sine(rate):
        return 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)  # one second

    resampled = audio.resample(sine(rate), rate, target)
    assert resampled.dtype == np.float32
    assert resampled.shape == (target,)
    inner = slice(target // 10, -target // 10)  # the ends ring
    np.testing.assert_allclose(resampled[inner], sine(target)[inner], atol=1e-5)


def test_resampling_removes_frequencies_above_half_the_new_rate():
    high = np.sin(2 * np.pi * 9000 * np.arange(44100) / 44100).astype(np.float32)
    assert np.abs(audio.resample(high, 44100, 16000)[2000:-2000]).max() < 1e-4


def test_a_result_that_would_not_fit_into_memory_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(5_000_000, np.int16), 1000)
    with pytest.raises(DataError, match="too long to resample from 1000 to 1000000 Hz"):
        audio.read_audio_at(tmp_path / "a.wav", 1_000_000)


# --- arrays ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([-32768, 0, 16384], np.int16), [-1, 0, 0.5]),
        (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
        (np.array([-128, 0, 64], np.int8), [-1, 0, 0.5]),
        (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
        (np.array([-1, 0.25, 1.5]), [-1, 0.25, 1.5]),
        (np.array([-1, 0.25], np.float16), [-1, 0.25]),
        (np.zeros((2, 0), np.float32), np.zeros((2, 0))),
    ],
)
def test_arrays_are_scaled_by_the_range_of_their_dtype(values, expected):
    samples = audio.as_samples(values)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, np.float32(expected))


@pytest.mark.parametrize(
    "values", [[True], [1j], ["a"], [np.nan], [np.inf], [32767.0], [-9.0], np.array([1], np.uint16)], ids=repr
)
def test_arrays_that_are_not_audio_are_refused(values):
    with pytest.raises(DataError, match="audio"):
        audio.as_samples(np.asarray(values))
