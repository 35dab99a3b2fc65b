"""`hifigan-jax report`: an HTML page with the results and the audio of an evaluation."""

import argparse
import logging
from pathlib import Path

from hifigan_jax.cli.options import count
from hifigan_jax.errors import DataError
from hifigan_jax.files import atomic_write

logger = logging.getLogger(__name__)

PAGE_NAME = "report.html"
LARGEST = 20_000_000  # bytes; a larger page has a warning


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(
        name, description="Write an evaluation as one HTML page: tables, audio with A/B switching, pictures and a blind ABX test."
    )
    result.add_argument("results", type=Path, metavar="RESULTS", help="results.json of hifigan-jax evaluate, or its folder")
    result.add_argument("--output", type=Path, metavar="FILE.html", help="default: report.html beside the results")
    result.add_argument("--clips", type=count, default=20, metavar="N", help="how many clips to include at most; default: 20")
    result.add_argument(
        "--systems", nargs="+", metavar="NAME", help="systems whose audio to include; default: all but ground_truth and pcm16"
    )
    result.add_argument(
        "--codec",
        choices=("auto", "flac", "opus"),
        default="auto",
        help="format of the audio; auto (default) is flac, which is lossless, or opus if flac makes the page larger than 20 MB",
    )
    result.add_argument(
        "--root",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="folder in which hifigan-jax evaluate was called; default: the current folder",
    )
    return result


def main(options: argparse.Namespace) -> int:
    """Writes the page. Returns the exit code: 3 if any file is missing from it."""
    from hifigan_jax.evaluation.report import report
    from hifigan_jax.evaluation.results import Results

    results = Results.load(options.results)
    found = report(results, clips=options.clips, systems=options.systems, codec=options.codec, root=options.root)
    output = options.output or (options.results if options.results.is_dir() else options.results.parent) / PAGE_NAME
    content = found.html.encode("utf-8", "replace")
    with atomic_write(output) as temporary:
        Path(temporary).write_bytes(content)
    logger.info("written: %s (%.1f MB)", output, len(content) / 1e6)
    if len(content) > LARGEST:
        logger.warning("%s: larger than %.0f MB: lower --clips, choose --systems, or use --codec opus", output, LARGEST / 1e6)
    for problem in found.problems:
        logger.error("%s", problem)
    return DataError.exit_code if found.problems else 0
