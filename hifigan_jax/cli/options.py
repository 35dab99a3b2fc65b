"""Flags of several programs."""

import argparse
import json
from collections.abc import Sequence
from typing import Any


def add_compute_dtype(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds `--compute_dtype`."""
    parser.add_argument(
        "--compute_dtype",
        choices=("float32", "bfloat16"),
        default=default,
        help="precision of convolutions: float32 (default) matches the reference; bfloat16 is faster on devices that support it",
    )


def add_mel_convention(
    parser: argparse.ArgumentParser, names: Sequence[str] = ("mel_convention", "mel_statistics", "force")
) -> None:
    """Adds `--mel_convention`, `--mel_statistics` and `--force`, whose values get these names."""
    about = "how the mels were computed, if not as the vocoder's: a name of docs/mel-conventions.md, or a JSON file with mel keys"
    parser.add_argument("--mel_convention", dest=names[0], metavar="NAME", help=about)
    about = "file with the mean and standard deviation that the mels are normalized with: .npy, .npz or .h5"
    parser.add_argument("--mel_statistics", dest=names[1], metavar="FILE", help=about)
    about = "use mels even if their values cannot be of their convention"
    parser.add_argument("--force", dest=names[2], action="store_true", help=about)


def add_compile_cache(parser: argparse.ArgumentParser) -> None:
    """Adds `--no_compile_cache`."""
    parser.add_argument(
        "--no_compile_cache",
        dest="compile_cache",
        action="store_false",
        default=True,
        help="do not cache compiled programs in ~/.cache/hifigan_jax",
    )


def add_set(parser: argparse.ArgumentParser) -> None:
    """Adds `--set KEY=VALUE`, which sets any key of the configuration."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        help="override any key of the JSON, e.g. --set upsample_initial_channel=256; lists as in JSON; can be repeated",
    )


def count(text: str) -> int:
    """The type of flags that count something."""
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"expected a positive integer, not {text!r:.60}")
    return int(text)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"should be KEY=VALUE, as in seed=7, not {text!r:.60}")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value  # text needs no quotes
