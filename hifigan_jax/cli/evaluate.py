"""`hifigan-jax evaluate`: measures systems against recordings."""

import argparse
import logging
import os
import shlex
from pathlib import Path

from hifigan_jax import runtime
from hifigan_jax.cli.options import add_compile_cache, count
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.evaluation.registry import METRICS
from hifigan_jax.evaluation.results import CSV_NAME, JSON_NAME
from hifigan_jax.evaluation.systems import ANCHORS, is_model
from hifigan_jax.machine import usable_processors

logger = logging.getLogger(__name__)


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(
        name, description="Measure vocoders against recordings: a table, results.json and values.csv with all values."
    )
    result.add_argument("--reference", type=Path, required=True, metavar="DIR", help="folder of recordings")
    result.add_argument(
        "--system",
        action="append",
        default=[],
        type=_system,
        metavar="NAME=DIR_OR_CHECKPOINT",
        help="a folder of synthesized files with the names of the recordings, or a checkpoint or pretrained model, which"
        " resynthesizes them; without NAME=, the source's own name is used; can be repeated",
    )
    result.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help=f"default: all whose packages are installed, of {', '.join(METRICS)}",
    )
    result.add_argument(
        "--output", type=Path, default=Path("evaluation"), metavar="DIR", help="folder of the results; default: evaluation"
    )
    result.add_argument("--cache", type=Path, metavar="DIR", help="values and resynthesized files; default: OUTPUT/cache")
    result.add_argument("--baseline", metavar="NAME", help="the system that the others are compared with, file by file")
    result.add_argument("--no_anchors", action="store_true", help=f"leave out the anchors: {', '.join(ANCHORS)}")
    result.add_argument(
        "--jobs",
        type=count,
        default=usable_processors(),
        metavar="N",
        help="number of processes; default: one per processor",
    )
    add_compile_cache(result)
    return result


def main(options: argparse.Namespace) -> int:
    """Evaluates and prints the table. Returns the exit code: 3 if any file or value is missing."""
    systems = _unique(options.system)
    if any(is_model(source) for source in systems.values()):
        runtime.prepare(options.compile_cache)
    from hifigan_jax.evaluation.run import evaluate

    results = evaluate(
        options.reference,
        systems,
        options.metrics,
        baseline=options.baseline,
        anchors=not options.no_anchors,
        jobs=options.jobs,
        cache=options.cache or options.output / "cache",
        command=_command(options),
    )
    results.save(options.output)
    print(results.table())
    logger.info("written: %s, %s", options.output / JSON_NAME, options.output / CSV_NAME)
    for problem in results.problems:
        logger.error("%s", problem)
    return DataError.exit_code if results.problems else 0


def _command(options: argparse.Namespace) -> str:
    """The command with the options that the results depend on."""
    words = ["hifigan-jax", "evaluate", "--reference", str(options.reference)]
    words += [word for name, source in options.system for word in ("--system", f"{name}={source}")]
    words += ["--metrics", *options.metrics] if options.metrics else []
    words += ["--baseline", options.baseline] if options.baseline else []
    return shlex.join(words + ["--no_anchors"] * options.no_anchors)


def _unique(systems: list[tuple[str, str]]) -> dict[str, str]:
    names = [name for name, _ in systems]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--system {name}: given twice: choose another name")
    return dict(systems)


def _system(text: str) -> tuple[str, str]:
    """NAME=SOURCE; a source alone is named after its last part. A path that exists may itself contain an equals sign."""
    name, equals, source = text.partition("=")
    if not equals or os.path.exists(text):
        name, source = Path(text).resolve().name if os.path.isdir(text) else Path(text).stem, text
    if not (name and source):
        raise argparse.ArgumentTypeError(f"expected NAME=DIR_OR_CHECKPOINT, not {text!r:.60}")
    return name, source
