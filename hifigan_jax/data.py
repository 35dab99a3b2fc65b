"""Batches of recordings. A batch is a pure function of (seed, step) for any number of threads, hosts and devices."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hifigan_jax import audio, mel_file
from hifigan_jax.config import Config, Mel
from hifigan_jax.filterbank import silence
from hifigan_jax.recordings import Corpus, Recording

PEAK = 0.95  # recordings are scaled to this peak


class Batch(NamedTuple):
    """Audio [B, T]; mel [B, F, M] when fine-tuning on given mels, else None."""

    audio: np.ndarray
    mel: np.ndarray | None


def training_batches(corpus: Corpus, config: Config, process: int = 0, processes: int = 1):
    """An infinite sequence of batches, indexed by step, with this process's rows of each.

    Every epoch has its own order and crops, which depend only on the seed and the position.
    """
    import grain  # imports jax

    options = config.optimization
    rows = options.batch_size // processes
    used = corpus.batches_per_epoch(options.batch_size) * options.batch_size
    shuffled = grain.MapDataset.source(corpus.training).seed(options.seed).shuffle()
    crops = shuffled.random_map(_Crop(config.mel, options.segment_size))
    return crops[:used].batch(rows, drop_remainder=True, batch_fn=_stack)[process::processes].repeat()


def iterate(batches, start: int, threads: int) -> Iterator[Batch]:
    """The batches from step `start` on, prefetched by `threads` threads."""
    import grain

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(batches[start:].to_iter_dataset(options))


def read_utterance(recording: Recording, mel: Mel) -> tuple[np.ndarray, np.ndarray | None]:
    """A complete utterance: its audio [T], scaled as in training, and its mel [F, M] when fine-tuning, else None."""
    samples = _scaled(audio.read_audio(recording.path)[0], recording)
    if recording.mel_path is None:
        return samples, None
    frames, start = _mel_and_start(recording, mel)
    return samples[start : start + frames.shape[0] * mel.hop_size], frames


class _Crop(NamedTuple):
    """Recording -> one random segment; `rng` is a function of (seed, position) only."""

    mel: Mel
    length: int  # samples

    def __call__(self, recording: Recording, rng: np.random.Generator) -> Batch:
        length, hop = self.length, self.mel.hop_size
        if recording.mel_path is None:
            start = int(rng.integers(0, max(recording.samples - length, 0) + 1))
            mel = None
        else:
            frames, start = _mel_and_start(recording, self.mel)
            first = int(rng.integers(0, max(frames.shape[0] - length // hop, 0) + 1))
            start += first * hop
            mel = mel_file.pad_with_silence(frames[first : first + length // hop], length // hop, silence(self.mel.convention))
        segment = audio.read_segment(recording.path, start, length)
        return Batch(_scaled(segment, recording), mel)


def _mel_and_start(recording: Recording, settings: Mel) -> tuple[np.ndarray, int]:
    """The mel [F, M] of a recording, without frames beyond its ends, and the sample at which frame 0 starts."""
    conversion = recording.conversion
    mel = mel_file.read_mel(recording.mel_path, settings.num_mels, conversion.source.frames_first)
    first, start = conversion.first()
    return conversion.values(mel[first : first + (recording.samples - start) // settings.hop_size]), start


def _scaled(samples: np.ndarray, recording: Recording) -> np.ndarray:
    if recording.mel_path is not None or recording.peak == 0:  # when fine-tuning, the mel has the level of the recording
        return samples
    return (samples.astype(np.float64) / recording.peak * PEAK).astype(np.float32)


def _stack(batches: Sequence[Batch]) -> Batch:
    mels = [batch.mel for batch in batches]
    return Batch(np.stack([batch.audio for batch in batches]), None if mels[0] is None else np.stack(mels))
