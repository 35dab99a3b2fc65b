"""Batches of recordings. A batch is a pure function of (seed, order, step) for any number of threads, hosts and devices."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hifigan_jax import audio, mel_file
from hifigan_jax.config import Config, Mel
from hifigan_jax.errors import DataError
from hifigan_jax.filterbank import silence
from hifigan_jax.recordings import Corpus, Recording
from hifigan_jax.set_aside import SetAside

PEAK = 0.95  # recordings are scaled to this peak
SUBSTITUTES = 30  # the number of recordings that are tried in place of one that cannot be read


class Batch(NamedTuple):
    """Audio [B, T]; mel [B, F, M] when fine-tuning on given mels, else None."""

    audio: np.ndarray
    mel: np.ndarray | None


def training_batches(
    corpus: Corpus, config: Config, process: int = 0, processes: int = 1, order: int = 0, set_aside: SetAside | None = None
):
    """An infinite sequence of batches, indexed by step, with this process's rows of each.

    Every epoch has its own order and crops, which depend only on the seed, `order` and the position. Recordings that cannot be
    read are set aside, and others are used in their place. Raises DataError if that is true of more than half of them.
    """
    options = config.optimization
    rows = options.batch_size // processes
    crop = _Crop(corpus.training, config.mel, options.segment_size, SetAside() if set_aside is None else set_aside)
    crops = _shuffled(corpus, config, order).random_map(crop)
    used = corpus.batches_per_epoch(options.batch_size) * options.batch_size
    return crops[:used].batch(rows, drop_remainder=True, batch_fn=_stack)[process::processes].repeat()


def batch_paths(corpus: Corpus, config: Config, step: int, order: int = 0) -> list[str]:
    """The paths of the recordings in the batch of `step`, over all processes."""
    rows = config.optimization.batch_size
    used = corpus.batches_per_epoch(rows) * rows
    batches = _shuffled(corpus, config, order)[:used].batch(rows, batch_fn=list).repeat()
    return [recording.path for recording in batches[step]]


def _shuffled(corpus: Corpus, config: Config, order: int):
    """The training recordings, an endless shuffled sequence; each `order` is another one."""
    import grain  # imports jax

    seed = config.optimization.seed
    if order:
        seed = int(np.random.SeedSequence([seed, order]).generate_state(1)[0])
    return grain.MapDataset.source(corpus.training).seed(seed).shuffle()


def iterate(batches, start: int, threads: int) -> Iterator[Batch]:
    """The batches from step `start` on, prefetched by `threads` threads."""
    import grain

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(batches[start:].to_iter_dataset(options))


def read_utterance(recording: Recording, mel: Mel) -> tuple[np.ndarray, np.ndarray | None]:
    """A complete utterance: its audio [T], scaled as in training, and its mel [F, M] when fine-tuning, else None.

    Raises DataError if they cannot be read or have changed.
    """
    samples = audio.read_audio(recording.path)[0]
    audio.check_length(recording.path, samples.size, recording.samples)
    samples = _scaled(samples, recording)
    if recording.mel_path is None:
        return samples, None
    frames, start = _mel_and_start(recording, mel)
    return samples[start : start + frames.shape[0] * mel.hop_size], frames


class _Crop(NamedTuple):
    """Recording -> one random segment; `rng` is a function of (seed, position) only."""

    recordings: Sequence[Recording]  # one of them takes the place of a recording that cannot be read
    mel: Mel
    length: int  # samples
    set_aside: SetAside

    def __call__(self, recording: Recording, rng: np.random.Generator) -> Batch:
        start = rng.bit_generator.state
        if (segment := self._attempt(recording, rng)) is not None:
            return segment
        rng.bit_generator.state = start  # a failed attempt has drawn more or fewer numbers, depending on what has failed
        for seed in rng.integers(2**63, size=SUBSTITUTES):
            if 2 * len(self.set_aside) > len(self.recordings):
                break
            own = np.random.default_rng(seed)
            if (segment := self._attempt(self.recordings[own.integers(len(self.recordings))], own)) is not None:
                return segment
        raise DataError(
            f"{recording.path}: this and {len(self.set_aside) - 1} other recordings can no longer be read: too many to continue;"
            " make them available, or remove them from the list, and start again"
        )

    def _attempt(self, recording: Recording, rng: np.random.Generator) -> Batch | None:
        """A segment of the recording; None if it cannot be read."""
        if recording.path in self.set_aside:
            return None
        try:
            return self._segment(recording, rng)
        except DataError as error:
            self.set_aside.add(recording.path, error)
            return None

    def _segment(self, recording: Recording, rng: np.random.Generator) -> Batch:
        length, hop = self.length, self.mel.hop_size
        if recording.mel_path is None:
            start = int(rng.integers(0, max(recording.samples - length, 0) + 1))
            mel = None
        else:
            frames, start = _mel_and_start(recording, self.mel)
            missing = (recording.samples - start) // hop - frames.shape[0]
            first = int(rng.integers(0, max(frames.shape[0] - length // hop, 0) + 1))
            start += first * hop
            mel = mel_file.pad_with_silence(frames[first : first + length // hop], length // hop, silence(self.mel.convention))
        segment = audio.read_segment(recording.path, start, length, recording.samples)
        if mel is not None and missing:
            segment[frames.shape[0] * hop :] = 0  # the samples without a mel, if the mel is shorter than a segment
        return Batch(_scaled(segment, recording), mel)


def _mel_and_start(recording: Recording, settings: Mel) -> tuple[np.ndarray, int]:
    """The mel [F, M] of a recording, without frames beyond its ends, and the sample at which frame 0 starts."""
    conversion = recording.conversion
    mel = mel_file.read_mel(recording.mel_path, settings.num_mels, conversion.source.frames_first)
    if mel.shape[0] != recording.mel_frames:
        raise DataError(f"{recording.mel_path}: changed: {mel.shape[0]} frames, {recording.mel_frames} when it was inspected")
    first, start = conversion.first()
    return conversion.values(mel[first : first + (recording.samples - start) // settings.hop_size]), start


def _scaled(samples: np.ndarray, recording: Recording) -> np.ndarray:
    if recording.mel_path is not None or recording.peak == 0:  # when fine-tuning, the mel has the level of the recording
        return samples
    return (samples.astype(np.float64) / recording.peak * PEAK).astype(np.float32)


def _stack(batches: Sequence[Batch]) -> Batch:
    mels = [batch.mel for batch in batches]
    return Batch(np.stack([batch.audio for batch in batches]), None if mels[0] is None else np.stack(mels))
