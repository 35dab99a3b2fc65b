"""Flags that several programs share."""

import argparse


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
