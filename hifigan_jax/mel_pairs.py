"""Which mel belongs to which recording when fine-tuning, and whether their lengths agree."""

import logging
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from hifigan_jax.config import Data
from hifigan_jax.conventions import Convention
from hifigan_jax.errors import DataError

logger = logging.getLogger(__name__)

# Mels that an acoustic model predicts for given durations can be shorter than their recordings: durations are rounded, and
# silence at the end may be missing.
_MISSING = 4
_MISSING_PART = 20  # a 20th of the frames


def mel_paths(recordings: Collection[str], data: Data) -> dict[str, str]:
    """The path of the mel of each recording: `<stem>.npy` in input_mels_dir.

    For a recording in a sub-folder of input_wavs_dir, the same sub-folder of input_mels_dir is searched first. Raises DataError
    if two recordings would share a mel. Whether the mels exist is not checked.

    Reference: searches in input_mels_dir alone, and two recordings of one name share a mel.
    """
    paths = {recording: _mel_path(recording, data) for recording in recordings}
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for recording, path in paths.items():
        owners[path].append(recording)
    for path, sharing in owners.items():
        first = sharing[0]
        for other in sharing[1:]:
            if os.path.realpath(first) != os.path.realpath(other):
                raise DataError(
                    f"{path}: the mel of two recordings, {first} and {other}: save their mels in the sub-folders of"
                    f" {data.input_mels_dir} that their recordings have in {data.input_wavs_dir}, or rename one"
                )
    return paths


def missing(paths: Mapping[str, str]) -> dict[str, DataError]:
    """The mels that do not exist of `paths`, which has that of each recording, and how to fix it."""
    return {
        path: DataError(
            f"{path}: missing: save the mel of {recording} under the recording's name, with .npy in place of its suffix, in"
            " input_mels_dir or in the same sub-folder of it"
        )
        for recording, path in paths.items()
        if not os.path.lexists(path)
    }


def _mel_path(recording: str, data: Data) -> str:
    name = Path(recording).stem + ".npy"
    flat = os.path.join(data.input_mels_dir, name)
    below = os.path.relpath(os.path.dirname(recording) or ".", data.input_wavs_dir)
    if below == os.curdir or below.split(os.sep)[0] == os.pardir:
        return flat
    mirrored = os.path.join(data.input_mels_dir, below, name)
    return flat if os.path.exists(flat) and not os.path.exists(mirrored) else mirrored


def frames_problem(found: int, samples: int, source: Convention, target: Convention) -> str | None:
    """Why a mel of `source`, to be converted to `target`, with `found` frames cannot be that of a recording; None if it can.

    Some frames may be missing at the end, and there may be one more. Parts of the recording without a mel are not used.
    """
    frames = source.frames(samples)
    fewest = max(frames - max(_MISSING, frames // _MISSING_PART), 1)
    if fewest <= found <= frames + 1 and (found == frames or found * target.hop_size >= target.shortest):
        return None
    return (
        f"{found} frames, where {fewest} to {frames + 1} are expected: it is of another recording, or computed with another"
        f" hop_size than {target.hop_size} or another sampling rate"
    )


def log_different_lengths(folder: str, differences: Iterable[int]) -> None:
    """Logs how many mels have more or fewer frames than their recordings."""
    differences = list(differences)
    shorter = [-difference for difference in differences if difference < 0]
    if shorter:
        logger.info(
            "%s: %d of %d mels are up to %d frames shorter than their recordings: the ends of these are not used",
            *(folder, len(shorter), len(differences), max(shorter)),
        )
    longer = sum(difference > 0 for difference in differences)
    if longer:
        logger.info(
            "%s: %d of %d mels have one frame more than their recordings: the last one is not used; if the frames are centered as"
            " in Tacotron 2, give --mel_convention tacotron2",
            *(folder, longer, len(differences)),
        )
