"""Indexes: damage of any kind is noticed, interruptions and full disks lose nothing."""

import json
import os
import random

import pytest

from hifigan_jax.errors import DataError
from hifigan_jax.file_index import inspect_all


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number}.wav" for number in range(12)]
    for number, path in enumerate(paths):
        path.write_bytes(b"x" * number)
    return [str(path) for path in paths]


def size(path):
    return (os.path.getsize(path), 0.1)


def never(path):
    raise AssertionError("inspected again")


def test_unchanged_files_are_inspected_once(files, tmp_path):
    index = tmp_path / "index.json"
    first = inspect_all(files, index, size, 2)
    assert first == ({path: [number, 0.1] for number, path in enumerate(files)}, [])
    assert inspect_all(files, index, never, 2) == first


def test_another_number_of_values_is_another_index(files, tmp_path):
    inspect_all(files, tmp_path / "index.json", lambda path: (1,), 1)
    assert inspect_all(files[:1], tmp_path / "index.json", size, 2)[0] == {files[0]: [0, 0.1]}


def test_no_mutant_is_believed(files, tmp_path):
    index = tmp_path / "index.json"
    expected = inspect_all(files, index, size, 2)
    original = index.read_bytes()
    random.seed(26)
    deep = [b"[" * 100_000, b'{"sha256": ' + b"9" * 5000 + b', "files": {}}']
    deep += [b"\x80", b"[]", b'{"sha256": 1, "files": 3}', b"null"]
    mutants = deep + [bytearray(original) for _ in range(300)]
    for mutant in mutants[len(deep) :]:
        at = random.randrange(len(mutant))
        mutant[at : at + random.choice([0, 1, 1, 30])] = bytes(random.choices(range(256), k=random.choice([0, 1, 1, 5])))
    for mutant in mutants:
        index.write_bytes(mutant)
        assert inspect_all(files, index, size, 2) == expected


def test_an_interruption_keeps_what_has_been_found(files, tmp_path):
    index, seen = tmp_path / "index.json", []

    def check():
        seen.append(1)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect_all(files, index, size, 2, check)
    assert set(files[:4]) <= set(json.loads(index.read_text())["files"])
    assert inspect_all(files[:4], index, never, 2)[0] == {path: [number, 0.1] for number, path in enumerate(files[:4])}


def test_an_index_that_cannot_be_written_is_a_warning(files, tmp_path, caplog):
    (tmp_path / "index.json").mkdir()
    found, failed = inspect_all(files, tmp_path / "index.json", size, 2)
    assert len(found) == 12
    assert failed == []
    assert "the next start reads all files again" in caplog.text
    assert not list(tmp_path.glob(".*"))


def test_unreadable_files_are_listed_and_not_kept(files, tmp_path):
    def refuse(path):
        return DataError(path) if path == files[3] else size(path)

    found, failed = inspect_all(files, tmp_path / "index.json", refuse, 2)
    assert files[3] not in found
    assert [str(error) for error in failed] == [files[3]]


def test_a_file_of_another_program_is_kept(files, tmp_path, caplog):
    index = tmp_path / "recordings.json"
    index.write_text('[{"speaker": "p225"}]')
    assert inspect_all(files, index, size, 2)[1] == []
    assert index.read_text() == '[{"speaker": "p225"}]'
    assert "a file of another program" in caplog.text


def test_a_pipe_does_not_block_the_start(files, tmp_path, caplog):
    os.mkfifo(tmp_path / "index.json")
    assert len(inspect_all(files, tmp_path / "index.json", size, 2)[0]) == len(files)
    assert "index.json: cannot be written: is a device or a pipe" in caplog.text
