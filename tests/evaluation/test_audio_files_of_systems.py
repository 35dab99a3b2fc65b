import numpy as np
import pytest
import soundfile

from hifigan_jax.errors import DataError
from hifigan_jax.evaluation.files import keys, reference_files, system_files
from hifigan_jax.evaluation.systems import is_model

RATE = 22050


@pytest.fixture
def references(write, speech):
    """The references a, b/c and d."""
    for name in ("a.wav", "b/c.flac", "d.wav"):
        path = write("reference", name, speech)
    return path.parent


@pytest.fixture
def found(references, tmp_path):
    """found(): the files of the folder `system`."""
    return lambda: system_files(tmp_path / "system", reference_files(references), keys(references))


def test_files_are_paired_by_path_whatever_their_suffix(write, found, speech):
    for name in ("a.flac", "b/c.wav", "d.wav"):
        write("system", name, speech)
    assert list(found().usable) == ["a", "b/c", "d"]
    assert found().problems == []


@pytest.mark.parametrize("ending", ["_generated", "_generated_e2e"])
def test_endings_of_infer_are_ignored(write, found, speech, ending):
    for name in ("a", "b/c", "d"):
        write("system", f"{name}{ending}.wav", speech)
    assert list(found().usable) == ["a", "b/c", "d"]


def test_a_reference_may_itself_have_such_an_ending(write, speech, tmp_path):
    write("reference", "a_generated.wav", speech)
    write("system", "a_generated.wav", speech)
    folder = tmp_path / "reference"
    assert list(system_files(tmp_path / "system", reference_files(folder), keys(folder)).usable) == ["a_generated"]


def test_files_without_partner_are_reported(write, found, speech, tmp_path):
    write("system", "a.wav", speech)
    write("system", "e.wav", speech)
    assert list(found().usable) == ["a"]
    assert found().problems == sorted(
        [
            f"{tmp_path}/system/e.wav: has no reference",
            f"{tmp_path}/system: has no file for {tmp_path}/reference/b/c.flac",
            f"{tmp_path}/system: has no file for {tmp_path}/reference/d.wav",
        ]
    )


def test_two_files_for_one_reference_are_reported(write, found, speech, tmp_path):
    for name in ("a.wav", "a_generated.wav", "b/c.wav", "d.wav"):
        write("system", name, speech)
    assert found().problems == [f"{tmp_path}/system/a_generated.wav: left out, a.wav has the same reference"]


BAD = {
    "24000 Hz, but its reference has 22050 Hz": lambda write, speech: write("system", "a.wav", speech, 24000),
    "2 channels": lambda write, speech: write("system", "a.wav", np.stack([speech, speech], axis=1)),
    "silent": lambda write, speech: write("system", "a.wav", np.zeros_like(speech)),
    "too short": lambda write, speech: write("system", "a.wav", speech[: RATE // 4]),
    "1.00 s, but its reference has 2.00 s": lambda write, speech: write("system", "a.wav", speech[-RATE:]),
    "NaN": lambda write, speech: write("system", "a.wav", np.where(np.arange(speech.size) == 5, np.nan, speech)),
    "cannot be decoded": lambda write, speech: write("system", "a.wav", speech).write_bytes(b"RIFF no audio"),
    "contains no samples": lambda write, speech: write("system", "a.wav", speech[:0]),
}


@pytest.mark.parametrize("problem", BAD)
def test_a_bad_file_is_reported_in_one_line_and_the_others_are_used(write, found, speech, problem, tmp_path):
    for name in ("b/c.wav", "d.wav"):
        write("system", name, speech)
    BAD[problem](write, speech)
    assert list(found().usable) == ["b/c", "d"]
    (line,) = found().problems
    assert line.startswith(f"{tmp_path}/system/a.wav: ")
    assert problem in line
    assert "\n" not in line


def test_a_bad_reference_is_reported_once_and_left_out(write, references, found, speech):
    write("reference", "a.wav", np.zeros_like(speech))
    for name in ("a.wav", "b/c.wav", "d.wav"):
        write("system", name, speech)
    (problem,) = reference_files(references).problems
    assert "reference/a.wav: silent" in problem
    assert list(found().usable) == ["b/c", "d"]
    assert found().problems == []


def test_references_have_the_most_frequent_rate(write, references, speech):
    write("reference", "a.wav", speech, 24000)
    (problem,) = reference_files(references).problems
    assert problem.endswith("a.wav: 24000 Hz, but most references have 22050 Hz")


def test_files_that_differ_in_their_suffix_only_are_reported(references, write, found, speech, tmp_path):
    for name in ("reference/d", "system/a"):
        for suffix in (".flac", ".wav"):
            write(*f"{name}{suffix}".split("/"), speech)
    assert reference_files(references).problems == [f"{references}/d.wav: left out, d.flac has the same name"]
    assert f"{tmp_path}/system/a.wav: left out, a.flac has the same name" in found().problems


@pytest.mark.parametrize("name", ["g_00000001.wav", "manifest.json", "checkpoints/1/manifest.json"])
def test_a_folder_with_audio_is_no_model_whatever_else_it_contains(name, tmp_path, write, speech):
    path = write("folder", "a.wav", speech).parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert not is_model(tmp_path / "folder")


@pytest.mark.parametrize("name", ["g_00000001", "manifest.json", "checkpoints/1/manifest.json"])
def test_a_folder_with_a_checkpoint_is_a_model(name, tmp_path):
    path = tmp_path / "folder" / name
    path.parent.mkdir(parents=True)
    path.touch()
    assert is_model(tmp_path / "folder")


def test_no_usable_reference_is_an_error(tmp_path, write, speech):
    with pytest.raises(DataError, match="none: no such folder"):
        reference_files(tmp_path / "none")
    write("reference", "a.wav", np.zeros_like(speech))
    with pytest.raises(DataError, match="contains no usable audio files: .*silent"):
        reference_files(tmp_path / "reference")


def test_a_file_has_its_hash_rate_and_length(references):
    file = reference_files(references).usable["a"]
    assert (file.rate, file.samples, file.seconds) == (RATE, 2 * RATE, 2.0)
    assert len(file.sha256) == 64
    assert soundfile.info(file.path).frames == file.samples
