"""Recordings of other programs: each is resynthesized from its samples, or named in one line without stopping the others."""

import pathlib
import shutil
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from inputs import ODD, ODD_CHUNK_WITHOUT_PADDING, OPUS, RATE, RATE_0, RUN, record, sample, second, write_odd
from programs import Outcome, corpus, infer, losses, train


class Folder(NamedTuple):
    """A folder of recordings after infer.py."""

    outcome: Outcome
    inputs: pathlib.Path
    outputs: pathlib.Path

    def generated(self, name):
        """The output for a recording, int16 as int; FileNotFoundError, with the messages about it, if there is none."""
        path = self.outputs / f"{name.partition('.')[0]}_generated.wav"
        if not path.is_file():
            raise FileNotFoundError("".join(self.outcome.about(name)))
        return soundfile.read(path, dtype="int16")[0].astype(int)


def expected_audio(vocoder, samples):
    """The int16 output of infer.py expected for these samples."""
    return np.clip(vocoder.decode(vocoder.mel(samples.astype(np.float32))) * 32768, -32768, 32767).astype(np.int16)


# --- odd containers, infer ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd(tiny, tmp_path_factory):
    """All unusual files after infer.py."""
    folder = tmp_path_factory.mktemp("odd")
    write_odd(folder / "in", *ODD)
    (folder / "in" / "opus.opus").write_bytes(OPUS(np.resize(second(), 48000)))
    (folder / "in" / "odd_chunk_without_padding.wav").write_bytes(ODD_CHUNK_WITHOUT_PADDING.content(second()))
    (folder / "in" / "rate_0.wav").write_bytes(RATE_0.content(second()))
    outcome = infer(input_wavs_dir=folder / "in", output_dir=folder / "out", checkpoint_file=tiny)
    return Folder(outcome, folder / "in", folder / "out")


SIZES_0 = ("sizes_0.wav", "data_size_0.wav")


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_resynthesized_from_its_samples(name, odd, vocoder):
    samples = ODD[name].decoded((odd.inputs / name).read_bytes(), second())
    expected, generated = expected_audio(vocoder, samples), odd.generated(name)
    assert generated.size == expected.size == samples.size // 256 * 256
    assert np.abs(generated - expected).mean() < 1


def test_opus_is_resampled_and_resynthesized(odd):
    assert odd.generated("opus.opus").size == RATE // 256 * 256
    assert odd.outcome.about("opus.opus: resampled from 48000 to 22050 Hz")


def test_an_odd_chunk_without_padding_is_resynthesized_or_named(odd, vocoder):
    try:
        generated = odd.generated("odd_chunk_without_padding.wav")
    except FileNotFoundError:
        assert len(odd.outcome.about("odd_chunk_without_padding.wav")) == 1
    else:
        assert np.abs(generated - expected_audio(vocoder, second() / 32768)).mean() < 1


def test_a_rate_of_0_is_named(odd):
    assert odd.outcome.code == 3
    assert len(odd.outcome.about("rate_0.wav")) == 1
    assert not (odd.outputs / "rate_0_generated.wav").exists()


@pytest.mark.parametrize("name", SIZES_0)
def test_44_kb_of_data_with_a_declared_size_of_0_are_not_reported_as_empty(name, odd):
    assert not any("contains no samples" in line for line in odd.outcome.about(name))


def test_infer_reports_a_truncated_file(odd):
    assert odd.outcome.about("cut_in_half.wav")


def test_infer_accepts_the_sizes_of_a_pipe_without_a_message(odd):
    assert not any(odd.outcome.about(name) for name in ODD if "fffffff" in name)


# --- odd containers, training ---------------------------------------------------------------------------------------------------


GOOD = ("a0.wav", "a1.flac", "a2.flac")  # the first by name is held out for validation


@pytest.fixture
def taken(quick, tmp_path):
    """taken(name): the recordings that training uses from a folder of good recordings and this one."""

    def taken(name):
        record(tmp_path / "in", *GOOD)
        write_odd(tmp_path / "in", name)
        return corpus(quick, tmp_path / "index.json", input_wavs_dir=str(tmp_path / "in"))

    return taken


@pytest.mark.parametrize("name", ["riff_size_0.wav", *(name for name in ODD if "fffffff" in name)])
def test_training_accepts_the_sizes_of_a_pipe_without_a_message(name, taken):
    found = taken(name)
    assert name in found.names
    assert not found.about(name)


@pytest.mark.parametrize("name", SIZES_0)
def test_training_uses_a_recording_that_was_never_stopped(name, taken):
    assert name in taken(name).names


def test_training_reports_a_truncated_file(taken):
    found = taken("cut_in_half.wav")
    assert "cut_in_half.wav" in found.names
    assert "truncated" in "".join(found.about("cut_in_half.wav"))


@pytest.mark.parametrize("name", ["a_mp3.mp3", "mp3_named.wav", "vorbis.ogg", "ogg_named.wav", "gsm.wav", "mp3_in.wav"])
def test_training_uses_a_lossy_file_or_names_it(name, taken):
    found = taken(name)
    assert name in found.names or found.about(name)
    assert set(GOOD) <= set(found.names)


def test_gsm_in_wav_does_not_end_a_run(quick, tmp_path):
    record(tmp_path / "in", *RUN[:5])
    write_odd(tmp_path / "in", "gsm.wav")
    shutil.copy(tmp_path / "in" / "gsm.wav", tmp_path / "in" / "phone.wav")
    outcome = train(config=quick, input_wavs_dir=tmp_path / "in", checkpoint_path=tmp_path / "run", max_steps=3)
    assert outcome.code == 0, outcome.messages
    assert len(losses(tmp_path / "run")) >= 3


def test_mp3_in_wav_is_decoded_correctly_in_training_or_left_out(quick, tmp_path):
    (tmp_path / "coded").mkdir()
    (tmp_path / "decoded").mkdir()
    for number, name in enumerate(RUN):  # rising tones: a wrong seek changes the samples almost everywhere
        rising = np.sin(np.cumsum(np.linspace(0.01, 1 + number / 10, RATE))) * 20000
        (tmp_path / "coded" / name).write_bytes(ODD["mp3_in.wav"].content(rising.astype(np.int16)))
        soundfile.write(tmp_path / "decoded" / name, soundfile.read(tmp_path / "coded" / name)[0], RATE, subtype="FLOAT")
    options = {"config": quick, "max_steps": 2}
    outcome = train(**options, input_wavs_dir=tmp_path / "coded", checkpoint_path=tmp_path / "run_coded")
    if outcome.code == 3:
        assert all(outcome.about(name) for name in RUN)
        return
    assert outcome.code == 0, outcome.messages
    assert train(**options, input_wavs_dir=tmp_path / "decoded", checkpoint_path=tmp_path / "run").code == 0
    assert losses(tmp_path / "run_coded") == pytest.approx(losses(tmp_path / "run"), rel=1e-4)


# --- edges ----------------------------------------------------------------------------------------------------------------------


def _loud(peak):
    samples = sample() / 32768
    return samples / np.abs(samples).max() * peak


EDGES = {
    "complete": lambda: sample() / 32768,
    "silence": lambda: np.zeros(RATE),
    "385_samples": lambda: sample()[9000:9385] / 32768,
    "511_samples": lambda: sample()[9000:9511] / 32768,
    "clipped": lambda: np.clip(sample() / 1600, -1, 1),
    "float_above_1": lambda: _loud(1.5),
    "with_an_offset": lambda: np.clip(second() / 32768 + 0.3, -1, 1),
    "ends_in_speech": lambda: sample()[:30000] / 32768,
    "one_channel_silent": lambda: np.stack([second(), 0 * second()], axis=1) / 32768,
    "channels_cancel_out": lambda: np.stack([second(), -second()], axis=1) / 32768,
    "very_quiet": lambda: second() / 32768 / 1000,
}
TOO_SHORT = {f"{count}_samples": count for count in (1, 255, 256, 384)}
TOO_LOUD = {"float_of_peak_9": lambda: _loud(9), "float_of_int16": lambda: sample().astype(float)}
RATES = {8000: lambda: second()[::3], 11025: lambda: second()[::2], 22051: second, 44100: lambda: np.repeat(second(), 2)}
RATES[192000] = lambda: np.repeat(second(), 8)


@pytest.fixture(scope="module")
def edges(tiny, tmp_path_factory):
    """Recordings at the limits of what can be synthesized, after infer.py."""
    folder = tmp_path_factory.mktemp("edges")
    (folder / "in").mkdir()
    for name, samples in (EDGES | TOO_LOUD).items():
        soundfile.write(folder / "in" / f"{name}.wav", samples(), RATE, subtype="FLOAT")
    for name, count in TOO_SHORT.items():
        soundfile.write(folder / "in" / f"{name}.wav", sample()[9000 : 9000 + count], RATE)
    for rate, samples in RATES.items():
        soundfile.write(folder / "in" / f"rate_{rate}.wav", samples(), rate)
    outcome = infer(input_wavs_dir=folder / "in", output_dir=folder / "out", checkpoint_file=tiny)
    return Folder(outcome, folder / "in", folder / "out")


@pytest.mark.parametrize("name", EDGES)
def test_an_edge_case_is_resynthesized(name, edges, vocoder):
    samples = EDGES[name]()
    expected = expected_audio(vocoder, samples if samples.ndim == 1 else samples.mean(axis=1))
    generated = edges.generated(f"{name}.wav")
    assert generated.size == expected.size
    if name != "channels_cancel_out":  # whose replacement is not specified
        assert np.abs(generated - expected).mean() < 1


def test_channels_that_cancel_out_are_reported(edges):
    assert edges.outcome.about("channels_cancel_out.wav")


@pytest.mark.parametrize("name", [*TOO_SHORT, *TOO_LOUD])
def test_a_recording_that_is_too_short_or_too_loud_is_named_in_one_line(name, edges):
    assert edges.outcome.code == 3
    assert len(edges.outcome.about(f"/{name}.wav: ")) == 1
    assert not (edges.outputs / f"{name}_generated.wav").exists()


@pytest.mark.parametrize("rate", RATES)
def test_any_rate_is_resampled_with_a_notice(rate, edges):
    seconds = soundfile.info(edges.inputs / f"rate_{rate}.wav").duration
    assert abs(edges.generated(f"rate_{rate}.wav").size - seconds * RATE) <= 256
    assert edges.outcome.about(f"rate_{rate}.wav: resampled from {rate} to 22050 Hz")
