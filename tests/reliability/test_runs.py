"""Short runs of train.py: files that change during the run, and other files in its folder."""

import shutil

import pytest
from inputs import GENERATOR, RUN, record, write_json
from programs import losses, train

# --- files that change during a run ---------------------------------------------------------------------------------------------


def test_files_deleted_or_emptied_during_a_run_do_not_stop_it(quick, tmp_path):
    record(tmp_path / "in", *RUN)

    def on_print(text):
        if text.startswith("Steps : 2,"):
            (tmp_path / "in" / "c.wav").unlink()
            (tmp_path / "in" / "e.wav").write_bytes(b"")

    flags = {"input_wavs_dir": tmp_path / "in", "checkpoint_path": tmp_path / "run", "max_steps": 9}
    outcome = train(config=quick, on_print=on_print, **flags)
    assert outcome.code == 0, outcome.messages
    for name in ("c.wav", "e.wav"):
        (warning,) = outcome.about(name)
        assert warning.startswith("warning: set aside: ")
        assert name in (tmp_path / "run" / "set_aside.txt").read_text()
    assert len(losses(tmp_path / "run")) == 9
    assert '"training/recordings_set_aside": 2.0' in (tmp_path / "run" / "metrics.jsonl").read_text()


@pytest.mark.parametrize("kind", ["training", "validation"])
def test_if_all_files_are_deleted_during_a_run_it_ends_with_a_checkpoint(quick, tmp_path, kind):
    record(tmp_path / "in", *RUN)
    held_out = (tmp_path / "in" / RUN[0],)

    def on_print(text):
        if text.startswith("Steps : 2,"):
            for path in held_out if kind == "validation" else set((tmp_path / "in").iterdir()).difference(held_out):
                path.unlink(missing_ok=True)

    flags = {"input_wavs_dir": tmp_path / "in", "checkpoint_path": tmp_path / "run", "validation_interval": 7}
    outcome = train(config=quick, on_print=on_print, max_steps=1000, **flags)
    assert outcome.code == 3, outcome.messages
    assert outcome.messages[-1].startswith("error: ")
    assert "can no longer be read" in outcome.messages[-1]
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert int(saved.name) == len(losses(tmp_path / "run"))
    record(tmp_path / "in", *RUN)
    outcome = train(config=quick, **flags, max_steps=int(saved.name) + 1)
    assert outcome.code == 0, outcome.messages
    assert outcome.about(f"resuming from {saved}")


# --- folders with other files ---------------------------------------------------------------------------------------------------


def test_an_existing_configuration_of_other_weights_is_kept(quick, tiny, tmp_path):
    record(tmp_path / "in", *RUN)
    (tmp_path / "theirs").mkdir()
    shutil.copy(tiny, tmp_path / "theirs" / "generator_v9")
    theirs = write_json(tmp_path / "theirs" / "config.json", GENERATOR | {"note": "ours since March"}).read_bytes()
    outcome = train(config=quick, input_wavs_dir=tmp_path / "in", checkpoint_path=tmp_path / "theirs", max_steps=1)
    assert outcome.code == 0, outcome.messages
    assert outcome.about("config.json: renamed to config_original.json")
    assert (tmp_path / "theirs" / "config_original.json").read_bytes() == theirs


def test_a_folder_with_weights_of_another_model_is_refused(quick, tiny, tmp_path):
    record(tmp_path / "in", *RUN)
    (tmp_path / "theirs").mkdir()
    shutil.copy(tiny, tmp_path / "theirs" / "generator_v9")
    theirs = write_json(tmp_path / "theirs" / "config.json", GENERATOR | {"fmax": 7600}).read_bytes()
    outcome = train(config=quick, input_wavs_dir=tmp_path / "in", checkpoint_path=tmp_path / "theirs", max_steps=1)
    assert outcome.code == 4
    assert "fmax is 7600.0, expected 8000.0: choose another --checkpoint_path" in outcome.messages[-1]
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == ["config.json", "generator_v9", "run.lock"]
    assert (tmp_path / "theirs" / "config.json").read_bytes() == theirs
