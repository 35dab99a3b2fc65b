"""`hifigan-jax inspect`: what files are, what is in them, what is wrong with them and what would fix it."""

import argparse
import json
import os

from hifigan_jax.errors import DataError
from hifigan_jax.inspection import inspect

DESCRIPTION = """Describe files: mels, recordings, weights, checkpoints, runs, exported models,
file lists, configurations, results of evaluations. What is wrong with a file
and what would fix it is listed after `problem`."""


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(name, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("files", nargs="+", metavar="FILE", help="file or folder, or name of a pretrained model")
    result.add_argument("--json", action="store_true", help="print one JSON document: {files: [{path, kind, facts, ...}]}")
    result.add_argument("--input_wavs_dir", metavar="DIR", help="folder of the recordings that a file list names")
    result.add_argument("--config", metavar="JSON", help="configuration of weights that have none beside them")
    return result


def main(options: argparse.Namespace) -> int:
    """Prints a description of each file. Returns the exit code: 3 if any cannot be read or is of an unknown kind."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # only shapes are computed: an accelerator would take time to start
    reports = []
    for number, path in enumerate(options.files):
        report = inspect(path, options.input_wavs_dir, options.config)
        reports.append(report)
        if not options.json:
            print(f"\n{report}" if number else report, flush=True)
    if options.json:
        print(json.dumps({"files": [report.as_json() for report in reports]}, indent=1, allow_nan=False))
    return DataError.exit_code if any(report.error for report in reports) else 0
