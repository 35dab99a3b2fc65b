import itertools
import os

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from hifigan_jax.audio import read_audio
from hifigan_jax.data import batch_paths, iterate, read_utterance, training_batches
from hifigan_jax.errors import DataError
from hifigan_jax.mel import log_mel, log_mel_of_padded
from hifigan_jax.mel_conversion import conversion
from hifigan_jax.recordings import Corpus, Recording
from hifigan_jax.set_aside import SetAside

pytestmark = pytest.mark.smoke

SEGMENT, HOP = 512, 256
LENGTHS = (512, 513, 1000, 1500, 2000, 2500, 3000)


@pytest.fixture
def config(tiny_config):
    return tiny_config.replace({"segment_size": SEGMENT, "batch_size": 2, "num_workers": 2})


def write(path, integers):
    soundfile.write(path, np.asarray(integers, np.int16), 22050)
    return str(path)


@pytest.fixture
def corpus(tmp_path):
    """Seven recordings in which every sample is a different integer / 32768, which identifies its recording and position.

    Their peak is declared as 0.95, so that scaling does not change them.
    """
    starts = np.cumsum((1, *LENGTHS))
    recordings = [
        Recording(write(tmp_path / f"{number}.wav", np.arange(start, start + length)), length, 0.95)
        for number, (start, length) in enumerate(zip(starts, LENGTHS, strict=False))
    ]
    return Corpus(tuple(recordings), ())


def samples(batch):
    """The integers of a batch [B, T]."""
    return np.rint(batch.audio * 32768).astype(int)


def recordings(batch):
    """The number of the recording of each row."""
    ends = np.cumsum((1, *LENGTHS))[1:]
    return np.searchsorted(ends, samples(batch)[:, 0], side="right").tolist()


def steps(corpus, config, count, start=0, **options):
    return list(itertools.islice(iterate(training_batches(corpus, config, **options), start, config.data.num_workers), count))


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        np.testing.assert_array_equal(batch.audio, other.audio)


def test_a_row_is_a_segment_of_one_recording(corpus, config):
    for batch in steps(corpus, config, 6):
        assert batch.audio.shape == (2, SEGMENT)
        assert batch.audio.dtype == np.float32
        assert batch.mel is None
        np.testing.assert_array_equal(np.diff(samples(batch)), 1)


def test_a_batch_depends_only_on_seed_and_step(corpus, config):
    expected = steps(corpus, config, 12)
    assert_same(steps(corpus, config, 12), expected)
    batches = training_batches(corpus, config)
    for step in (11, 3, 0, 7):
        assert_same([batches[step]], [expected[step]])


@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_a_stream_can_start_anywhere(corpus, config, start):
    assert_same(steps(corpus, config, 10 - start, start), steps(corpus, config, 10)[start:])


def test_another_seed_gives_other_batches(corpus, config):
    others = steps(corpus, config.replace({"seed": 1}), 6)
    assert not all(
        np.array_equal(batch.audio, other.audio) for batch, other in zip(steps(corpus, config, 6), others, strict=True)
    )


def test_no_recording_repeats_in_an_epoch_and_every_epoch_has_its_own_order(corpus, config):
    assert corpus.batches_per_epoch(2) == 3
    order = [number for batch in steps(corpus, config, 30) for number in recordings(batch)]
    epochs = [tuple(order[start : start + 6]) for start in range(0, 60, 6)]
    assert all(len(set(epoch)) == 6 for epoch in epochs)
    assert len(set(epochs)) > 5
    assert set(order) == set(range(7))  # a recording dropped in one epoch is used in another


def test_every_epoch_has_its_own_crops(corpus, config):
    first = [row[0] for batch in steps(corpus, config, 30) for row in samples(batch) if row[0] > sum(LENGTHS[:6])]
    assert len(set(first)) > len(first) // 2


def test_crops_reach_both_ends(corpus, config):
    shortest_with_a_choice = corpus._replace(training=corpus.training[1:2])  # 513 samples: two crops
    batches = steps(shortest_with_a_choice, config.replace({"batch_size": 1}), 20)
    assert {samples(batch)[0, 0] for batch in batches} == {513, 514}


def test_the_rows_of_two_processes_are_the_rows_of_one(corpus, config):
    single = steps(corpus, config, 9)
    parts = [steps(corpus, config, 9, process=process, processes=2) for process in range(2)]
    for batch, *halves in zip(single, *parts, strict=True):
        assert [half.audio.shape for half in halves] == [(1, SEGMENT)] * 2
        together = np.concatenate([half.audio for half in halves])
        np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(batch.audio, axis=0))


@pytest.mark.parametrize("threads", [0, 1, 5])
def test_the_number_of_threads_does_not_matter(corpus, config, threads):
    assert_same(steps(corpus, config.replace({"num_workers": threads}), 8), steps(corpus, config, 8))


def one(recording, config):
    """The first batch of a corpus with only this recording."""
    config = config.replace({"batch_size": 1})
    return training_batches(Corpus((recording,), ()), config)[0]


def test_short_recordings_are_padded_with_zeros(tmp_path, config):
    batch = one(Recording(write(tmp_path / "a.wav", range(1, 301)), 300, 0.95), config)
    np.testing.assert_array_equal(samples(batch)[0], [*range(1, 301), *[0] * 212])


def test_the_loudest_sample_of_the_file_becomes_0_95(tmp_path, config):
    quiet = np.zeros(SEGMENT + 1000)
    quiet[700], quiet[10] = -1000, 500
    recording = Recording(write(tmp_path / "a.wav", quiet), quiet.size, 1000 / 32768)
    utterance, mel = read_utterance(recording, config.mel)
    assert mel is None
    np.testing.assert_allclose(utterance[[700, 10, 0]], [-0.95, 0.475, 0], rtol=1e-6)
    # A crop is scaled by the peak of the file, not by its own.
    batches = steps(Corpus((recording,), ()), config.replace({"batch_size": 1}), 30)
    peaks = {round(float(np.abs(batch.audio).max()), 6) for batch in batches}
    assert {0.0, 0.95} <= peaks <= {0.0, 0.475, 0.95}


def test_digital_silence_stays_silent(tmp_path, config):
    recording = Recording(write(tmp_path / "a.wav", np.zeros(600)), 600, 0.0)
    assert not one(recording, config).audio.any()
    assert not read_utterance(recording, config.mel)[0].any()


@pytest.fixture
def with_mels(corpus, config, tmp_path):
    """The corpus with a mel for each recording; each frame contains the integer of its first sample."""
    recordings = []
    for number, recording in enumerate(corpus.training):
        frames = recording.samples // HOP
        first = 1 + sum(LENGTHS[:number])
        mel = np.broadcast_to(first + HOP * np.arange(frames), (80, frames)).astype(np.float32)
        np.save(tmp_path / f"{number}.npy", mel)
        paired = {"mel_path": str(tmp_path / f"{number}.npy"), "mel_frames": frames, "conversion": conversion(config.mel)}
        recordings.append(recording._replace(**paired, peak=0.5))
    return Corpus(tuple(recordings), ()), config.replace({"fine_tuning": True})


def test_mel_frame_i_describes_the_samples_from_i_hop_size(with_mels):
    for batch in steps(*with_mels, 15):
        assert batch.mel.shape == (2, SEGMENT // HOP, 80)
        assert batch.mel.dtype == np.float32
        np.testing.assert_array_equal(samples(batch)[:, ::HOP], batch.mel[:, :, 0])  # unscaled, too


def test_fine_tuning_crops_reach_both_ends(with_mels):
    corpus, config = with_mels
    longest = corpus._replace(training=corpus.training[-1:])  # 3000 samples, 11 frames, crops of 2
    batches = steps(longest, config.replace({"batch_size": 1}), 100)
    starts = {(samples(batch)[0, 0] - samples(batches[0])[0, 0]) % HOP for batch in batches}
    assert starts == {0}
    assert len({samples(batch)[0, 0] for batch in batches}) == 10


def test_a_short_fine_tuning_recording_is_padded_with_silence(tmp_path, with_mels):
    np.save(tmp_path / "a.npy", np.full((80, 1), 2, np.float32))
    audio = write(tmp_path / "a.wav", range(1, 301))
    recording = Recording(audio, 300, 0.5, str(tmp_path / "a.npy"), 1, conversion(with_mels[1].mel))
    batch = one(recording, with_mels[1])
    np.testing.assert_allclose(batch.mel[0, :, 5], [2, -11.512925], rtol=1e-6)
    np.testing.assert_array_equal(samples(batch)[0, [0, 255, 299, 300, 511]], [1, 256, 300, 0, 0])


@pytest.mark.parametrize("frames", [3, 12])
def test_samples_after_the_last_mel_frame_are_not_used(tmp_path, with_mels, frames):
    """With mels of fewer frames than the recording, and also than a segment of 5."""
    config = with_mels[1].replace({"segment_size": 5 * HOP, "batch_size": 1})
    recording = write(tmp_path / "a.wav", range(1, 20 * HOP + 1))
    np.save(tmp_path / "a.npy", np.broadcast_to(1 + HOP * np.arange(frames), (80, frames)).astype(np.float32))
    paired = Recording(recording, 20 * HOP, 0.5, str(tmp_path / "a.npy"), frames, conversion(config.mel))
    for batch in steps(Corpus((paired,), ()), config, 20):
        known = min(frames, 5)
        np.testing.assert_array_equal(samples(batch)[0, : known * HOP : HOP], batch.mel[0, :known, 0])
        assert not batch.audio[0, known * HOP :].any()
        assert samples(batch).max() <= frames * HOP
    assert read_utterance(paired, config.mel)[0].size == frames * HOP


def test_a_fine_tuning_utterance_is_as_long_as_its_mel(with_mels):
    corpus, config = with_mels
    audio, mel = read_utterance(corpus.training[-1], config.mel)
    assert mel.shape == (11, 80)
    np.testing.assert_array_equal(np.rint(audio * 32768)[::HOP], mel[:, 0])
    assert audio.size == 11 * HOP


@pytest.fixture
def centered(tmp_path, config, rng):
    """A recording of noise with its mel as Tacotron 2 frames it: each frame centered on a multiple of HOP, one frame more."""
    noise = write(tmp_path / "noise.wav", rng.integers(-3000, 3000, 5000))
    settings = config.mel
    padded = np.pad(read_audio(noise)[0], settings.n_fft // 2, mode="reflect")
    mel = np.asarray(log_mel_of_padded(jnp.asarray(padded)[None], settings))[0].T
    assert mel.shape == (80, 5000 // HOP + 1)
    np.save(tmp_path / "noise.npy", mel)
    converted = conversion(settings, settings.replace(mel_centered=True))
    recording = Recording(noise, 5000, 0.5, str(tmp_path / "noise.npy"), mel.shape[1], converted)
    return recording, config.replace({"fine_tuning": True})


def test_a_centered_mel_is_paired_with_its_samples(centered):
    """Away from the edges, the mel of the audio equals the given mel."""
    recording, config = centered
    audio, mel = read_utterance(recording, config.mel)
    assert audio.size == mel.shape[0] * HOP == (5000 - HOP // 2) // HOP * HOP
    np.testing.assert_allclose(log_mel(jnp.asarray(audio)[None], config.mel)[0, 2:-2], mel[2:-2], atol=1e-4)
    for batch in steps(Corpus((recording,), ()), config.replace({"batch_size": 1, "segment_size": 8 * HOP}), 5):
        assert batch.mel.shape == (1, 8, 80)
        np.testing.assert_allclose(log_mel(jnp.asarray(batch.audio), config.mel)[0, 2:-2], batch.mel[0, 2:-2], atol=1e-4)


GONE = 3  # the number of the recording that cannot be read


def removed(corpus, tmp_path):
    os.remove(corpus.training[GONE].path)


def emptied(corpus, tmp_path):
    open(corpus.training[GONE].path, "wb").close()


def shortened(corpus, tmp_path):
    write(corpus.training[GONE].path, range(100))


@pytest.mark.parametrize("damage", [removed, emptied, shortened])
def test_other_recordings_take_the_place_of_one_that_cannot_be_read(corpus, config, tmp_path, caplog, damage):
    usual, whose = steps(corpus, config, 12), [recordings(batch) for batch in steps(corpus, config, 12)]
    damage(corpus, tmp_path)
    set_aside = SetAside(tmp_path / "set_aside.txt")
    batches = steps(corpus, config, 12, set_aside=set_aside)
    for batch, before, numbers in zip(batches, usual, whose, strict=True):
        for row, other, number, now in zip(batch.audio, before.audio, numbers, recordings(batch), strict=True):
            if number == GONE:
                assert now != GONE
                np.testing.assert_array_equal(np.diff(np.rint(row * 32768)), 1)
            else:
                np.testing.assert_array_equal(row, other)
    assert len({tuple(row) for batch in batches for row in batch.audio}) > 16
    (listed,) = (tmp_path / "set_aside.txt").read_text().splitlines()
    assert listed.startswith(corpus.training[GONE].path)
    assert set(caplog.messages) == {f"set aside: {listed}"}
    # The same batches with any number of threads and processes, whether or not the recording is known to be unreadable
    for threads in (0, 5):
        assert_same(steps(corpus, config.replace({"num_workers": threads}), 12), batches)
    assert_same(steps(corpus, config, 11, start=1, set_aside=set_aside), batches[1:])
    parts = [steps(corpus, config, 12, process=process, processes=2) for process in range(2)]
    for batch, *halves in zip(batches, *parts, strict=True):
        together = np.concatenate([half.audio for half in halves])
        np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(batch.audio, axis=0))


def test_a_mel_that_cannot_be_read_is_replaced_with_its_recording(with_mels):
    corpus, config = with_mels
    usual, first = steps(corpus, config, 30), [recordings(batch) for batch in steps(corpus, config, 30)]
    np.save(corpus.training[GONE].mel_path, np.zeros((80, 2), np.float32))  # of another recording
    os.remove(corpus.training[GONE + 1].mel_path)
    for batch, before, numbers in zip(steps(corpus, config, 30), usual, first, strict=True):
        np.testing.assert_array_equal(samples(batch)[:, ::HOP], batch.mel[:, :, 0])
        kept = [number not in (GONE, GONE + 1) for number in numbers]
        np.testing.assert_array_equal(batch.audio[kept], before.audio[kept])
        assert not {GONE, GONE + 1} & set(recordings(batch))


@pytest.mark.parametrize("threads", [0, 2])
def test_if_more_than_half_of_the_recordings_cannot_be_read_training_ends(corpus, config, threads):
    for recording in corpus.training[:4]:
        os.remove(recording.path)
    with pytest.raises(DataError, match=r"this and 3 other recordings can no longer be read: too many"):
        list(itertools.islice(iterate(training_batches(corpus, config), 0, threads), 60))


def test_the_log_names_only_the_first_of_many_recordings_set_aside(tmp_path, caplog):
    set_aside = SetAside(tmp_path / "set_aside.txt")
    for number in range(100):
        set_aside.add(f"{number % 50}.wav", DataError(f"{number % 50}.wav: no such file"))
    assert len(set_aside) == 50
    assert len((tmp_path / "set_aside.txt").read_text().splitlines()) == 50
    assert len(caplog.messages) == 21
    assert "49.wav" in set_aside
    assert "50.wav" not in set_aside


def test_an_unwritable_list_of_recordings_set_aside_does_not_end_the_run(tmp_path, caplog):
    SetAside(tmp_path).add("a.wav", DataError("a.wav: no such file"))
    assert caplog.messages == ["set aside: a.wav: no such file", f"{tmp_path}: cannot be written: Is a directory"]


@pytest.mark.parametrize("order", [0, 1])
def test_the_paths_of_a_batch_are_those_of_its_rows(corpus, config, order):
    for step, batch in enumerate(steps(corpus, config, 9, order=order)):
        assert batch_paths(corpus, config, step, order) == [corpus.training[number].path for number in recordings(batch)]


def test_every_data_order_has_other_batches_and_order_0_is_the_seed_s(corpus, config):
    orders = [[recordings(batch) for batch in steps(corpus, config, 9, order=order)] for order in range(4)]
    assert orders[0] == [recordings(batch) for batch in steps(corpus, config, 9)]
    assert len({str(order) for order in orders}) == 4
