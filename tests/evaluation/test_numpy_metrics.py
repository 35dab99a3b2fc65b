"""Metrics written in numpy, against values by definition and other implementations."""

import numpy as np
import pytest
from make_golden import EVERY, GOLDEN, recordings

from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.evaluation import spectra, world
from hifigan_jax.evaluation.metrics import lsd, mcd, mel_l1, mr_stft

RATE = 22050
METRICS = [lsd, mcd, mel_l1, mr_stft]


def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as kept:
        return dict(kept)


@pytest.mark.parametrize("metric", METRICS)
def test_identical_audio_has_distance_zero(metric, speech):
    assert set(metric.measure(speech, speech, RATE).values()) == {0.0}


@pytest.mark.parametrize("metric", METRICS)
def test_silence_against_silence_has_distance_zero(metric):
    silence = np.zeros(RATE, np.float32)
    assert set(metric.measure(silence, silence, RATE).values()) == {0.0}


@pytest.mark.parametrize("metric", METRICS)
def test_distance_grows_with_noise(metric, speech, noise):
    draw = noise(speech, 1.0)
    scores = [metric.measure(speech, speech + np.float32(rms) * draw, RATE) for rms in (0.001, 0.01, 0.1)]
    for value in scores[0]:
        assert 0 < scores[0][value] < scores[1][value] < scores[2][value]


@pytest.mark.parametrize("metric", METRICS)
def test_values_are_those_of_the_metric(metric, speech):
    assert metric.measure(speech, speech / 2, RATE).keys() == metric.METRIC.values.keys()


def test_half_the_level_is_6_db_of_log_spectral_distance(noise):
    x = noise(np.zeros(RATE), 0.3)
    for value in lsd.measure(x, x / 2, RATE).values():
        assert value == pytest.approx(20 * np.log10(2), abs=2e-3)


def test_log_spectral_distance_of_two_levels_is_their_rms_and_mean(monkeypatch):
    difference = np.array([[3.0, 4.0], [0.0, 0.0]])
    spectra_of = iter([difference, np.zeros((2, 2))])
    monkeypatch.setattr(lsd, "levels", lambda audio: next(spectra_of))
    values = lsd.measure(np.zeros(4, np.float32), np.zeros(4, np.float32), RATE)
    assert values == pytest.approx({"lsd": np.sqrt(12.5) / 2, "lsd_l1": 7 / 4})


def test_half_the_level_is_ln_2_of_mel_l1(noise):
    x = noise(np.zeros(RATE), 0.3)
    for value in mel_l1.measure(x, x / 2, RATE).values():
        assert value == pytest.approx(np.log(2), abs=1e-3)


def test_mel_l1_of_the_input_band_does_not_hear_above_8_khz(speech):
    tone = 0.05 * np.sin(2 * np.pi * 10000 * np.arange(speech.size) / RATE).astype(np.float32)
    values = mel_l1.measure(speech, speech + tone, RATE)
    assert values["mel_l1"] < 0.01
    assert values["mel_l1_full"] > 0.05


def test_the_log_mel_is_the_generators(speech):
    from hifigan_jax.mel import LogMel

    settings = spectra.mel_settings(RATE)
    assert settings.mel_convention == "hifigan" in CONVENTIONS
    theirs = LogMel(settings)(speech)
    np.testing.assert_allclose(spectra.log_mel(speech, settings)[: len(theirs)], theirs, atol=3e-3)


@pytest.mark.parametrize(("rate", "fmax"), [(22050, 8000.0), (24000, 8000.0), (16000, None), (8000, None)])
def test_the_mel_ends_at_8_khz_or_half_the_sampling_rate(rate, fmax):
    assert spectra.mel_settings(rate).fmax == fmax
    assert spectra.mel_settings(rate, full_band=True).fmax is None


def test_multi_resolution_stft_equals_auraloss():
    clean, noisy, rate = recordings()
    assert mr_stft.measure(clean, noisy, rate)["mr_stft"] == pytest.approx(float(golden("mr_stft")["distance"]), rel=1e-6)


@pytest.mark.parity
def test_multi_resolution_stft_equals_installed_auraloss(rng):
    torch, auraloss = pytest.importorskip("torch"), pytest.importorskip("auraloss")
    x, y = rng.normal(0, 0.1, (2, 30001)).astype(np.float32)
    theirs = auraloss.freq.MultiResolutionSTFTLoss()(torch.from_numpy(y)[None, None], torch.from_numpy(x)[None, None])
    assert mr_stft.measure(x, y, RATE)["mr_stft"] == pytest.approx(theirs.item(), rel=1e-4)


def test_multi_resolution_stft_of_half_the_level_is_its_definition(noise):
    x = noise(np.zeros(RATE), 0.3)
    # spectral convergence |X - X/2| / |X| = 1/2, and a log distance of ln 2
    assert mr_stft.measure(x, x / 2, RATE)["mr_stft"] == pytest.approx(0.5 + np.log(2), abs=1e-3)


def test_f0_and_envelope_equal_world():
    clean, _, rate = recordings()
    theirs = golden("world")
    times = world.frame_times(clean.size, rate)
    f0 = world.refine(clean.astype(np.float64), rate, times, world.dio(clean.astype(np.float64), rate, times))
    assert (theirs["f0"] > 0).sum() > 100
    np.testing.assert_allclose(f0, theirs["f0"], rtol=1e-9)
    ours = world.cheaptrick(clean.astype(np.float64), rate, times, f0, 512)[::EVERY]
    np.testing.assert_allclose(np.log(ours), np.log(theirs["envelope"]), atol=2e-3)


def test_mel_cepstra_equal_sptk():
    clean, noisy, rate = recordings()
    theirs = golden("world")
    ours = mcd.mel_cepstrum(world.envelope(clean.astype(np.float64), rate, 512))[::EVERY]
    np.testing.assert_allclose(ours, theirs["cepstra"], atol=2e-3)
    assert mcd.measure(clean, noisy, rate)["mcd"] == pytest.approx(float(theirs["mcd"]), abs=1e-4)


@pytest.mark.parity
def test_mel_cepstra_equal_installed_sptk_and_world(speech):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "ignore")
        pyworld, pysptk = _quietly("pyworld"), _quietly("pysptk")
    x = speech.astype(np.float64)
    f0, times = pyworld.dio(x, RATE)
    envelope = pyworld.cheaptrick(x, pyworld.stonemask(x, f0, times, RATE), times, RATE, fft_size=512)
    settings = {"order": 13, "alpha": 0.65, "maxiter": 0, "etype": 1, "eps": 1e-8, "min_det": 0.0, "itype": 3}
    np.testing.assert_allclose(mcd.mel_cepstrum(envelope), pysptk.sptk.mcep(envelope, **settings), atol=1e-10)
    np.testing.assert_allclose(np.log(world.envelope(x, RATE, 512)), np.log(envelope), atol=2e-3)


def _quietly(name):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both import pkg_resources
        return pytest.importorskip(name)


def test_dio_finds_the_frequency_of_a_harmonic_tone():
    time = np.arange(RATE) / RATE
    tone = sum(np.sin(2 * np.pi * 180 * k * time) / k for k in range(1, 10)) * 0.1
    times = world.frame_times(tone.size, RATE)
    f0 = world.refine(tone, RATE, times, world.dio(tone, RATE, times))
    voiced = f0[f0 > 0]
    assert voiced.size > 0.8 * times.size
    np.testing.assert_allclose(np.median(voiced), 180, rtol=1e-3)


def test_audio_shorter_than_a_voiced_section_is_unvoiced():
    x = np.random.default_rng(0).normal(size=300)
    times = world.frame_times(x.size, RATE)
    assert not world.dio(x, RATE, times).any()


def test_frequency_transform_without_warping_keeps_the_first_cepstra():
    np.testing.assert_array_equal(mcd.frequency_transform(6, 3, 0.0), np.eye(4, 6))


def test_frequency_transform_of_an_impulse_is_the_all_passs_powers():
    # The cepstrum z^-1 becomes the all-pass (z^-1 - a) / (1 - a z^-1) with a of the opposite sign: its series in z^-1.
    alpha = 0.4
    series = [alpha, 1 - alpha**2, -alpha * (1 - alpha**2), alpha**2 * (1 - alpha**2)]
    np.testing.assert_allclose(mcd.frequency_transform(6, 3, alpha)[:, 1], series)


def test_mcd_does_not_hear_level_above_its_floor(noise):
    x = noise(np.zeros(RATE), 0.2)
    assert mcd.measure(x, x / 2, RATE)["mcd"] < 0.05


@pytest.mark.parametrize("metric", [lsd, mcd, mel_l1, mr_stft])
def test_a_shift_by_10_ms_costs_more_than_none(metric, speech):
    shifted = np.roll(speech, RATE // 100)
    for value in metric.measure(speech, shifted, RATE).values():
        assert value > 0.1
