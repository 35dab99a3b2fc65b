"""`hifigan-jax convert`: a PyTorch generator as a checkpoint of ours, which loads faster and needs no recognising."""

import argparse
from pathlib import Path

from hifigan_jax.errors import UsageError


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(name, description="Turn a PyTorch generator (g_* or .pth) into a checkpoint folder of ours.")
    result.add_argument("source", help="a .pth file or the name of a pretrained model")
    result.add_argument("target", type=Path, help="a new folder; infer.py --checkpoint_file and --finetune_from take it")
    result.add_argument("--config", metavar="JSON", help="of a .pth file with none beside it")
    return result


def main(options: argparse.Namespace) -> int:
    """Converts; returns the exit code."""
    if options.target.exists():
        raise UsageError(f"{options.target}: already there: choose a new name")

    from flax import traverse_util

    from hifigan_jax import checkpoint
    from hifigan_jax.generator_source import load_generator

    generator = load_generator(options.source, options.config)
    leaves = traverse_util.flatten_dict(generator.params, sep="/")
    print(checkpoint.write(options.target, {checkpoint.GENERATOR: leaves}, generator.config))
    return 0
