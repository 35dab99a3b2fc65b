"""A report: one HTML page with the results of an evaluation, the audio of its clips and a blind listening test.

    clips, pictures                     audio as FLAC or Opus, and pictures as PNG
    page, page.html, report.css, .js    the page; it needs no network

The script is plain JavaScript of current browsers, without libraries.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from hifigan_jax.errors import DataError
from hifigan_jax.evaluation.progress import progress
from hifigan_jax.evaluation.report.clips import Clip, Codec, Source, choose, load, sources
from hifigan_jax.evaluation.report.page import render
from hifigan_jax.evaluation.results import Results

logger = logging.getLogger(__name__)

LARGEST = 14_500_000  # bytes of audio and pictures with the codec "auto"; base64 makes them a third larger


class Report(NamedTuple):
    """A page, and one line for each file that it could not include."""

    html: str
    problems: list[str]


def report(
    results: Results,
    *,
    clips: int = 20,
    systems: Sequence[str] | None = None,
    codec: Literal["auto", "flac", "opus"] = "auto",
    root: str | Path = ".",
) -> Report:
    """The page of an evaluation.

    `clips` references are included with the audio of `systems`, all but the anchors that sound like the reference if None. The
    codec "auto" is FLAC, or Opus where FLAC would make the page larger than 20 MB. Relative folders in the results are below
    `root`. Raises UsageError for an unknown system, DataError for a missing folder, or if no clip can be read.
    """
    listed = sources(results.data, systems, Path(root))
    keys = choose(listed, clips)
    found, codec = _within_limit(keys, listed) if codec == "auto" else (_load_all(keys, listed, codec), codec)
    problems = [problem for clip in found for problem in clip.problems]
    usable = [clip for clip in found if clip.tracks]
    if not usable:
        raise DataError(problems[0] if problems else "the results contain no files")
    return Report(render(results.data, [source.name for source in listed], usable, codec), problems)


def _within_limit(keys: Sequence[str], listed: Sequence[Source]) -> tuple[list[Clip], Codec]:
    """All clips as FLAC, or as Opus if FLAC is larger than LARGEST."""
    found = _load_all(keys, listed, "flac", LARGEST)
    if found is not None:
        return found, "flac"
    logger.info("audio as Opus, because FLAC would make the page larger than 20 MB")
    return _load_all(keys, listed, "opus"), "opus"


def _load_all(keys: Sequence[str], listed: Sequence[Source], codec: Codec, limit: int | None = None) -> list[Clip] | None:
    """All clips, or None as soon as they have more than `limit` bytes."""
    found, size = [], 0
    for clip in progress((load(key, listed, codec) for key in keys), len(keys), "report"):
        found.append(clip)
        size += clip.size
        if limit is not None and size > limit:
            return None
    return found
