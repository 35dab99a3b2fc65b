"""Mutants of valid files are read or refused in one line; benchmarks/reliability/mutated_files.py tries thousands of each."""

import mutations
import pytest

COUNT = 60
NAMES = ("WAV", "FLAC", "Ogg, MP3", "AIFF, AU, CAF, W64", "mel", ".pth", "data.pkl", "safetensors", "JSON", "list")


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    found = mutations.readers(tmp_path_factory.mktemp("readers"))
    assert tuple(found) == NAMES
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_files_that_mutants_are_made_from_are_read(name, readers, tmp_path):
    for seed in readers[name].seeds:
        assert mutations.outcome(readers[name], seed, tmp_path) == mutations.READ


@pytest.mark.parametrize("name", NAMES)
def test_a_mutant_is_read_or_refused(name, readers, tmp_path):
    found = [mutations.outcome(readers[name], mutations.mutant(readers[name], name, number), tmp_path) for number in range(COUNT)]
    assert {*found} <= {mutations.READ, mutations.REFUSED}
    assert mutations.REFUSED in found
