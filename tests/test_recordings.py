import logging
import os
import pathlib
import re

import numpy as np
import pytest
import soundfile

from hifigan_jax import audio, mel_file
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.file_lists import audio_files, hold_out, list_recordings
from hifigan_jax.mel_conversion import conversion
from hifigan_jax.recordings import Recording, load_corpus


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder, with an empty wavs/ in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wavs").mkdir()
    return tmp_path


@pytest.fixture
def config(tiny_config, folder):
    return tiny_config.replace({"input_wavs_dir": str(folder / "wavs"), "batch_size": 1})


def record(*names, samples=3000, rate=22050):
    """Writes recordings below wavs/, each with its own peak."""
    for number, name in enumerate(names):
        path = pathlib.Path("wavs", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = np.sin(np.arange(samples) * 0.1) * (number + 1) / 64
        soundfile.write(path, wave, rate, format=path.suffix[1:] if path.suffix in (".wav", ".flac") else "WAV")


def listed(config, text, name="training.txt"):
    """The configuration with a list file of this content."""
    pathlib.Path(name).write_text(text, encoding="utf-8")
    key = {"training.txt": "input_training_file", "validation.txt": "input_validation_file"}[name]
    return config.replace({key: name})


def named(paths):
    """Names relative to wavs/."""
    return [os.path.relpath(path, "wavs") for path in paths]


def split(config):
    """The recordings for training and validation, all of which are usable."""
    training, validation = list_recordings(config.data)
    return hold_out(training, training) if validation is None else (training, validation)


def training_names(config):
    return named(list_recordings(listed(config, "held_out", "validation.txt").data)[0])


# --- lists ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("LJ001-0001|Printing, in the only sense\nLJ001-0002|in being", ["LJ001-0001.wav", "LJ001-0002.wav"]),
        ("a|b|c\n", ["a.wav"]),
        ("a\nb\n\n  \nc  \n", ["a.wav", "b.wav", "c.wav"]),
        ("a|x\r\nb|y\r\n", ["a.wav", "b.wav"]),
        ("b|x\na|y", ["b.wav", "a.wav"]),
        ("speaker/a|x\na.wav\nb.FLAC|z", ["speaker/a.wav", "a.wav", "b.FLAC"]),
        ("v1.5_0001|a dot is no suffix", ["v1.5_0001.wav"]),
        ("größe|ß", ["größe.wav"]),
        ("a|a line\u2028in two\nb|one\x0c", ["a.wav", "b.wav"]),
        ("\ufeffa|after a byte-order mark", ["a.wav"]),
    ],
)
def test_a_list_has_one_name_per_line(config, text, names):
    assert training_names(listed(config, text)) == names


def test_a_name_without_suffix_finds_the_flac(config):
    record("a.flac", "b.wav")
    assert training_names(listed(config, "a|x\nb|y")) == ["a.flac", "b.wav"]


@pytest.mark.parametrize("name", ["{folder}/elsewhere/a.wav", "../elsewhere/a"])
def test_a_name_outside_the_folder_must_be_allowed(config, folder, name):
    config = listed(config, f"b\n{name.format(folder=folder)}\n../c")
    with pytest.raises(DataError, match=r"^training.txt: .+elsewhere/a.wav and 1 more: outside .+--allow_outside$"):
        training_names(config)
    assert training_names(config.replace({"allow_outside": True})) == ["b.wav", "../elsewhere/a.wav", "../c.wav"]


@pytest.mark.parametrize("text", ["", "\n\n", "|text without a name\n"])
def test_a_list_without_names_is_refused(config, text):
    with pytest.raises(DataError, match=r"^training.txt: the file list names no recording$"):
        list_recordings(listed(config, text).data)


def test_an_unreadable_list_is_a_usage_error(config):
    with pytest.raises(UsageError, match=r"^absent.txt: file list cannot be read: No such file or directory$"):
        list_recordings(config.replace({"input_training_file": "absent.txt"}).data)
    pathlib.Path("latin.txt").write_bytes(b"gr\xf6\xdfe|x\n")
    with pytest.raises(UsageError, match=r"^latin.txt: file list cannot be read: its names are not in UTF-8: save it as UTF-8$"):
        list_recordings(config.replace({"input_training_file": "latin.txt"}).data)
    with pytest.raises(UsageError, match="file list cannot be read"):
        list_recordings(config.replace({"input_training_file": "a\0b.txt"}).data)


def test_a_folder_can_replace_a_list(config, folder):
    record("a.wav", "sub/b.wav", "c.wav")
    config = config.replace({"input_training_file": "wavs/sub", "input_validation_file": str(folder / "wavs")})
    training, validation = split(config)
    assert named(training) == ["sub/b.wav"]
    assert named(validation) == ["a.wav", "c.wav", "sub/b.wav"]


def test_the_lists_of_ljspeech_are_the_default(config, folder):
    (folder / "LJSpeech-1.1").mkdir()
    (folder / "LJSpeech-1.1" / "training.txt").write_text("a|x\n")
    (folder / "LJSpeech-1.1" / "validation.txt").write_text("b|x\n")
    record("a.wav", "b.wav", "c.wav")
    training, validation = split(config)
    assert (named(training), named(validation)) == (["a.wav"], ["b.wav"])


def test_the_lists_of_ljspeech_do_not_apply_to_another_folder(config, folder):
    (folder / "LJSpeech-1.1").mkdir()
    (folder / "LJSpeech-1.1" / "training.txt").write_text("LJ001-0001|x\n")
    (folder / "LJSpeech-1.1" / "validation.txt").write_text("LJ001-0002|x\n")
    record("a.wav", "b.wav", "c.wav")
    training, validation = split(config)
    assert (named(training), named(validation)) == (["b.wav", "c.wav"], ["a.wav"])


# --- folders --------------------------------------------------------------------------------------------------------------------


def test_recordings_of_a_folder_are_sorted_without_hidden_or_other_files(config):
    record("b.wav", "a.flac", "sub/c.WAV", "sub/.hidden.wav", ".cache/d.wav", "e.ogg.part", "notes.txt")
    assert named(audio_files(pathlib.Path("wavs"))) == ["a.flac", "b.wav", "sub/c.WAV"]


@pytest.mark.parametrize(("recordings", "held_out"), [(2, [0]), (39, [0]), (40, [0, 20]), (100, [0, 20, 40, 60, 80])])
def test_one_in_twenty_is_held_out_evenly(config, recordings, held_out):
    for number in range(recordings):
        pathlib.Path("wavs", f"{number:03d}.wav").touch()
    training, validation = split(config)
    assert named(validation) == [f"{number:03d}.wav" for number in held_out]
    assert sorted(training + validation) == audio_files(pathlib.Path(config.data.input_wavs_dir))


def test_no_more_than_150_are_held_out(config):
    names = "\n".join(f"{number:05d}" for number in range(6000))
    training, validation = split(listed(config, names))
    assert (len(training), len(validation)) == (5850, 150)


def test_a_single_recording_is_refused(config):
    record("a.wav")
    with pytest.raises(DataError, match="fewer than two usable recordings"):
        split(config)


def test_a_folder_without_recordings_is_refused(config, folder):
    with pytest.raises(DataError, match=f"^{folder}/wavs: no recordings found"):
        list_recordings(config.data)
    with pytest.raises(DataError, match="^nowhere: no recordings found"):
        list_recordings(config.replace({"input_wavs_dir": "nowhere"}).data)


@pytest.mark.parametrize("name", ["b", "b.wav", "./b", "{folder}/wavs/b.wav"])
@pytest.mark.parametrize("wavs", ["wavs", "./wavs/", "{folder}/wavs"])
def test_validation_recordings_are_not_trained_on(config, folder, wavs, name):
    record("a.wav", "b.wav", "c.wav")
    config = config.replace({"input_wavs_dir": wavs.format(folder=folder)})
    training, validation = split(listed(config, name.format(folder=folder), "validation.txt"))
    assert named(validation) == ["b.wav"]
    assert named(training) == ["a.wav", "c.wav"]


# --- the corpus -----------------------------------------------------------------------------------------------------------------


def test_the_corpus_has_length_and_peak_of_each_recording(config, folder):
    record("a.wav", "b.flac", "c.wav", samples=4321)
    corpus = load_corpus(config, folder / "index.json")
    assert corpus.validation == (Recording(str(folder / "wavs" / "a.wav"), 4321, 512 / 32768),)
    assert named(recording.path for recording in corpus.training) == ["b.flac", "c.wav"]
    assert [recording.peak for recording in corpus.training] == [1024 / 32768, 1536 / 32768]
    assert corpus.batches_per_epoch(2) == 1


def test_the_order_of_a_list_is_kept(config, folder):
    record("a.wav", "b.wav", "c.wav", "d.wav")
    config = listed(listed(config, "c\na\nb"), "d", "validation.txt")
    assert named(recording.path for recording in load_corpus(config, folder / "index.json").training) == [
        "c.wav",
        "a.wav",
        "b.wav",
    ]


def test_unusable_recordings_are_named_and_left_out(config, folder, caplog):
    record("good.wav", "val.wav")
    soundfile.write("wavs/song.mp3", np.zeros(3000), 22050)
    (folder / "wavs" / "empty.wav").touch()
    (folder / "wavs" / "text.wav").write_text("hello")
    record("cut.flac", samples=50_000)
    cut = folder / "wavs" / "cut.flac"
    cut.write_bytes(cut.read_bytes()[:-2000])
    config = listed(listed(config, "good\nabsent\nempty\ntext\ncut\nsong.mp3"), "val", "validation.txt")
    with caplog.at_level(logging.WARNING):
        corpus = load_corpus(config, folder / "index.json")
    assert named(recording.path for recording in corpus.training) == ["good.wav"]
    for name in ("absent.wav", "empty.wav", "text.wav", "cut.flac", "song.mp3"):
        assert f"left out: {folder}/wavs/{name}: " in caplog.text
    assert "5 of 7 recordings cannot be used" in caplog.text


def test_only_the_first_ten_are_named(config, folder, caplog):
    record("good.wav", "val.wav")
    config = listed(listed(config, "good\n" + "\n".join(f"absent{i}" for i in range(12))), "val", "validation.txt")
    load_corpus(config, folder / "index.json")
    assert caplog.text.count("left out: ") == 10
    assert "12 of 14 recordings cannot be used" in caplog.text


def test_a_name_with_a_nul_is_left_out(config, folder, caplog):
    record("good.wav", "val.wav")
    config = listed(listed(config, "good\nb\0d"), "val", "validation.txt")
    assert len(load_corpus(config, folder / "index.json").training) == 1
    assert "1 of 3 recordings cannot be used" in caplog.text


def test_recordings_too_short_for_a_frame_are_left_out(config, folder, caplog):
    record("good.wav", "val.wav")
    record("short.wav", samples=255)
    corpus = load_corpus(listed(listed(config, "good\nshort"), "val", "validation.txt"), folder / "index.json")
    assert named(recording.path for recording in corpus.training) == ["good.wav"]
    assert "short.wav" in caplog.text


@pytest.mark.parametrize("bad", ["training", "validation"])
def test_a_run_without_usable_training_or_validation_recordings_is_refused(config, folder, bad):
    record("good.wav")
    lists = {"training": "good", "validation": "good"} | {bad: "absent"}
    config = listed(listed(config, lists["training"]), lists["validation"], "validation.txt")
    with pytest.raises(DataError, match="too few usable recordings"):
        load_corpus(config, folder / "index.json")


def test_another_sampling_rate_is_refused(config, folder):
    record("a.wav", "b.wav")
    record("c.wav", rate=16000)
    with pytest.raises(DataError, match=rf"^{folder}/wavs/c.wav: 16000 Hz, but the configuration specifies 22050 Hz: resample"):
        load_corpus(config, folder / "index.json")


def test_fewer_recordings_than_a_batch_are_refused(config, folder):
    record("a.wav", "b.wav", "c.wav", "d.wav")
    load_corpus(config.replace({"batch_size": 3}), folder / "index.json")
    with pytest.raises(DataError, match=r"^batch_size 4 is larger than the 3 training recordings"):
        load_corpus(config.replace({"batch_size": 4}), folder / "index.json")


# --- the index ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def inspected(monkeypatch):
    """The names of the files that are read during the test."""
    names = []
    inspect = audio.inspect_audio

    def recorded(path):
        names.append(os.path.basename(path))
        return inspect(path)

    monkeypatch.setattr(audio, "inspect_audio", recorded)
    return names


def test_unchanged_files_are_not_read_again(config, folder, inspected):
    record("a.wav", "b.wav", "c.wav")
    first = load_corpus(config, folder / "index.json")
    assert sorted(inspected) == ["a.wav", "b.wav", "c.wav"]
    inspected.clear()
    assert load_corpus(config, folder / "index.json") == first
    assert inspected == []


def test_only_changed_and_new_files_are_read_again(config, folder, inspected):
    record("a.wav", "b.wav", "c.wav", "d.wav")
    load_corpus(config, folder / "index.json")
    inspected.clear()
    record("b.wav", samples=5000)
    os.utime("wavs/c.wav", ns=(1, 1))
    record("e.wav")
    corpus = load_corpus(config, folder / "index.json")
    assert sorted(inspected) == ["b.wav", "c.wav", "e.wav"]
    assert {os.path.basename(recording.path): recording.samples for recording in corpus.training}["b.wav"] == 5000


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"a": 1}', '{"a": [1, 2]}', '[["a", 1]]', "\0"])
def test_a_damaged_index_is_rebuilt(config, folder, content):
    record("a.wav", "b.wav")
    expected = load_corpus(config, folder / "index.json")
    (folder / "index.json").write_text(content)
    assert load_corpus(config, folder / "index.json") == expected


def test_a_repaired_file_is_used(config, folder):
    record("a.wav", "b.wav", "c.wav")
    good = pathlib.Path("wavs/c.wav").read_bytes()
    pathlib.Path("wavs/c.wav").write_bytes(b"")
    assert len(load_corpus(config, folder / "index.json").training) == 1
    pathlib.Path("wavs/c.wav").write_bytes(good)
    assert len(load_corpus(config, folder / "index.json").training) == 2


# --- fine-tuning ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fine_tuning(config, folder):
    """Recordings of 3000 samples, 11 frames, with their mels."""
    record("a.wav", "b.wav")
    (folder / "mels").mkdir()
    for name in "ab":
        np.save(folder / "mels" / f"{name}.npy", np.zeros((80, 11), np.float32))
    return config.replace({"fine_tuning": True, "input_mels_dir": str(folder / "mels")})


def test_fine_tuning_finds_each_recording_s_mel(fine_tuning, folder):
    corpus = load_corpus(fine_tuning, folder / "index.json")
    expected = str(folder / "wavs/b.wav"), 3000, 1024 / 32768, str(folder / "mels/b.npy"), 11, conversion(fine_tuning.mel)
    assert corpus.training == (Recording(*expected),)


def test_a_mel_of_another_length_is_refused(fine_tuning, folder):
    np.save(folder / "mels" / "b.npy", np.zeros((80, 13), np.float32))
    with pytest.raises(DataError, match=rf"^{folder}/mels/b.npy: does not match {folder}/wavs/b.wav: 13 frames, where 7 to 12 "):
        load_corpus(fine_tuning, folder / "index.json")


def test_a_mel_that_is_missing_or_has_a_wrong_shape_is_refused(fine_tuning, folder):
    np.save(folder / "mels" / "a.npy", np.zeros((11, 80), np.float32))
    with pytest.raises(DataError, match=rf"^{folder}/mels/a.npy: shape \(11, 80\)"):
        load_corpus(fine_tuning, folder / "index.json")
    (folder / "mels" / "a.npy").unlink()
    with pytest.raises(DataError, match=rf"^{folder}/mels/a.npy: missing: save the mel of {folder}/wavs/a.wav "):
        load_corpus(fine_tuning, folder / "index.json")


def test_mels_with_one_frame_more_are_framed_as_in_tacotron_2(fine_tuning, folder, caplog):
    for name in "ab":
        np.save(folder / "mels" / f"{name}.npy", np.zeros((80, 12), np.float32))
    corpus = load_corpus(fine_tuning, folder / "index.json")
    centered = [recording.conversion.source.centered for recording in (*corpus.training, *corpus.validation)]
    assert centered == [True, True]
    assert "one frame more than its recording" in caplog.text
    assert "frame 0 is dropped and the audio starts 128 samples later" in caplog.text


WRONG_MELS = {
    "transposed": (np.zeros((11, 80), np.float32), r"shape \(11, 80\), expected \(80, frames\); it looks transposed"),
    "longer": (np.zeros((80, 13), np.float32), "13 frames, where 7 to 12 are expected"),
    "shorter": (np.zeros((1, 80, 6), np.float32), "6 frames, where 7 to 12 are expected"),
    "nan": (np.full((80, 11), np.nan, np.float32), "contains NaN or infinite values"),
    "bins": (np.zeros((64, 11), np.float32), r"shape \(64, 11\), expected \(80, frames\)"),
    "bad_twice": (np.full((80, 13), -50, np.float32), "13 frames, where 7 to 12|outside the convention's range"),
    "missing": (None, "missing: save the mel of .*/missing.wav under the recording's name"),
}


def test_every_mel_that_does_not_match_is_named(fine_tuning, folder, caplog):
    for name, (mel, _) in WRONG_MELS.items():
        record(f"{name}.wav")
        if mel is not None:
            np.save(folder / "mels" / f"{name}.npy", mel)
    with pytest.raises(DataError, match=rf"^{folder}/mels: 7 of 9 mels, listed above, cannot be used"):
        load_corpus(fine_tuning, folder / "index.json")
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == len(WRONG_MELS) + 1
    for name, (_, message) in WRONG_MELS.items():
        own = [error for error in errors if error.startswith(f"{folder}/mels/{name}.npy: ")]
        assert len(own) == (2 if name == "bad_twice" else 1)
        assert all(re.search(message, error) for error in own)


@pytest.mark.parametrize(("frames", "text"), [(12, "have one frame more"), (8, "are up to 3 frames shorter")])
def test_other_numbers_of_frames_are_logged(fine_tuning, folder, caplog, frames, text):
    np.save(folder / "mels" / "b.npy", np.zeros((80, frames), np.float32))
    caplog.set_level("INFO")
    assert load_corpus(fine_tuning, folder / "index.json").training[0].mel_frames == frames
    assert f"{folder}/mels: 1 of 2 mels {text}" in caplog.text


def test_a_shorter_mel_must_be_long_enough_to_validate_with(fine_tuning, folder):
    """Reflection needs 385 samples, 2 frames."""
    record("a.wav", samples=1000)
    np.save(folder / "mels" / "a.npy", np.zeros((80, 2), np.float32))
    load_corpus(fine_tuning, folder / "index.json")
    np.save(folder / "mels" / "a.npy", np.zeros((80, 1), np.float32))
    with pytest.raises(DataError, match="1 frames"):
        load_corpus(fine_tuning, folder / "index.json")


def test_unchanged_mels_are_not_read_again(fine_tuning, folder, monkeypatch):
    load_corpus(fine_tuning, folder / "index.json")
    read, read_mel = [], mel_file.read_mel
    monkeypatch.setattr(mel_file, "read_mel", lambda path, *options: read.append(path) or read_mel(path, *options))
    load_corpus(fine_tuning, folder / "index.json")
    assert read == []
    np.save(folder / "mels" / "a.npy", np.ones((80, 11), np.float64))
    load_corpus(fine_tuning, folder / "index.json")
    assert read == [str(folder / "mels" / "a.npy")]
