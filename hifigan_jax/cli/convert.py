"""`hifigan-jax convert`: conversion between our checkpoints, the reference's PyTorch files, safetensors and the Hub."""

import argparse
from pathlib import Path

from hifigan_jax.errors import UsageError
from hifigan_jax.weights.hub import is_hub

DESCRIPTION = """Convert a generator or a training run. The name of TARGET selects the format:

  NAME.safetensors  the generator with its configuration
  NAME.pth          the generator in the format of its original PyTorch code
  a new folder      conversion between frameworks: a hifigan_jax checkpoint
                    becomes PyTorch files and config.json (HiFi-GAN: g_*, and
                    do_* if it is resumable); PyTorch or safetensors files
                    become a hifigan_jax checkpoint (resumable if the do_* of
                    the same step is next to the g_*)
  hf://OWNER/NAME   a repository of the Hugging Face Hub: the generator as
                    model.safetensors, config.json and a model card
"""


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The argument parser."""
    result = argparse.ArgumentParser(name, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument(
        "source",
        help="run or checkpoint of hifigan_jax, g_*, .pth or .safetensors file, folder of g_* files, pretrained model, or hf://",
    )
    result.add_argument("target", help="new .safetensors or .pth file, new folder, or hf://OWNER/NAME[@BRANCH]")
    result.add_argument("--config", metavar="JSON", help="configuration of SOURCE, for a PyTorch file without one in its folder")
    hub = result.add_argument_group("for a target hf://OWNER/NAME")
    hub.add_argument("--license", metavar="ID", help="license in the model card, for example cc-by-4.0; default: none")
    hub.add_argument("--private", action="store_true", help="make the repository private, if it is new")
    hub.add_argument("--message", metavar="TEXT", help="message of the commit")
    return result


def main(options: argparse.Namespace) -> int:
    """Converts; returns the exit code."""
    if is_hub(options.target):
        from hifigan_jax.publish import publish  # imports jax

        target, about = options.target, (options.license, options.private, options.message)
        print(publish(options.source, target, options.config, *about))
        return 0
    if given := [f"--{name}" for name in ("license", "private", "message") if getattr(options, name)]:
        raise UsageError(f"{', '.join(given)}: only for a target hf://OWNER/NAME, not for {options.target}")
    from hifigan_jax.convert import convert

    for path in convert(options.source, Path(options.target), options.config):
        print(path)
    return 0
