"""Recordings of every kind that cannot be used, among good ones: the good ones are used, the bad ones are named in one line."""

import json

import pytest
import unusable
from inputs import record
from programs import corpus, infer

GOOD = ("m1.wav", "m2.wav", "m3.wav")


@pytest.fixture(scope="module")
def synthesized(tiny, tmp_path_factory):
    """infer.py on all of them: its outcome, and the rows of its report by name."""
    folder = tmp_path_factory.mktemp("bad")
    record(folder / "in", *GOOD)
    for name, write in unusable.BAD.items():
        write(folder / "in" / name)
    flags = {"input_wavs_dir": folder / "in", "output_dir": folder / "out", "report": folder / "report.jsonl"}
    outcome = infer(**flags, checkpoint_file=tiny)
    rows = [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]
    return outcome, {row["input"].rpartition("/")[2]: row for row in rows}


def test_all_good_recordings_are_synthesized(synthesized):
    outcome, rows = synthesized
    assert outcome.code == 3
    assert {rows[name]["outcome"] for name in GOOD} == {"written"}


@pytest.mark.parametrize("name", unusable.BAD)
def test_a_bad_recording_is_read_or_named_in_synthesis(name, synthesized):
    outcome, rows = synthesized
    row = rows.get(name, {"outcome": "left out", "reason": "not a file"})
    if row["outcome"] != "written":
        assert row["reason"]
        assert len(outcome.about(f"/{name}: ")) == 1


@pytest.mark.parametrize("name", unusable.BAD)
def test_a_bad_recording_is_read_or_named_in_training(name, quick, tmp_path):
    record(tmp_path / "in", *GOOD)
    unusable.BAD[name](tmp_path / "in" / name)
    found = corpus(quick, tmp_path / "index.json", input_wavs_dir=str(tmp_path / "in"))
    assert {*GOOD} <= {*found.names}
    assert name in found.names or len(found.about(f"/{name}: ")) == 1
