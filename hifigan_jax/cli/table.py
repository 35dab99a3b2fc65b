"""`hifigan-jax table`: the table of a paper from evaluations."""

import argparse
import logging
import sys
from pathlib import Path

from hifigan_jax import runtime
from hifigan_jax.cli.options import add_compile_cache, add_compute_dtype
from hifigan_jax.errors import CheckpointError
from hifigan_jax.evaluation.results import Results
from hifigan_jax.evaluation.table import (
    MODEL_COLUMNS,
    Table,
    caption_of,
    cited_rows,
    columns_of,
    combine,
    models_of,
    rows_of,
    without_empty,
)
from hifigan_jax.evaluation.table_formats import FORMATS
from hifigan_jax.files import atomic_write

logger = logging.getLogger(__name__)


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(
        name, description="Make the table of a paper from results of `hifigan-jax evaluate`, with the size of each model."
    )
    result.add_argument("results", nargs="+", metavar="RESULTS", help="results.json, or the folder that contains it")
    result.add_argument("--format", choices=FORMATS, default="markdown", help="default: markdown; latex needs booktabs")
    result.add_argument("--output", type=Path, metavar="FILE", help="default: stdout")
    result.add_argument(
        "--columns",
        nargs="+",
        metavar="NAME",
        help=f"names of values, as in results.json, and {', '.join(MODEL_COLUMNS)}; default: all values, parameters, macs",
    )
    result.add_argument("--intervals", action="store_true", help="show the confidence intervals of means")
    result.add_argument(
        "--cited",
        type=Path,
        metavar="JSON",
        help='rows from publications: [{"name": ..., "source": ..., "values": {"pesq": 3.1, "parameters": 4.3e6}}]',
    )
    result.add_argument(
        "--speed", action="store_true", help="measure the speed of each model on the CPU, and on a GPU if present"
    )
    add_compute_dtype(result, "float32")
    add_compile_cache(result)
    return result


def main(options: argparse.Namespace) -> int:
    """Prints or writes the table. Returns the exit code: 4 if a model cannot be loaded."""
    evaluation = combine([Results.load(path) for path in options.results])
    columns = columns_of(evaluation, options.columns, options.speed)
    cited = cited_rows(options.cited, [*evaluation.metrics, *MODEL_COLUMNS]) if options.cited else ()
    wanted = [column.name for column in columns if column.name in MODEL_COLUMNS]
    values, problems, speed = {}, [], ""
    if wanted and models_of(evaluation):
        runtime.prepare(options.compile_cache)
        from hifigan_jax.evaluation.model_facts import facts

        values, problems, speed = facts(models_of(evaluation), wanted, options.compute_dtype)
    rows = rows_of(evaluation, values, options.intervals) + cited
    columns = without_empty(columns, rows, options.columns or ())
    table = Table(columns, rows, caption_of(evaluation, columns, rows, speed))
    _write(FORMATS[options.format](table), options.output)
    if options.format == "csv":
        logger.info("%s", table.caption)
    for problem in problems:
        logger.error("%s", problem)
    return CheckpointError.exit_code if problems else 0


def _write(text: str, path: Path | None) -> None:
    if path is None:
        sys.stdout.write(text)
        return
    with atomic_write(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
