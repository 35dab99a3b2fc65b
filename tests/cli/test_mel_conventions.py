"""Mels of other front ends through infer.py, Vocoder.decode, fine-tuning, and a generator that takes such mels itself."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from hifigan_jax import checkpoint
from hifigan_jax.cli import run
from hifigan_jax.config import Mel, packaged_config
from hifigan_jax.data import read_utterance, training_batches
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.mel import LogMel, log_mel
from hifigan_jax.recordings import load_corpus
from hifigan_jax.synthesis import Vocoder


@pytest.fixture
def weights(tiny_config, tiny_leaves, tmp_path, shared_programs):
    """A checkpoint folder of a small model."""
    return checkpoint.write(tmp_path / "weights", {"generator": tiny_leaves}, tiny_config)


@pytest.fixture
def speech(shared_training_config):
    """100 frames of speech and 77 samples."""
    name = f"{shared_training_config.data.input_wavs_dir}/librivox_sonnet1_03.flac"
    return soundfile.read(name, start=20000, frames=25677, dtype="float32")[0]


def mel_of(audio, name):
    return LogMel(Mel(mel_convention=name))(audio).T


def infer(capfd, weights, folder, *flags):
    arguments = ["--input_mels_dir", str(folder), "--output_dir", str(folder / "out"), "--checkpoint_file", str(weights), *flags]
    code = run("infer", arguments)
    return code, capfd.readouterr().err


def test_mels_of_another_convention_are_converted(weights, speech, tmp_path, capfd):
    vocoder = Vocoder.from_pretrained(weights)
    expected = vocoder.decode(vocoder.mel(speech))
    np.testing.assert_allclose(vocoder.decode(mel_of(speech, "matcha-tts"), "matcha-tts"), expected, atol=1e-4)
    centered = vocoder.decode(mel_of(speech, "tacotron2"), "tacotron2")
    assert centered.shape == expected.shape == (100 * 256,)
    assert np.abs(LogMel(vocoder.settings)(centered) - LogMel(vocoder.settings)(expected))[3:-3].mean() < 0.5

    (tmp_path / "mels").mkdir()
    np.save(tmp_path / "mels" / "a.npy", mel_of(speech, "fastspeech2").T)  # stored with frames first
    code, said = infer(capfd, weights, tmp_path / "mels", "--mel_convention", "fastspeech2")
    assert code == 0, said
    written = soundfile.read(tmp_path / "mels" / "out" / "a_generated_e2e.wav", dtype="int16")[0]
    assert np.abs(written - np.round(np.clip(centered * 32768, -32768, 32767))).max() <= 1


def test_normalized_mels_are_converted_with_their_statistics(weights, speech, tmp_path, capfd):
    (tmp_path / "mels").mkdir()
    np.save(tmp_path / "stats.npy", np.array([-5.0, 7.0]))
    np.save(tmp_path / "mels" / "a.npy", mel_of(speech, "comospeech-zero"))
    code, said = infer(capfd, weights, tmp_path / "mels", "--mel_statistics", str(tmp_path / "stats.npy"))
    assert code == 0, said
    vocoder = Vocoder.from_pretrained(weights)
    expected = np.round(np.clip(vocoder.decode(vocoder.mel(speech)) * 32768, -32768, 32767))
    written = soundfile.read(tmp_path / "mels" / "out" / "a_generated_e2e.wav", dtype="int16")[0]
    assert np.abs(written - expected).max() <= 4


def test_mels_that_cannot_be_converted_are_a_usage_error(weights, speech, tmp_path, capfd):
    (tmp_path / "mels").mkdir()
    np.save(tmp_path / "mels" / "a.npy", mel_of(speech, "stylespeech").T)
    code, said = infer(capfd, weights, tmp_path / "mels", "--mel_convention", "stylespeech")
    assert code == 2
    assert said.startswith(
        "error: stylespeech mels cannot be converted to the vocoder's: sampling_rate is 16000, expected 22050: "
    )
    with pytest.raises(UsageError, match="sampling_rate is 16000"):
        Vocoder.from_pretrained(weights).decode(mel_of(speech, "stylespeech"), "stylespeech")


def test_conventions_of_recordings_are_a_usage_error(weights, tmp_path, capfd):
    code = run("infer", ["--input_wavs_dir", str(tmp_path), "--mel_convention", "tacotron2", "--checkpoint_file", str(weights)])
    assert code == 2
    assert "give them with --input_mels_dir" in capfd.readouterr().err


def test_conventions_of_mels_need_fine_tuning(tmp_path, capfd):
    for flags in (["--mel_convention", "tacotron2"], ["--force"]):
        code = run("train", ["--config", str(packaged_config("config_v3")), "--checkpoint_path", str(tmp_path), *flags])
        assert code == 2
        assert "add --fine_tuning True" in capfd.readouterr().err


def test_unusable_settings_are_found_before_files_are_read(tiny_config, tmp_path):
    config = tiny_config.replace({"input_wavs_dir": str(tmp_path / "absent"), "fine_tuning": True})
    for changes, reason in (
        ({"input_mels_convention": "tacotron"}, "did you mean 'tacotron2'"),
        ({"input_mels_convention": "melgan"}, "melgan mels cannot be converted"),
        ({"input_mels_statistics": str(tmp_path / "stats.npy")}, "stats.npy: cannot be read: No such file"),
    ):
        with pytest.raises(UsageError, match=reason):
            load_corpus(config.replace(changes), tmp_path / "index.json")


def test_a_mel_of_another_convention_is_refused_unless_forced(weights, speech, tmp_path, capfd):
    (tmp_path / "mels").mkdir()
    np.save(tmp_path / "mels" / "a.npy", mel_of(speech, "matcha-tts"))
    code, said = infer(capfd, weights, tmp_path / "mels")
    assert code == 3
    assert f"error: {tmp_path}/mels/a.npy: its values are not those of speech" in said
    assert "it looks like matcha-tts: name it with --mel_convention" in said
    assert infer(capfd, weights, tmp_path / "mels", "--force")[0] == 0

    vocoder = Vocoder.from_pretrained(weights)
    with pytest.raises(DataError, match="it looks like matcha-tts"):
        vocoder.decode(mel_of(speech, "matcha-tts"))
    assert vocoder.decode(mel_of(speech, "matcha-tts"), force=True).shape == (100 * 256,)


@pytest.mark.parametrize(
    "name", ["tacotron2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("matcha-tts", "fastpitch"))]
)
def test_fine_tuning_on_mels_of_another_convention(tiny_config, speech, tmp_path, name):
    """Crops of audio and of converted mels belong together."""
    for folder in ("wavs", "mels"):
        (tmp_path / folder).mkdir()
    for number, part in enumerate((speech[:20000], speech[5000:])):
        soundfile.write(tmp_path / "wavs" / f"{number}.wav", part, 22050, "FLOAT")
        np.save(tmp_path / "mels" / f"{number}.npy", mel_of(part, name))
    keys = {"input_wavs_dir": str(tmp_path / "wavs"), "input_mels_dir": str(tmp_path / "mels"), "fine_tuning": True}
    config = tiny_config.replace(keys | {"input_mels_convention": name, "segment_size": 16 * 256, "batch_size": 1})
    corpus = load_corpus(config, tmp_path / "index.json")
    audio, mel = read_utterance(corpus.training[0], config.mel)
    assert audio.size == mel.shape[0] * 256
    assert mel.shape[0] in (audio.size // 256, (audio.size + 128) // 256)
    for batch in itertools.islice(training_batches(corpus, config), 3):
        difference = np.abs(log_mel(jnp.asarray(batch.audio), config.mel)[0, 3:-3] - batch.mel[0, 3:-3])
        assert difference.mean() < 0.02


def test_fine_tuning_refuses_mels_of_another_convention_unless_unchecked(tiny_config, speech, tmp_path):
    for folder in ("wavs", "mels"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        soundfile.write(tmp_path / "wavs" / f"{number}.wav", speech, 22050)
        np.save(tmp_path / "mels" / f"{number}.npy", mel_of(speech, "matcha-tts"))
    keys = {"input_wavs_dir": str(tmp_path / "wavs"), "input_mels_dir": str(tmp_path / "mels"), "fine_tuning": True}
    config = tiny_config.replace(keys | {"batch_size": 1})
    for _ in range(2):  # with and without an index
        with pytest.raises(DataError, match="2 of 2 mels, listed above, cannot be used"):
            load_corpus(config, tmp_path / "index.json")
    assert load_corpus(config.replace({"input_mels_unchecked": True}), tmp_path / "index.json").training
    assert load_corpus(config.replace({"input_mels_convention": "matcha-tts"}), tmp_path / "index.json").training


@pytest.mark.parametrize("name", ["tacotron2", pytest.param("comospeech-zero", marks=pytest.mark.slow)])
def test_a_generator_may_take_mels_of_any_convention(tiny_config, tiny_leaves, speech, tmp_path, name):
    config = tiny_config.replace({"mel_convention": name})
    vocoder = Vocoder.from_pretrained(checkpoint.write(tmp_path / "weights", {"generator": tiny_leaves}, config))
    mel = vocoder.mel(speech)
    assert mel.shape == (80, Mel(mel_convention=name).frames(speech.size))
    resynthesized = dict(vocoder.synthesize([(0, vocoder.utterance_of_audio(speech))]))[0]
    assert resynthesized.shape == (100 * 256,)
    np.testing.assert_allclose(vocoder.decode(mel[:, :100]), resynthesized, atol=1e-4)
    assert vocoder.decode(mel_of(speech, "hifigan"), "hifigan").shape == (100 * 256,)
