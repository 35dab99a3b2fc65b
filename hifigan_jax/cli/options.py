"""Flags that several programs share."""

import argparse
import json
from typing import Any


def add_compute_dtype(parser: argparse.ArgumentParser, default: str) -> None:
    """`--compute_dtype`."""
    parser.add_argument(
        "--compute_dtype",
        choices=("float32", "bfloat16"),
        default=default,
        help="what convolutions are computed in: float32 (default) is exact, bfloat16 faster on devices that have it",
    )


def add_compile_cache(parser: argparse.ArgumentParser) -> None:
    """`--no_compile_cache`: the programs then compile everything anew."""
    parser.add_argument(
        "--no_compile_cache",
        dest="compile_cache",
        action="store_false",
        default=True,
        help="compile anew, and keep no compiled programs in ~/.cache/hifigan_jax",
    )


def add_set(parser: argparse.ArgumentParser) -> None:
    """`--set KEY=VALUE`: any key of the configuration."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        help="override any key of the JSON, e.g. --set upsample_initial_channel=256; lists as in JSON; repeat as needed",
    )


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"KEY=VALUE, as in seed=7, not {text!r:.60}")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value  # text needs no quotes
