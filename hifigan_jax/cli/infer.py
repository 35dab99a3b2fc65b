"""`infer.py`: synthesizes a folder of recordings or mels."""

import argparse
import logging
import time
from functools import partial
from pathlib import Path

from hifigan_jax import runtime
from hifigan_jax.cli.options import add_compile_cache, add_compute_dtype
from hifigan_jax.errors import DataError
from hifigan_jax.printing import print_line
from hifigan_jax.synthesis.folder import MELS, RECORDINGS, output_paths, synthesize_files

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
        help="log-mels: folder or file, .npy of shape (bins, frames)",
    )
    result.add_argument(
        "--output_dir", type=Path, metavar="DIR", help="default: generated_files, or generated_files_from_mel for mels"
    )
    result.add_argument(
        "--checkpoint_file",
        default="universal_v1",
        metavar="PATH_OR_NAME",
        help="PyTorch or .safetensors file, run or checkpoint folder, or pretrained model: universal_v1 (default), ljspeech_v1",
    )
    result.add_argument("--config", metavar="JSON", help="the model's configuration, if there is none next to the weights")
    result.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="I/N", help="process only part I of N, to split a folder over processes"
    )
    add_compute_dtype(result, "float32")
    add_compile_cache(result)
    return result


def main(options: argparse.Namespace) -> int:
    """Synthesizes every file. Returns the exit code: 3 if any file failed."""
    kind, source = (MELS, options.input_mels_dir) if options.input_mels_dir is not None else (RECORDINGS, options.input_wavs_dir)
    output = options.output_dir or Path("generated_files_from_mel" if kind is MELS else "generated_files")
    targets = output_paths(source, output, kind, *options.shard)
    start = time.perf_counter()

    long_work = sum(path.stat().st_size for path in targets) > _SHORT_WORK
    runtime.prepare(options.compile_cache, onednn=long_work or options.compute_dtype != "float32")
    from hifigan_jax.synthesis import Vocoder  # imports jax

    compilations = runtime.Compilations()
    vocoder = Vocoder.from_pretrained(options.checkpoint_file, options.config, options.compute_dtype)
    loaded = time.perf_counter()
    on_written = partial(print_line, consequence="synthesis continues without printing")
    outcomes = list(synthesize_files(vocoder, targets, kind, on_written))
    ended = time.perf_counter()
    seconds, errors = sum(outcome.seconds for outcome in outcomes), [outcome.error for outcome in outcomes if outcome.error]
    logger.info(
        "%d files, %.1f s of audio in %.1f s: %.1f x real time, %d compilations; loading %s took %.1f s",
        len(targets) - len(errors),
        seconds,
        ended - loaded,
        seconds / (ended - loaded),
        compilations.count,
        options.checkpoint_file,
        loaded - start,
    )
    for error in errors:
        logger.error("%s", error)
    return DataError.exit_code if errors else 0


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, for example 1/8, not {text!r}")
    return int(part), int(parts)
