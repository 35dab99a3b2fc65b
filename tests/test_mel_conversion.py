import json

import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax import mel as mels
from hifigan_jax.config import Mel, packaged_config
from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.mel_conversion import Conversion, conversion, obstacles, read_statistics

HIFIGAN = Mel(mel_convention="hifigan")
CONVERTIBLE = [name for name, row in CONVENTIONS.items() if not obstacles(row, CONVENTIONS["hifigan"])]


def mel_of(audio, name):
    return np.asarray(mels.log_mel(jnp.asarray(audio)[None], Mel(mel_convention=name))[0])


@pytest.fixture
def noise(rng):
    """Two seconds of noise whose level rises from -80 dB to -20 dB."""
    return (10 ** np.linspace(-4, -1, 44100) * rng.normal(size=44100)).astype(np.float32)


def test_what_can_be_converted_to_hifigan():
    expected = "hifigan grad-tts comospeech comospeech-zero matcha-tts bigvgan-22k tacotron2 waveglow glow-tts fastspeech2"
    assert set(CONVERTIBLE) == {*expected.split(), "fastpitch", "nemo-hifigan"}


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_converted_values_are_those_of_the_target(name, noise):
    """With the source's frames: the same audio, framed as the source but otherwise computed as the target."""
    source = CONVENTIONS[name]
    there = HIFIGAN.replace(mel_centered=source.centered)
    expected = np.asarray(mels.log_mel(jnp.asarray(noise)[None], there)[0])[: source.frames(noise.size)]
    converted = conversion(HIFIGAN, name).values(mel_of(noise, name))
    assert converted.dtype == np.float32
    # At the edges, padding may differ; elsewhere the epsilon under the root and the window of NeMo, by half a sample.
    np.testing.assert_allclose(converted[3:-3], expected[3:-3], atol=0.15)
    assert np.abs(converted[3:-3] - expected[3:-3]).mean() < 0.005


@pytest.mark.parametrize("name", ["comospeech-zero", "matcha-tts"])
def test_normalization_is_undone_exactly(name, noise):
    converted = conversion(HIFIGAN, name).values(mel_of(noise, name))
    np.testing.assert_allclose(converted, mel_of(noise, "hifigan"), atol=2e-6)


def test_mels_of_the_target_itself_are_returned_as_they_are(rng):
    mel = rng.uniform(-13, 3, (20, 80)).astype(np.float32)
    assert conversion(HIFIGAN).values(mel) is mel
    assert conversion(HIFIGAN, "bigvgan-22k").values(mel) is mel


def test_the_base_of_the_logarithm_and_the_floor_are_converted():
    melgan = Mel(mel_convention="melgan")
    natural = melgan.replace(mel_log_base="e", mel_floor=1e-4)
    mel = np.tile(np.float32([[-5, -4.5, -3, 0, 1]]), (1, 16))
    expected = np.tile(np.log([1e-4, 1e-4, 1e-3, 1, 10]), 16)
    np.testing.assert_allclose(conversion(natural, melgan).values(mel)[0], expected, atol=1e-6)


def test_an_added_floor_is_subtracted():
    """ln(x + 1), with which NeMo's newer configurations compute mels, keeps what is above 1e-5 within 1 %."""
    log1p = Mel(mel_convention="nemo-log1p")
    clamped = log1p.replace(mel_floor=1e-5, mel_floor_mode="clamp")
    magnitudes = np.tile([1e-6, 1e-4, 1e-2, 1.0, 100.0], 16)
    converted = conversion(clamped, log1p).values(np.log(magnitudes + 1).astype(np.float32)[None])[0]
    np.testing.assert_allclose(converted, np.log(np.maximum(magnitudes, 1e-5)), atol=0.01)


@pytest.mark.parametrize(
    ("name", "start", "samples"), [("hifigan", 0, 2560), ("tacotron2", 128, 2304), ("nemo-hifigan", 0, 2560)]
)
def test_centered_mels_keep_the_samples_from_the_first_on(name, start, samples, rng):
    """10 centered frames are those of 9 hops; frame 0 is centered on sample 0, in the middle of the audio of its frame."""
    used = conversion(HIFIGAN, name)
    mel = rng.uniform(-11, 2, (10, 80)).astype(np.float32)
    assert used.for_synthesis(mel).shape == (10, 80)
    assert used.kept(10) == slice(start, start + samples)


def test_the_frame_before_the_first_is_its_mirror_image(noise):
    """hifigan's mel for a vocoder of centered mels: the frame that is prepended has its center half a hop before sample 0."""
    centered = Mel(mel_convention="tacotron2")
    used = conversion(centered, "hifigan")
    mel = mel_of(noise, "hifigan")
    prepended = used.for_synthesis(mel)
    assert prepended.shape[0] == mel.shape[0] + 1
    assert used.kept(mel.shape[0]) == slice(128, 128 + mel.shape[0] * 256)
    mirrored = np.pad(noise, (1024, 0), mode="reflect")
    np.testing.assert_allclose(prepended[:9], mel_of(mirrored, "hifigan")[3:12], atol=1e-4)


@pytest.mark.parametrize(
    ("source", "target", "expected"), [("tacotron2", "hifigan", (1, 128)), ("hifigan", "tacotron2", (0, 128))]
)
def test_frames_are_paired_with_samples_inside_the_recording(source, target, expected):
    assert Conversion(CONVENTIONS[source], CONVENTIONS[target]).first() == expected


REFUSALS = {
    "stylespeech": "sampling_rate is 16000, expected 22050: ",
    "nemo-log1p": "fmax is 11025.0, expected 8000.0 .and 1 more.",
    "melgan": "fmax is 11025.0, expected 8000.0",
    "parallelwavegan": "fmin is 80.0, expected 0.0",
    "vocos": "sampling_rate is 24000, expected 22050",
    "wavernn": "n_fft is 2048, expected 1024",
}


@pytest.mark.parametrize("name", sorted(CONVENTIONS.keys() - set(CONVERTIBLE)))
def test_other_mels_are_refused_with_the_reason_and_what_would_work(name):
    with pytest.raises(UsageError) as caught:
        conversion(HIFIGAN, name)
    message = str(caught.value)
    assert message.startswith(f"{name} mels cannot be converted to the vocoder's: ")
    assert message.endswith(f": use a vocoder trained on {name} mels, or mels of one of {', '.join(CONVERTIBLE)}")


@pytest.mark.parametrize("name", REFUSALS)
def test_the_reason_is_the_first_difference(name):
    with pytest.raises(UsageError, match=REFUSALS[name]):
        conversion(HIFIGAN, name)


def test_clipped_mels_and_high_floors_are_refused():
    wavernn, hifigan = CONVENTIONS["wavernn"], CONVENTIONS["hifigan"]
    assert obstacles(wavernn, wavernn._replace(clip=None, mean=0.0, std=1.0)) == ["its loudest values are clipped"]
    assert obstacles(hifigan, hifigan._replace(floor=1e-7)) == ["its floor 1e-05 hides values down to 1.6e-06"]
    assert obstacles(hifigan._replace(floor=1e-7), hifigan) == []
    espnet, parallel_wavegan = CONVENTIONS["espnet"], CONVENTIONS["parallelwavegan"]
    assert obstacles(espnet, parallel_wavegan) == obstacles(parallel_wavegan, espnet) == []


def test_unknown_names_get_a_suggestion():
    with pytest.raises(UsageError, match="tacotron: unknown mel convention; did you mean 'tacotron2'.*known: hifigan, "):
        conversion(HIFIGAN, "tacotron")


def test_a_convention_may_be_a_json_file(tmp_path):
    at_16_khz = HIFIGAN.replace(sampling_rate=16000)
    (tmp_path / "mel.json").write_text(json.dumps({"mel_convention": "tacotron2", "sampling_rate": 16000, "batch_size": 1}))
    assert conversion(at_16_khz, tmp_path / "mel.json").source == CONVENTIONS["tacotron2"]._replace(sampling_rate=16000)
    assert conversion(at_16_khz, str(tmp_path / "mel.json")) == conversion(at_16_khz, tmp_path / "mel.json")
    for content in ("[]", "{", '{"mel_convention": "x"}', "\0"):
        (tmp_path / "mel.json").write_text(content)
        with pytest.raises(UsageError, match=f"^{tmp_path}/mel.json: "):
            conversion(at_16_khz, tmp_path / "mel.json")


@pytest.mark.parametrize(
    ("key", "meant"),
    [("sampling_rat", "sampling_rate"), ("sample_rate", "sampling_rate"), ("hop_length", "hop_size"), ("floor", "mel_floor")],
)
def test_misspelled_keys_in_a_json_file_are_refused(tmp_path, key, meant):
    (tmp_path / "mel.json").write_text(json.dumps({"mel_convention": "tacotron2", key: 16000, "num_gpus": 0, "other": 1}))
    with pytest.raises(UsageError, match=f"mel.json: unknown key '{key}'; did you mean '{meant}'"):
        conversion(HIFIGAN, tmp_path / "mel.json")


def test_a_configuration_with_a_byte_order_mark_is_a_convention(tmp_path):
    text = packaged_config("config_v1").read_text(encoding="utf-8")
    (tmp_path / "mel.json").write_text(text, encoding="utf-8-sig")
    assert conversion(HIFIGAN, tmp_path / "mel.json").source == HIFIGAN.convention


@pytest.mark.parametrize("convention", ["x" * 300, "a\0b", ""])
def test_impossible_names_are_unknown_conventions(convention):
    with pytest.raises(UsageError, match="unknown mel convention"):
        conversion(HIFIGAN, convention)


def test_values_that_overflow_are_refused():
    mel = np.full((3, 80), 1000, np.float32)
    with pytest.raises(DataError, match="values up to 1e.03 cannot be converted"):
        conversion(HIFIGAN, "matcha-tts").values(mel)


def test_the_vocoder_s_own_convention_has_its_own_sizes():
    at_16_khz = HIFIGAN.replace(sampling_rate=16000)
    assert conversion(at_16_khz, "hifigan").source.sampling_rate == 16000
    with pytest.raises(UsageError, match="sampling_rate is 22050, expected 16000"):
        conversion(at_16_khz, "tacotron2")


MEAN, STD = np.linspace(-6, -3, 80), np.linspace(1, 2, 80)


def espnet_sums(rng):
    frames = rng.normal(MEAN, STD, (1000, 80))
    return {"count": np.array(1000), "sum": frames.sum(0), "sum_square": (frames**2).sum(0)}, frames


def test_statistics_are_read_from_numpy_files(tmp_path, rng):
    np.save(tmp_path / "a.npy", np.stack([MEAN, STD]))
    np.save(tmp_path / "b.npy", np.array([-5.5, 2.1]))
    np.savez(tmp_path / "c.npz", mean=MEAN, scale=STD)
    sums, frames = espnet_sums(rng)
    np.savez(tmp_path / "d.npz", **sums)
    for name, mean, std in (
        ("a.npy", MEAN, STD),
        ("b.npy", [-5.5] * 80, [2.1] * 80),
        ("c.npz", MEAN, STD),
        ("d.npz", frames.mean(0), frames.std(0)),
    ):
        np.testing.assert_allclose(read_statistics(tmp_path / name, 80), (mean, std), rtol=1e-6)


def test_statistics_are_read_from_parallel_wavegan_s_files(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "stats.h5", "w") as file:
        file["mean"], file["scale"] = MEAN, STD
    np.testing.assert_allclose(read_statistics(tmp_path / "stats.h5", 80), (MEAN, STD))


def test_normalized_mels_are_converted_with_their_statistics(tmp_path, noise):
    np.save(tmp_path / "stats.npy", np.stack([MEAN, STD]))
    normalized = ((mel_of(noise, "hifigan") - MEAN) / STD).astype(np.float32)
    converted = conversion(HIFIGAN, statistics=tmp_path / "stats.npy").values(normalized)
    np.testing.assert_allclose(converted, mel_of(noise, "hifigan"), atol=2e-6)


@pytest.mark.parametrize(
    "content",
    [
        np.zeros(3),
        np.zeros((2, 40)),
        np.zeros((80, 2)),
        np.zeros(()),
        np.array([0.0, 0.0]),
        np.array([[np.nan], [1.0]]),
        np.array("a"),
        np.array([{}], object),
    ],
    ids=str,
)
def test_other_files_of_statistics_are_refused_in_one_line(tmp_path, content):
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(UsageError, match=f"^{tmp_path}/a.npy: "):
        read_statistics(tmp_path / "a.npy", 80)
    np.savez(tmp_path / "b.npz", other=content if content.dtype != object else np.zeros(2))
    with pytest.raises(UsageError, match=f"^{tmp_path}/b.npz: "):
        read_statistics(tmp_path / "b.npz", 80)
    with pytest.raises(UsageError, match="absent.npy: cannot be read: No such file"):
        read_statistics(tmp_path / "absent.npy", 80)


def test_statistics_of_another_number_of_bins_are_refused_with_both_numbers(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 40)))
    with pytest.raises(UsageError, match=r"of 80 bins \(it has 40 means and 40 deviations\)"):
        read_statistics(tmp_path / "a.npy", 80)
