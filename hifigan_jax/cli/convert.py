"""`hifigan-jax convert`: between our checkpoints, PyTorch files of the reference, and safetensors."""

import argparse
from pathlib import Path

SUFFIXES = (".safetensors", ".pth")
ABOUT = """Convert a generator or a whole training run. What SOURCE holds and what TARGET is called decide:

  TARGET.safetensors   the generator, with its configuration inside
  TARGET.pth           the generator, as the reference saves it
  TARGET, a new folder
    SOURCE ours        g_*, do_* (if the checkpoint can be resumed) and config.json, for the reference
    SOURCE theirs      a checkpoint of ours; a run that train.py goes on with if a do_* lies beside the g_*
"""


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(name, description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument(
        "source", help="a run or checkpoint of ours, a g_* or .pth file, a folder of them, a .safetensors, a pretrained model"
    )
    result.add_argument("target", type=Path, help="a new .safetensors or .pth file, or a new folder")
    result.add_argument("--config", metavar="JSON", help="of a .pth file with none beside it")
    return result


def main(options: argparse.Namespace) -> int:
    """Converts; returns the exit code."""
    from hifigan_jax.convert import convert  # jax starts here

    for path in convert(options.source, options.target, options.config):
        print(path)
    return 0
