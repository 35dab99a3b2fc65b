"""Recordings -> batches. A batch is a pure function of (seed, step), whatever the number of threads, hosts and devices."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hifigan_jax import audio, mel_file
from hifigan_jax.config import Config
from hifigan_jax.recordings import Corpus, Recording

PEAK = 0.95  # what the loudest sample of a whole file is scaled to


class Batch(NamedTuple):
    """Audio [B, T]; mel [B, F, M] where it doesn't follow from the audio (fine-tuning), else None."""

    audio: np.ndarray
    mel: np.ndarray | None


def training_batches(corpus: Corpus, config: Config, process: int = 0, processes: int = 1):
    """An endless sequence of batches, indexed by step, with this process's rows of each.

    Every epoch has its own order and its own crops; both depend on the seed and the position only.
    """
    import grain  # imports jax

    rows = config.batch_size // processes
    whole_batches = corpus.batches_per_epoch(config.batch_size) * config.batch_size
    crops = grain.MapDataset.source(corpus.training).seed(config.seed).shuffle().random_map(_Crop(config))
    return crops[:whole_batches].batch(rows, drop_remainder=True, batch_fn=_stack)[process::processes].repeat()


def iterate(batches, start: int, threads: int) -> Iterator[Batch]:
    """The batches from step `start` on, read ahead by `threads` threads."""
    import grain

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(batches[start:].to_iter_dataset(options))


def read_whole(recording: Recording, config: Config) -> tuple[np.ndarray, np.ndarray | None]:
    """A validation utterance: its audio [T], scaled as in training, and its own mel [F, M] when fine-tuning."""
    samples = _scaled(audio.read_audio(recording.path)[0], recording, config)
    if recording.mel_path is None:
        return samples, None
    mel, start = _mel_and_start(recording, config)
    return samples[start : start + mel.shape[0] * config.hop_size], mel


class _Crop:
    """Recording -> one random segment; `rng` is a function of (seed, position) alone."""

    def __init__(self, config: Config):
        self.config = config

    def __call__(self, recording: Recording, rng: np.random.Generator) -> Batch:
        length, hop = self.config.segment_size, self.config.hop_size
        if recording.mel_path is None:
            start = int(rng.integers(0, max(recording.frames - length, 0) + 1))
            mel = None
        else:
            whole, start = _mel_and_start(recording, self.config)
            first = int(rng.integers(0, max(whole.shape[0] - length // hop, 0) + 1))
            start += first * hop
            mel = mel_file.pad_with_silence(whole[first : first + length // hop], length // hop)
        segment = audio.read_segment(recording.path, start, length)
        return Batch(_scaled(segment, recording, self.config), mel)


def _mel_and_start(recording: Recording, config: Config) -> tuple[np.ndarray, int]:
    """The mel [F, M] of a recording and the first sample that its frame 0 describes; all its frames lie within the recording."""
    mel = mel_file.read_mel(recording.mel_path, config.num_mels)
    if not recording.centred:
        return mel, 0
    start = config.hop_size - config.hop_size // 2  # of frame 1; half of frame 0 lies before the recording
    return mel[1 : 1 + (recording.frames - start) // config.hop_size], start


def _scaled(samples: np.ndarray, recording: Recording, config: Config) -> np.ndarray:
    if config.fine_tuning or recording.peak == 0:
        return samples
    return (samples.astype(np.float64) / recording.peak * PEAK).astype(np.float32)


def _stack(batches: Sequence[Batch]) -> Batch:
    mels = [batch.mel for batch in batches]
    return Batch(np.stack([batch.audio for batch in batches]), None if mels[0] is None else np.stack(mels))
