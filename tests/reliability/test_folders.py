"""Folders as they come: the output above the input, links, loops, pipes, names of every kind. No file ends the others."""

import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
from inputs import record
from programs import HifiganError, corpus, infer

ROOT = pathlib.Path(__file__).parents[2]


def spoken(folder):
    """Names of all files that infer.py wrote below a folder."""
    return sorted(path.name for path in folder.rglob("*_generated.wav"))


def make(function, *arguments):
    """Makes a file that not every file system has."""
    try:
        function(*arguments)
    except (OSError, NotImplementedError, AttributeError) as error:
        pytest.skip(f"this file system can't do it: {error}")


# --- where the output lies ------------------------------------------------------------------------------------------------------


BELOW_OUTPUT = pytest.mark.xfail(strict=True, raises=AssertionError, reason="all that lies below the output is no input")


@pytest.mark.parametrize(
    "output", [pytest.param(".", marks=BELOW_OUTPUT), pytest.param("wavs", marks=BELOW_OUTPUT), "wavs/below", "beside"]
)
def test_the_output_may_lie_anywhere(output, tiny, tmp_path):
    record(tmp_path / "wavs", "a.wav", "c/b.wav")
    outcome = infer(input_wavs_dir=tmp_path / "wavs", output_dir=tmp_path / output, checkpoint_file=tiny)
    assert outcome.code == 0, outcome.said
    assert (tmp_path / output / "a_generated.wav").is_file()
    assert (tmp_path / output / "c" / "b_generated.wav").is_file()


def test_the_output_of_before_is_no_input(tiny, tmp_path):
    record(tmp_path / "wavs", "a.wav")
    for _ in range(2):
        outcome = infer(input_wavs_dir=tmp_path / "wavs", output_dir=tmp_path / "wavs" / "out", checkpoint_file=tiny)
        assert outcome.code == 0, outcome.said
    assert spoken(tmp_path) == ["a_generated.wav"]


# --- names ----------------------------------------------------------------------------------------------------------------------


TEMPORARY = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="the temporary name is 14 bytes longer, which is too long"
)


@pytest.mark.parametrize("length", [200, pytest.param(230, marks=TEMPORARY)])
def test_a_name_is_as_long_as_the_file_system_allows(length, tiny, tmp_path):
    record(tmp_path / "in", f"{'a' * length}.wav", "b.wav", "c.wav")
    outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert outcome.code == 0, outcome.said
    assert spoken(tmp_path / "out") == [f"{'a' * length}_generated.wav", "b_generated.wav", "c_generated.wav"]


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a file that can't be written ends the folder")
def test_an_output_name_beyond_255_bytes_costs_its_own_file(tiny, tmp_path):
    record(tmp_path / "in", f"{'a' * 250}.wav", *(f"{name}.wav" for name in "bcdefgh"))
    outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert spoken(tmp_path / "out") == [f"{name}_generated.wav" for name in "bcdefgh"]
    assert outcome.code != 0
    assert outcome.about("a" * 250)


@pytest.mark.xfail(strict=True, raises=UnicodeEncodeError, reason="a name that the terminal can't show ends the folder")
def test_a_name_that_the_terminal_can_t_show_costs_nothing(tiny, tmp_path):
    names = ["a", "b", "中", "c", "d", "e", "f"]
    record(tmp_path / "in", *(f"{name}.wav" for name in names))
    outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny, encoding="cp1252")
    assert outcome.code == 0, outcome.said
    assert spoken(tmp_path / "out") == sorted(f"{name}_generated.wav" for name in names)
    assert len(outcome.printed) == len(names)


LATIN = os.fsdecode(b"gr\xfcn")  # as a disk of older days has it: no UTF-8


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="libsndfile is given the name as UTF-8")
def test_a_recording_whose_name_is_no_utf_8_is_spoken(tiny, tmp_path):
    record(tmp_path / "in", "a.wav")
    make(os.link, tmp_path / "in" / "a.wav", tmp_path / "in" / f"{LATIN}.wav")
    outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert outcome.code == 0, outcome.said
    assert spoken(tmp_path / "out") == sorted(["a_generated.wav", f"{LATIN}_generated.wav"])


@pytest.mark.xfail(strict=True, raises=UnicodeEncodeError, reason="the path of what was written can't be printed")
def test_a_mel_whose_name_is_no_utf_8_is_spoken(tiny, mel, tmp_path):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", mel)
    make(os.link, tmp_path / "in" / "a.npy", tmp_path / "in" / f"{LATIN}.npy")
    outcome = infer(input_mels_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert outcome.code == 0, outcome.said
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == sorted(["a_generated_e2e.wav", f"{LATIN}_generated_e2e.wav"])


# --- links and pipes ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def linked(tmp_path):
    """A folder that holds a recording and a link to a folder of four."""
    record(tmp_path / "real", *(f"{name}.wav" for name in "bcde"))
    record(tmp_path / "in", "a.wav")
    make(os.symlink, tmp_path / "real", tmp_path / "in" / "speaker", True)
    return tmp_path / "in"


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="linked folders are passed over without a word")
def test_infer_follows_a_linked_folder(linked, tiny, tmp_path):
    outcome = infer(input_wavs_dir=linked, output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert outcome.code == 0, outcome.said
    assert spoken(tmp_path / "out") == [f"{name}_generated.wav" for name in "abcde"]


@pytest.mark.xfail(strict=True, raises=HifiganError, reason="linked folders are passed over without a word")
def test_training_follows_a_linked_folder(linked, quick, tmp_path):
    assert corpus(quick, tmp_path / "index.json", input_wavs_dir=str(linked)).names == [f"{name}.wav" for name in "abcde"]


def test_a_folder_linked_into_itself_is_read_once(quick, tiny, tmp_path):
    record(tmp_path / "in", "a.wav", "b.wav", "c.wav")
    make(os.symlink, tmp_path / "in", tmp_path / "in" / "again", True)
    outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert outcome.code == 0, outcome.said
    assert spoken(tmp_path / "out") == [f"{name}_generated.wav" for name in "abc"]
    assert corpus(quick, tmp_path / "index.json", input_wavs_dir=str(tmp_path / "in")).names == ["a.wav", "b.wav", "c.wav"]


@pytest.mark.xfail(strict=True, raises=RuntimeError, reason="a link to itself ends the folder")
def test_a_file_linked_to_itself_costs_no_other(tiny, tmp_path):
    record(tmp_path / "in", "a.wav", "c.wav")
    make(os.symlink, "b.wav", tmp_path / "in" / "b.wav")
    infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert spoken(tmp_path / "out") == ["a_generated.wav", "c_generated.wav"]


@pytest.fixture
def pipe(tmp_path):
    """A folder of three recordings and a named pipe; whoever waits at the pipe for two seconds is let go, and counted."""
    record(tmp_path / "in", "a.wav", "b.wav", "d.wav")
    path, ended, waited = tmp_path / "in" / "c.wav", threading.Event(), []
    make(os.mkfifo, path)

    def let_go():
        grace = 2
        while not ended.wait(grace):
            grace = 0.1
            try:
                writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody is there
                continue
            waited.append(path)
            os.close(writer)

    thread = threading.Thread(target=let_go)
    thread.start()
    yield waited
    ended.set()
    thread.join()


def test_infer_does_not_wait_at_a_named_pipe(pipe, tiny, tmp_path):
    infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / "out", checkpoint_file=tiny)
    assert spoken(tmp_path / "out") == ["a_generated.wav", "b_generated.wav", "d_generated.wav"]
    assert not pipe


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="training opens whatever has an audio file's name")
def test_training_does_not_wait_at_a_named_pipe(pipe, quick, tmp_path):
    found = corpus(quick, tmp_path / "index.json", input_wavs_dir=str(tmp_path / "in"))
    assert found.names == ["a.wav", "b.wav", "d.wav"]
    assert not pipe


# --- headers that claim too much ------------------------------------------------------------------------------------------------


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (14 * 2**30, 14 * 2**30))
from hifigan_jax.cli import run
sys.exit(run("infer", sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory can't be limited")
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="resampled from 1 Hz, a million samples are 88 GB")
def test_a_header_of_1_hz_costs_no_other(tiny, tmp_path):
    record(tmp_path / "in", "a.wav", "z.wav")
    soundfile.write(tmp_path / "in" / "m.wav", np.zeros(1_000_000, np.int16), 1)
    flags = ("--input_wavs_dir", tmp_path / "in", "--output_dir", tmp_path / "out", "--checkpoint_file", tiny)
    command = [sys.executable, "-c", LIMITED, *map(str, flags)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in result.stderr
    assert result.returncode == 3
    assert spoken(tmp_path / "out") == ["a_generated.wav", "z_generated.wav"]
    assert any("m.wav" in line and line.startswith("error: ") for line in result.stderr.splitlines())
