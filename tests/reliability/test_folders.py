"""Folders in practice: the output above the input, links, loops, pipes, unusual names. A bad file never stops the others."""

import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
from inputs import record
from programs import corpus, infer

ROOT = pathlib.Path(__file__).parents[2]


def generated(folder):
    """Names of all files that infer.py wrote below a folder."""
    return sorted(path.name for path in folder.rglob("*_generated.wav"))


def make(function, *arguments):
    """Creates a file of a kind that not every file system supports."""
    try:
        function(*arguments)
    except (OSError, NotImplementedError, AttributeError) as error:
        pytest.skip(f"not supported by this file system: {error}")


# --- location of the output -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", [".", "wavs", "wavs/below", "beside"])
def test_the_output_folder_can_be_anywhere(output, tiny, tmp_path):
    record(tmp_path / "wavs", "a.wav", "c/b.wav")
    outcome = infer(input_wavs_dir=tmp_path / "wavs", output_dir=tmp_path / output, checkpoint_file=tiny)
    assert outcome.code == 0, outcome.messages
    assert (tmp_path / output / "a_generated.wav").is_file()
    assert (tmp_path / output / "c" / "b_generated.wav").is_file()


@pytest.mark.parametrize("output", ["wavs/out", "wavs", "."])
def test_earlier_output_is_not_used_as_input(output, tiny, tmp_path):
    record(tmp_path / "wavs", "a.wav")
    for _ in range(2):
        outcome = infer(input_wavs_dir=tmp_path / "wavs", output_dir=tmp_path / output, checkpoint_file=tiny)
        assert outcome.code == 0, outcome.messages
    assert generated(tmp_path) == ["a_generated.wav"]


# --- names ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [200, 230])
def test_a_name_can_be_as_long_as_the_file_system_allows(length, tiny, tmp_path):
    record(tmp_path / "in", f"{'a' * length}.wav", "b.wav", "c.wav")
    outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert outcome.code == 0, outcome.messages
    assert generated(tmp_path / "out") == [f"{'a' * length}_generated.wav", "b_generated.wav", "c_generated.wav"]


def test_an_output_name_beyond_255_bytes_only_affects_that_file(tiny, tmp_path):
    record(tmp_path / "in", f"{'a' * 250}.wav", *(f"{name}.wav" for name in "bcdefgh"))
    outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert generated(tmp_path / "out") == [f"{name}_generated.wav" for name in "bcdefgh"]
    assert outcome.code != 0
    assert outcome.about("a" * 250)


def test_a_name_that_the_terminal_cannot_show_is_harmless(tiny, tmp_path):
    names = ["a", "b", "中", "c", "d", "e", "f"]
    record(tmp_path / "in", *(f"{name}.wav" for name in names))
    outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny, encoding="cp1252")
    assert outcome.code == 0, outcome.messages
    assert generated(tmp_path / "out") == sorted(f"{name}_generated.wav" for name in names)
    assert len(outcome.printed) == len(names)


LATIN = os.fsdecode(b"gr\xfcn")  # a Latin-1 name, as on old disks


def test_a_recording_with_a_name_that_is_not_utf_8_is_resynthesized(tiny, tmp_path):
    record(tmp_path / "in", "a.wav")
    make(os.link, tmp_path / "in" / "a.wav", tmp_path / "in" / f"{LATIN}.wav")
    outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert outcome.code == 0, outcome.messages
    assert generated(tmp_path / "out") == sorted(["a_generated.wav", f"{LATIN}_generated.wav"])


def test_a_mel_with_a_name_that_is_not_utf_8_is_synthesized(tiny, mel, tmp_path):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", mel)
    make(os.link, tmp_path / "in" / "a.npy", tmp_path / "in" / f"{LATIN}.npy")
    outcome = infer(input_mels_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert outcome.code == 0, outcome.messages
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == sorted(["a_generated_e2e.wav", f"{LATIN}_generated_e2e.wav"])


# --- links and pipes ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def linked(tmp_path):
    """A folder with a recording and a link to a folder with four."""
    record(tmp_path / "real", *(f"{name}.wav" for name in "bcde"))
    record(tmp_path / "in", "a.wav")
    make(os.symlink, tmp_path / "real", tmp_path / "in" / "speaker", True)
    return tmp_path / "in"


def test_infer_follows_a_linked_folder(linked, tiny, tmp_path):
    outcome = infer(input_wavs_dir=linked, output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert outcome.code == 0, outcome.messages
    assert generated(tmp_path / "out") == [f"{name}_generated.wav" for name in "abcde"]


def test_training_follows_a_linked_folder(linked, quick, tmp_path):
    assert corpus(quick, tmp_path / "index.json", input_wavs_dir=str(linked)).names == [f"{name}.wav" for name in "abcde"]


def test_a_folder_linked_into_itself_is_read_once(quick, tiny, tmp_path):
    record(tmp_path / "in", "a.wav", "b.wav", "c.wav")
    make(os.symlink, tmp_path / "in", tmp_path / "in" / "again", True)
    outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert outcome.code == 0, outcome.messages
    assert generated(tmp_path / "out") == [f"{name}_generated.wav" for name in "abc"]
    assert corpus(quick, tmp_path / "index.json", input_wavs_dir=str(tmp_path / "in")).names == ["a.wav", "b.wav", "c.wav"]


def test_a_file_linked_to_itself_only_affects_that_file(tiny, tmp_path):
    record(tmp_path / "in", "a.wav", "c.wav")
    make(os.symlink, "b.wav", tmp_path / "in" / "b.wav")
    infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert generated(tmp_path / "out") == ["a_generated.wav", "c_generated.wav"]


@pytest.fixture
def pipe(tmp_path):
    """A folder with three recordings and a named pipe; a reader that blocks on it for two seconds is released and counted."""
    record(tmp_path / "in", "a.wav", "b.wav", "d.wav")
    path, ended, waited = tmp_path / "in" / "c.wav", threading.Event(), []
    make(os.mkfifo, path)

    def release():
        grace = 2
        while not ended.wait(grace):
            grace = 0.1
            try:
                writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # no reader
                continue
            waited.append(path)
            os.close(writer)

    thread = threading.Thread(target=release)
    thread.start()
    yield waited
    ended.set()
    thread.join()


def test_infer_does_not_block_on_a_named_pipe(pipe, tiny, tmp_path):
    infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert generated(tmp_path / "out") == ["a_generated.wav", "b_generated.wav", "d_generated.wav"]
    assert not pipe


def test_training_does_not_block_on_a_named_pipe(pipe, quick, tmp_path):
    found = corpus(quick, tmp_path / "index.json", input_wavs_dir=str(tmp_path / "in"))
    assert found.names == ["a.wav", "b.wav", "d.wav"]
    assert not pipe


# --- headers with absurd values -------------------------------------------------------------------------------------------------


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (14 * 2**30, 14 * 2**30))
from hifigan_jax.cli import run
sys.exit(run("infer", sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory cannot be limited")
def test_a_header_with_a_rate_of_1_hz_only_affects_that_file(tiny, tmp_path):
    record(tmp_path / "in", "a.wav", "z.wav")
    soundfile.write(tmp_path / "in" / "m.wav", np.zeros(1_000_000, np.int16), 1)
    flags = ("--input_wavs_dir", tmp_path / "in", "--output_dir", tmp_path / "out", "--checkpoint_file", tiny)
    command = [sys.executable, "-c", LIMITED, *map(str, flags)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in result.stderr
    assert result.returncode == 3
    assert generated(tmp_path / "out") == ["a_generated.wav", "z_generated.wav"]
    assert any("m.wav" in line and line.startswith("error: ") for line in result.stderr.splitlines())
