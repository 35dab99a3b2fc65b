"""TensorBoard's event files, read back by the definition of their format."""

import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from hifigan_jax.training import event_file
from hifigan_jax.training.event_file import EventFile


def crc32c(data):
    """The definition: the remainder of a division by the polynomial 0x1EDC6F41, bits reflected."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder):
    """All events of the files in a folder, by name of the file."""
    found = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,), crc = struct.unpack("<Q", content[:8]), struct.unpack("<I", content[8:12])
            assert crc == (masked(content[:8]),)
            assert struct.unpack("<I", content[12 + length : 16 + length]) == (masked(content[12 : 12 + length]),)
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def test_the_check_value_of_crc32c():
    assert crc32c(b"123456789") == 0xE3069283


def test_events_are_in_the_file_at_once(tmp_path):
    file = EventFile(tmp_path / "logs", 0)
    file.scalars(3, {"training/gen_loss_total": 1.5, "training/disc_loss_total": 2.5})
    file.audio("gt/y_0", np.zeros(100, np.float32), 3, 22050)
    version, scalars, audio = events(tmp_path / "logs")
    assert version.file_version == "brain.Event:2"
    assert scalars.step == audio.step == 3
    values = {value.tag: value.simple_value for value in scalars.summary.value}
    assert values == {"training/gen_loss_total": 1.5, "training/disc_loss_total": 2.5}
    (sound,) = audio.summary.value
    assert (sound.tag, sound.audio.sample_rate, sound.audio.length_frames) == ("gt/y_0", 22050, 100)


def test_a_resumed_run_hides_the_steps_that_are_trained_again(tmp_path):
    EventFile(tmp_path, 7)
    _, start = events(tmp_path)
    assert (start.step, start.session_log.status) == (8, SessionLog.START)


def test_a_later_file_has_a_later_name_even_if_the_clock_goes_back(tmp_path, monkeypatch):
    for second in (1_700_000_000, 1_600_000_000, 1_600_000_000):
        monkeypatch.setattr(event_file.time, "time", lambda second=second: float(second))
        EventFile(tmp_path, 0)
    seconds = [int(path.name.split(".")[3]) for path in sorted(tmp_path.iterdir())]
    assert seconds == [1_700_000_000, 1_700_000_001, 1_700_000_002]


def test_a_file_in_the_place_of_the_folder_is_one_warning(tmp_path, caplog):
    (tmp_path / "logs").write_text("mine")
    file = EventFile(tmp_path / "logs", 0)
    for step in range(3):
        file.scalars(step, {"a": 1.0})
    assert caplog.text.count("nothing is added to TensorBoard") == 1
    (tmp_path / "logs").unlink()
    file.scalars(3, {"a": 1.0})
    assert [event.step for event in events(tmp_path / "logs")] == [0, 3]


@pytest.mark.parametrize("written", [0, 1, 20])
def test_after_a_failed_write_the_file_contains_whole_events(tmp_path, full_after, written, caplog):
    file = EventFile(tmp_path, 0)
    file.scalars(1, {"a": 1.0})
    with full_after(written):
        file.scalars(2, {"a": 2.0})
    file.scalars(3, {"a": 3.0})
    assert [event.step for event in events(tmp_path)] == [0, 1, 3]
    assert caplog.text.count("File too large") == 1
