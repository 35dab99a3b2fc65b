import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax import checkpoint
from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.errors import DataError
from hifigan_jax.loading import load_generator
from hifigan_jax.mel import log_mel
from hifigan_jax.models.generator import Conditions
from hifigan_jax.synthesis import Vocoder
from hifigan_jax.synthesis.batches import Batch
from hifigan_jax.synthesis.utterances import MelUtterance
from hifigan_jax.training.setup import generator_of

LENGTHS = [1, 2, 25, 127, 128, 129, 300, 513, 1100, 5168]  # frames; the last is 60 s


@pytest.fixture(scope="module")
def vocoder():
    from hifigan_jax.config import load_config, packaged_config

    config = load_config(packaged_config("config_v3"), {"upsample_initial_channel": 16})
    generator = generator_of(config)
    params = jax.jit(generator.init)(jax.random.key(0), Conditions(jnp.zeros((1, 8, 80))))["params"]
    loud = jax.tree_util.tree_map_with_path(lambda path, leaf: leaf * (1.5 if path[-1].key == "g" else 1), params)
    return Vocoder(config, loud), generator, loud


@pytest.fixture(scope="module")
def mels():
    return [np.random.RandomState(n).normal(-5, 2, (n, 80)).astype(np.float32) for n in LENGTHS]


@pytest.fixture(scope="module")
def together(vocoder, mels):
    vocoder = vocoder[0]
    return dict(vocoder.synthesize((i, vocoder.utterance_of_mel(mel)) for i, mel in enumerate(mels)))


@pytest.mark.parametrize("i", range(len(LENGTHS)), ids=LENGTHS)
def test_a_packed_utterance_equals_one_forward_pass(i, vocoder, mels, together):
    _, generator, params = vocoder
    whole = jax.jit(generator.apply)({"params": params}, Conditions(jnp.asarray(mels[i])[None]))[0]
    assert np.abs(whole).max() > 0.01
    np.testing.assert_allclose(together[i], whole, atol=1e-6)


@pytest.mark.parametrize("i", range(len(LENGTHS)), ids=LENGTHS)
def test_a_packed_utterance_equals_decode(i, vocoder, mels, together):
    np.testing.assert_allclose(together[i], vocoder[0].decode(mels[i].T), atol=1e-6)


def test_recordings_and_mels_can_be_mixed(vocoder, mels, together, rng):
    vocoder = vocoder[0]
    audio = rng.normal(0, 0.1, 40_000).astype(np.float32)
    utterances = [(i, vocoder.utterance_of_mel(mel)) for i, mel in enumerate(mels[:7])]
    utterances[1::2] = [(key, vocoder.utterance_of_audio(audio)) for key, _ in utterances[1::2]]
    spoken = dict(vocoder.synthesize(utterances))
    for i in range(7):
        expected = vocoder.decode(vocoder.mel(audio)) if i % 2 else together[i]
        np.testing.assert_allclose(spoken[i], expected, atol=1e-4 if i % 2 else 1e-6)


@pytest.mark.parametrize("rows", [pytest.param(1, marks=pytest.mark.slow), 4])  # as on CPUs and as on accelerators
def test_with_few_programs_eight_are_compiled_for_any_lengths(vocoder, mels, together, rows, monkeypatch):
    few = Vocoder(vocoder[0].config, vocoder[2], few_programs=True)
    monkeypatch.setattr(few, "_platform", few._platform._replace(window_frames=64, batch_frames=64 * rows))
    for i, mel in enumerate(mels[:-1]):
        np.testing.assert_allclose(few.decode(mel.T), together[i], atol=1e-6)
    for frames in (*range(1, 90, 11), 31, 32, 33, 448, 449, 1024):
        assert few.decode(mels[-1][:frames].T).shape == (frames * 256,)
    for count in (2, 3, 5):
        few.decode(np.stack([mels[2].T] * count))
    assert few._programs[MelUtterance]._cache_size() == 7 + (rows > 1)


@pytest.mark.smoke
def test_decode_takes_a_mel_or_a_batch_of_them(vocoder, mels):
    vocoder = vocoder[0]
    batch = np.stack([mels[5].T, mels[5].T[:, ::-1]])
    audio = vocoder.decode(batch)
    assert audio.shape == (2, 129 * 256)
    assert audio.dtype == np.float32
    np.testing.assert_allclose(audio[0], vocoder.decode(mels[5].T), atol=1e-6)


@pytest.mark.smoke
@pytest.mark.parametrize("samples", [385, 5000, 40_000, 300_001])
def test_a_recording_equals_its_mel(samples, vocoder, rng):
    vocoder = vocoder[0]
    audio = rng.normal(0, 0.1, samples).astype(np.float32)
    (spoken,) = (audio for _, audio in vocoder.synthesize([(0, vocoder.utterance_of_audio(audio))]))
    assert spoken.size == samples // 256 * 256
    mel = vocoder.mel(audio)
    np.testing.assert_allclose(mel, log_mel(jnp.asarray(audio)[None], vocoder.settings)[0].T, atol=1e-4)
    np.testing.assert_allclose(spoken, vocoder.decode(mel), atol=1e-4)


def test_a_folder_of_a_hundred_lengths_compiles_a_handful_of_programs(vocoder, rng):
    vocoder = Vocoder(vocoder[0].config, vocoder[2])
    mels = [rng.normal(-5, 2, (frames, 80)).astype(np.float32) for frames in rng.integers(5, 150, 100)]
    audio = dict(vocoder.synthesize((i, vocoder.utterance_of_mel(mel)) for i, mel in enumerate(mels)))
    assert [audio[i].size for i in range(100)] == [256 * len(mel) for mel in mels]
    assert sum(program._cache_size() for program in vocoder._programs.values()) == 1


def test_utterances_share_windows(vocoder, monkeypatch):
    vocoder, rows = vocoder[0], []

    def silent(kind, batch, size):
        rows.extend(batch)
        audio = np.zeros((len(batch), size * vocoder.hop_size), np.float32)
        return Batch(kind, np.zeros(0), np.zeros(0), audio), batch

    monkeypatch.setattr(vocoder, "_dispatch", silent)
    lengths = np.random.RandomState(0).randint(86, 1034, 100)  # 1 to 12 s
    mels = (np.zeros((frames, 80), np.float32) for frames in lengths)
    list(vocoder.synthesize((i, vocoder.utterance_of_mel(mel)) for i, mel in enumerate(mels)))
    assert sum(row.frame_mask.size for row in rows) < 1.12 * lengths.sum()


def test_updating_the_weights_compiles_nothing(vocoder, mels):
    vocoder, _, params = vocoder
    before = vocoder.decode(mels[2].T)
    compiled = [program._cache_size() for program in vocoder._programs.values()]
    vocoder.update(jax.tree.map(lambda leaf: leaf * 0.9, params))
    assert np.abs(vocoder.decode(mels[2].T) - before).max() > 1e-3
    vocoder.update(params)
    np.testing.assert_array_equal(vocoder.decode(mels[2].T), before)
    assert compiled == [program._cache_size() for program in vocoder._programs.values()]


@pytest.mark.parametrize(
    "mel", [np.zeros((79, 5)), np.zeros((80, 0)), np.zeros((1, 1, 80, 5)), np.zeros((80, 5), int), np.full((80, 5), np.nan)]
)
def test_invalid_mels_are_refused(vocoder, mel):
    with pytest.raises(DataError):
        vocoder[0].decode(mel)


@pytest.mark.parametrize("mel", [np.full((80, 5), 1e300), np.full((80, 5), -np.inf), np.zeros((80, 5), bool)], ids=str)
@pytest.mark.parametrize("force", [False, True])
def test_values_that_are_no_mel_are_refused_even_if_forced(vocoder, mel, force):
    with pytest.raises(DataError, match="finite"):
        vocoder[0].decode(mel, force=force)


def test_overflow_in_a_conversion_is_refused_even_if_forced(vocoder):
    with pytest.raises(DataError, match="values up to 1e.03 cannot be converted"):
        vocoder[0].decode(np.full((80, 5), 1000.0), "matcha-tts", force=True)


@pytest.mark.parametrize("shape", [(5, 80), (2, 5, 80)])
def test_transposed_mels_are_refused_with_a_hint(vocoder, shape):
    with pytest.raises(DataError, match=r"a mel of 5 and 80 \(bins, frames\): expected 80 bins .*; it looks transposed"):
        vocoder[0].decode(np.full(shape, -5.0))


@pytest.mark.parametrize("convention", [5, {"mel_convention": "tacotron2"}, CONVENTIONS["tacotron2"]], ids=str)
def test_a_convention_of_another_type_is_a_usage_error(vocoder, convention):
    decode = getattr(Vocoder.decode, "__wrapped__", Vocoder.decode)  # without the tests' check of annotations
    with pytest.raises(Exception, match="convention"):
        decode(vocoder[0], np.full((80, 5), -5.0), convention)


def test_a_model_trained_in_bfloat16_synthesizes_in_float32_by_default(tiny_config, tiny_leaves, tmp_path, mels):
    run = checkpoint.write(tmp_path / "1", {"generator": tiny_leaves}, tiny_config.replace({"compute_dtype": "bfloat16"}))
    exact = Vocoder.from_pretrained(run).decode(mels[2].T)
    rounded = Vocoder.from_pretrained(run, compute_dtype="bfloat16").decode(mels[2].T)
    expected = Vocoder(tiny_config, load_generator(run).params).decode(mels[2].T)
    np.testing.assert_array_equal(exact, expected)
    assert np.abs(rounded - expected).max() > 1e-6


@pytest.mark.parametrize("audio", [np.zeros(384, np.float32), np.zeros((2, 2, 500), np.float32)])
def test_audio_too_short_to_reflect_is_refused(vocoder, audio):
    with pytest.raises(DataError):
        vocoder[0].mel(audio)
