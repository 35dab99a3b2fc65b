"""The recordings that a run uses: file lists, the held-out recordings, and the mels for fine-tuning."""

import os

import numpy as np
import pytest
import soundfile
from inputs import RATE, record, sample, second
from programs import HifiganError, corpus


@pytest.fixture
def take(quick, tmp_path, monkeypatch):
    """take(**keys): the recordings that training uses, in a working folder of the test."""
    monkeypatch.chdir(tmp_path)
    return lambda **keys: corpus(quick, tmp_path / "run" / "index.json", **keys)


# --- lists ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ljspeech(tmp_path):
    """The lists of LJSpeech in the working folder."""
    folder = tmp_path / "LJSpeech-1.1"
    folder.mkdir()
    (folder / "training.txt").write_text("LJ001-0001|Printing\nLJ001-0002|in being\n", encoding="utf-8")
    (folder / "validation.txt").write_text("LJ001-0003|comparatively\n", encoding="utf-8")


def test_the_lists_of_ljspeech_are_not_used_for_another_folder(ljspeech, take, tmp_path):
    record(tmp_path / "mine", "a.wav", "b.wav", "c.wav", "d.wav")
    assert take(input_wavs_dir="mine").names == ["a.wav", "b.wav", "c.wav", "d.wav"]


def test_the_lists_of_ljspeech_are_used_for_ljspeech(ljspeech, take, tmp_path):
    record(tmp_path / "LJSpeech-1.1" / "wavs", *(f"LJ001-000{number}.wav" for number in range(1, 5)))
    found = take()
    assert sorted(os.path.basename(path) for path in found.training) == ["LJ001-0001.wav", "LJ001-0002.wav"]
    assert [os.path.basename(path) for path in found.validation] == ["LJ001-0003.wav"]


@pytest.fixture
def listed(take, tmp_path):
    """listed(content): the recordings that training uses with a list of this content and the folder `wavs`."""
    record(tmp_path / "wavs", "a.wav", "b.wav", "größe.wav", "大小.wav", "d.wav")

    def listed(content):
        (tmp_path / "list.txt").write_bytes(content)
        (tmp_path / "held_out.txt").write_text("d", encoding="utf-8")
        return take(input_wavs_dir="wavs", input_training_file="list.txt", input_validation_file="held_out.txt")

    return listed


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("{folder}/elsewhere/c.wav", id="absolute"),
        pytest.param("../elsewhere/c", id="above"),
        pytest.param("linked/c", id="by_a_link"),
    ],
)
def test_a_listed_file_outside_the_folder_is_refused(entry, listed, tmp_path):
    record(tmp_path / "elsewhere", "c.wav")
    os.symlink(tmp_path / "elsewhere", tmp_path / "wavs" / "linked", True)
    try:
        found = listed("\n".join(["a", "b", entry.format(folder=tmp_path)]).encode())
    except HifiganError as error:
        messages = str(error)
    else:
        assert found.names == ["a.wav", "b.wav", "d.wav"]
        messages = "".join(found.messages)
    assert "elsewhere" in messages or "linked" in messages


@pytest.mark.parametrize("entry", ["below/c", "./below/c.wav", "below/../below/c", "{folder}/wavs/below/c.wav"])
def test_a_listed_file_can_be_anywhere_inside_the_folder(entry, listed, tmp_path):
    record(tmp_path / "wavs" / "below", "c.wav")
    content = "\n".join(["a", "b", entry.format(folder=tmp_path)]).encode()
    assert listed(content).names == ["a.wav", "b.wav", "c.wav", "d.wav"]


@pytest.mark.parametrize("name", ["a" * 300, "/", ".", "..", "a/", "\0", "~"])
def test_an_impossible_name_in_a_list_is_named(name, listed):
    try:
        found = listed(f"a\nb\n{name}".encode())
    except HifiganError as error:
        refusal = str(error)
    else:
        assert found.names == ["a.wav", "b.wav", "d.wav"]
        assert name == "a/" or found.about("left out: ")
        return
    assert "list.txt" in refusal


def test_unused_text_in_a_list_may_be_latin_1(listed):
    assert listed("a|Größe\nb|Maß".encode("latin-1")).names == ["a.wav", "b.wav", "d.wav"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "gbk"])
def test_a_list_in_another_encoding_is_read_or_refused_with_the_fix(encoding, listed):
    name = "größe" if encoding != "gbk" else "大小"
    try:
        names = listed(f"a|x\n{name}|y\nb|z".encode(encoding)).names
    except HifiganError as error:
        refusal = str(error)
    else:
        assert names == sorted(["a.wav", "b.wav", "d.wav", f"{name}.wav"])
        return
    assert "list.txt" in refusal
    assert "UTF-8" in refusal


# --- held-out recordings --------------------------------------------------------------------------------------------------------


UNUSABLE = {
    "text.wav": lambda path: path.write_text("no audio"),
    "empty.wav": lambda path: path.touch(),
    "short.wav": lambda path: soundfile.write(path, second()[:300], RATE),
    "no_samples.wav": lambda path: soundfile.write(path, second()[:0], RATE),
    "lossy.mp3": lambda path: soundfile.write(path, second(), RATE),
    "loud.wav": lambda path: soundfile.write(path, np.full(9000, 1000, np.float32), RATE, subtype="FLOAT"),
}


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("place", ["first", "last"])
def test_held_out_recordings_are_usable(name, place, take, tmp_path):
    record(tmp_path / "wavs", *(f"m{number}.wav" for number in range(5)))
    UNUSABLE[name](tmp_path / "wavs" / f"{'a' if place == 'first' else 'z'}_{name}")
    found = take(input_wavs_dir="wavs")
    assert {f"m{number}.wav" for number in range(5)} <= set(found.names)
    assert len(found.validation) == 1


# --- mels to fine-tune on -------------------------------------------------------------------------------------------------------


@pytest.fixture
def paired(take, tmp_path):
    """paired(recordings, mels): {recording: mel} as training pairs them, from {name: samples} and {name: frames}."""

    def paired(recordings, mels):
        for name, samples in recordings.items():
            path = tmp_path / "wavs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, RATE)
        for name, frames in mels.items():
            path = tmp_path / "mels" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.full((80, frames), -5, np.float32))
        found = take(input_wavs_dir="wavs", input_mels_dir="mels", fine_tuning=True)
        return {os.path.relpath(one, "wavs"): os.path.relpath(other, "mels") for one, other in found.all.items()}

    return paired


LENGTHS = {f"u{number}": 20000 + 777 * number for number in range(4)}
MORE_FRAMES = {
    "exact": lambda number: 0,
    "one_more_as_tacotron_2": lambda number: 1,
    "one_fewer": lambda number: -1,
    "some_one_fewer_by_durations": lambda number: -(number % 2),
    "some_one_more": lambda number: number % 2,
    "some_three_fewer_by_durations": lambda number: -3 * (number % 2),
}


def some(frames):
    """Four recordings, and mels with `frames(number)` additional frames."""
    recordings = {f"{name}.wav": sample(0)[:length] for name, length in LENGTHS.items()}
    mels = {f"{name}.npy": length // 256 + frames(number) for number, (name, length) in enumerate(LENGTHS.items())}
    return recordings, mels


@pytest.mark.parametrize("name", MORE_FRAMES)
def test_a_mel_may_be_a_few_frames_off(name, paired):
    assert paired(*some(MORE_FRAMES[name])) == {f"{name}.wav": f"{name}.npy" for name in LENGTHS}


@pytest.mark.parametrize("more", [2, -40])
def test_mels_of_other_recordings_are_refused(more, paired):
    with pytest.raises(HifiganError, match="mels"):
        paired(*some(lambda number: more))


TWO_SPEAKERS = {f"{speaker}/00{number}.wav": second(number) for speaker in ("p225", "p226") for number in range(3)}


def test_two_recordings_never_share_a_mel(paired):
    with pytest.raises(HifiganError, match=r"001.npy: .*p225/001.wav and .*p226/001.wav"):
        paired(TWO_SPEAKERS, {f"00{number}.npy": RATE // 256 for number in (1, 2, 0)})


def test_one_speaker_s_mels_may_be_in_one_folder(paired):
    speaker = {name: samples for name, samples in TWO_SPEAKERS.items() if name.startswith("p225")}
    pairs = paired(speaker, {f"00{number}.npy": RATE // 256 for number in range(3)})
    assert pairs == {name: name.removeprefix("p225/").replace("wav", "npy") for name in speaker}


def test_mels_can_be_in_subfolders_like_their_recordings(paired):
    mels = {name.replace("wav", "npy"): RATE // 256 for name in TWO_SPEAKERS}
    assert paired(TWO_SPEAKERS, mels) == {name: name.replace("wav", "npy") for name in TWO_SPEAKERS}
