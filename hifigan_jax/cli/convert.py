"""`hifigan-jax convert`: conversion between our checkpoints, the reference's PyTorch files, and safetensors."""

import argparse
from pathlib import Path

DESCRIPTION = """Convert a generator or a training run. The name of TARGET selects the format:

  NAME.safetensors  the generator with its configuration
  NAME.pth          the generator in the format of its original PyTorch code
  a new folder      conversion between frameworks: a hifigan_jax checkpoint
                    becomes PyTorch files and config.json (HiFi-GAN: g_*, and
                    do_* if it is resumable); PyTorch or safetensors files
                    become a hifigan_jax checkpoint (resumable if the do_* of
                    the same step is next to the g_*)
"""


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The argument parser."""
    result = argparse.ArgumentParser(name, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument(
        "source",
        help="run or checkpoint of hifigan_jax, g_*, .pth or .safetensors file, folder of g_* files, or pretrained model",
    )
    result.add_argument("target", type=Path, help="new .safetensors or .pth file, or new folder")
    result.add_argument("--config", metavar="JSON", help="configuration of SOURCE, for a PyTorch file without one in its folder")
    return result


def main(options: argparse.Namespace) -> int:
    """Converts; returns the exit code."""
    from hifigan_jax.convert import convert  # imports jax

    for path in convert(options.source, options.target, options.config):
        print(path)
    return 0
