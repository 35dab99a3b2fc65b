"""Output of an earlier synthesis that need not be made again."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hifigan_jax import audio
from hifigan_jax.errors import DataError
from hifigan_jax.mel_conversion import Conversion
from hifigan_jax.synthesis.folder import read_mel
from hifigan_jax.synthesis.targets import MELS, Kind

if TYPE_CHECKING:
    from hifigan_jax.synthesis.vocoder import Vocoder


def complete_outputs(targets: Mapping[Path, Path], kind: Kind, vocoder: "Vocoder", converted: Conversion) -> set[Path]:
    """The inputs of `output_paths` whose output is a complete WAV file of the rate and the length that it should have.

    The content is not compared: another model, or a changed recording of the same length, is not noticed.
    """
    return {path for path, target in targets.items() if _is_complete(path, target, kind, vocoder, converted)}


def _is_complete(path: Path, target: Path, kind: Kind, vocoder: "Vocoder", converted: Conversion) -> bool:
    if not os.path.isfile(target):  # Path.is_file raises an OSError for a name that is too long
        return False
    try:
        return audio.wav_length(target) == (_expected_length(path, kind, vocoder, converted), vocoder.sampling_rate)
    except DataError:
        return False


def _expected_length(path: Path, kind: Kind, vocoder: "Vocoder", converted: Conversion) -> int:
    """Samples of the audio that is synthesized from an input. Raises DataError."""
    if kind is MELS:
        kept = read_mel(path, vocoder, converted, force=True).kept
        return kept.stop - kept.start
    samples, rate = audio.length_and_rate(path)
    return audio.resampled_length(samples, rate, vocoder.sampling_rate) // vocoder.hop_size * vocoder.hop_size
