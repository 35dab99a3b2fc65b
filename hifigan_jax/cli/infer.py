"""`infer.py`: synthesizes a folder of recordings or mels."""

import argparse
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from hifigan_jax import runtime
from hifigan_jax.cli.options import add_compile_cache, add_compute_dtype, add_mel_convention
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.files import atomic_write, clear_temporary
from hifigan_jax.printing import Printer
from hifigan_jax.synthesis.existing import complete_outputs
from hifigan_jax.synthesis.folder import Outcome, synthesize_files
from hifigan_jax.synthesis.targets import MELS, RECORDINGS, output_paths, size_of

logger = logging.getLogger(__name__)

# Below this size of all inputs, about two minutes of audio, compiling for oneDNN takes longer than its convolutions save.
_SHORT_WORK = 5_000_000  # bytes


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(name, description="Synthesize speech from recordings or mel-spectrograms.")
    source = result.add_mutually_exclusive_group(required=True)
    source.add_argument("--input_wavs_dir", type=Path, metavar="DIR", help="folder of recordings to resynthesize, or one file")
    source.add_argument(
        "--input_mels_dir",
        type=Path,
        metavar="DIR",
        help="log-mels: folder or file, .npy of shape (bins, frames), or as --mel_convention stores them",
    )
    result.add_argument(
        "--output_dir", type=Path, metavar="DIR", help="default: generated_files, or generated_files_from_mel for mels"
    )
    result.add_argument(
        "--checkpoint_file",
        default="universal_v1",
        metavar="PATH_OR_NAME",
        help="PyTorch or .safetensors file, run or checkpoint folder, hf://OWNER/NAME, or pretrained model: universal_v1"
        " (default), ljspeech_v1",
    )
    result.add_argument("--config", metavar="JSON", help="the model's configuration, if there is none next to the weights")
    result.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="I/N", help="process only part I of N, to split a folder over processes"
    )
    about = "skip inputs whose output is there with the right length and rate, to continue an interrupted synthesis"
    result.add_argument("--skip_existing", action="store_true", help=about)
    about = "write what became of each input, and why, as one JSON object per line"
    result.add_argument("--report", type=Path, metavar="FILE", help=about)
    add_mel_convention(result)
    add_compute_dtype(result, "float32")
    add_compile_cache(result)
    return result


def main(options: argparse.Namespace) -> int:
    """Synthesizes every file. Returns the exit code: 3 if any file failed."""
    kind, source = (MELS, options.input_mels_dir) if options.input_mels_dir is not None else (RECORDINGS, options.input_wavs_dir)
    if kind is RECORDINGS and (options.mel_convention or options.mel_statistics):
        raise UsageError("--mel_convention and --mel_statistics describe mels: give them with --input_mels_dir")
    output = options.output_dir or Path("generated_files_from_mel" if kind is MELS else "generated_files")
    targets = output_paths(source, output, kind, *options.shard)
    for folder in {target.parent for target in targets.values()}:
        clear_temporary(folder)
    start = time.perf_counter()

    long_work = sum(map(size_of, targets)) > _SHORT_WORK
    runtime.prepare(options.compile_cache, onednn=long_work or options.compute_dtype != "float32")
    from hifigan_jax.synthesis import Vocoder  # imports jax

    compilations = runtime.Compilations()
    vocoder = Vocoder.from_pretrained(options.checkpoint_file, options.config, options.compute_dtype)
    loaded = time.perf_counter()
    converted = vocoder.conversion(options.mel_convention, options.mel_statistics)
    skipped = complete_outputs(targets, kind, vocoder, converted) if options.skip_existing else set()
    outcomes = [Outcome(path, targets[path], 0.0, skipped=True) for path in targets if path in skipped]
    missing = {path: target for path, target in targets.items() if path not in skipped}
    try:
        written = Printer("synthesis continues")
        outcomes.extend(synthesize_files(vocoder, missing, kind, written, converted, options.force))
    finally:
        if options.report:
            _write_report(options.report, outcomes)
    loading = f"loading {options.checkpoint_file} took {loaded - start:.1f} s"
    _log_summary(outcomes, time.perf_counter() - loaded, f"{compilations.count} compilations; {loading}")
    return DataError.exit_code if any(outcome.error for outcome in outcomes) else 0


def _log_summary(outcomes: Sequence[Outcome], elapsed: float, details: str) -> None:
    seconds = sum(outcome.seconds for outcome in outcomes)
    written = sum(not outcome.error and not outcome.skipped for outcome in outcomes)
    skipped = sum(outcome.skipped for outcome in outcomes)
    speed = f"{seconds:.1f} s of audio in {elapsed:.1f} s: {seconds / elapsed:.1f} x real time"
    logger.info("%d files, %s, %s%s", written, speed, details, f"; {skipped} files were there" if skipped else "")
    for outcome in outcomes:
        if outcome.error:
            logger.error("%s", outcome.error)


def _write_report(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Writes the outcomes so far as JSON Lines. Raises DiskError."""
    with atomic_write(path) as temporary:
        lines = (json.dumps(outcome.as_json()) for outcome in outcomes)
        Path(temporary).write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, for example 1/8, not {text!r}")
    return int(part), int(parts)
