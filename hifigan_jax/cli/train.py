"""`train.py`: the reference's flags, and a few more; each overrides the JSON's key of the same name."""

import argparse
import os

from hifigan_jax import runtime
from hifigan_jax.cli.options import add_compile_cache, add_compute_dtype, add_set
from hifigan_jax.config import load_config
from hifigan_jax.config.flat import default_of


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments. Only those given on the command line appear in the result."""
    description = "Train a generator. Flags override the JSON's keys of the same names. Runs resume by themselves."
    result = argparse.ArgumentParser(name, description=description, argument_default=argparse.SUPPRESS)
    result.add_argument("--config", required=True, metavar="JSON", help="for example configs/config_v1.json")

    def add(key: str, about: str, **options) -> None:
        default = default_of(key)
        shown = "" if default is None else f" (default {default})"
        result.add_argument(f"--{key}", help=about + shown, **options)

    lists = "list of `name|text` lines or paths, or a folder"
    add("input_wavs_dir", "recordings: WAV or FLAC", metavar="DIR")
    add("input_training_file", f"{lists} (default LJSpeech-1.1/training.txt, else all of --input_wavs_dir)", metavar="FILE")
    add("input_validation_file", f"{lists} (default LJSpeech-1.1/validation.txt, else held out)", metavar="FILE")
    add("input_mels_dir", "mels for --fine_tuning, named as the recordings", metavar="DIR")
    add("checkpoint_path", "the run's folder: checkpoints, config.json, metrics.jsonl, logs", metavar="DIR")
    add("training_epochs", "passes over the data", type=int, metavar="N")
    add_compute_dtype(result, argparse.SUPPRESS)
    add_compile_cache(result)
    add("accumulation_steps", "micro-batches that each device cuts its rows into, for less memory", type=int, metavar="N")
    add("rematerialize", "compute activations twice, for less memory", nargs="?", const=True, type=_switch, metavar="True|False")
    add("max_steps", "stop after this many updates, with a checkpoint", type=int, metavar="N")
    add("stdout_interval", "steps between lines on stdout", type=int, metavar="N")
    add("summary_interval", "steps between lines in metrics.jsonl and TensorBoard", type=int, metavar="N")
    add("validation_interval", "steps between validations", type=int, metavar="N")
    add("checkpoint_interval", "steps between checkpoints", type=int, metavar="N")
    add("keep_checkpoints", "newest checkpoints that stay resumable; every generator is kept", type=int, metavar="N")
    add("seed", "of the first weights, the order of the data and the crops", type=int, metavar="N")
    add("fine_tuning", "train on mels of --input_mels_dir", nargs="?", const=True, type=_switch, metavar="True|False")
    result.add_argument(
        "--finetune_from", metavar="CHECKPOINT", help="start from these weights (a path or name) with fresh optimizers"
    )
    add_set(result)
    result.add_argument("--group_name", help=argparse.SUPPRESS)  # the reference has it and never reads it
    return result


def main(options: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    flags = vars(options)
    path = flags.pop("config")
    flags.pop("group_name", None)
    compile_cache = flags.pop("compile_cache")
    finetune_from = flags.pop("finetune_from", None)
    settings = dict(flags.pop("set"))
    config = load_config(path, flags, settings=settings)

    runtime.prepare(compile_cache, training=config.optimization.compute_dtype)  # jax is loaded from here on
    from hifigan_jax.training.distributed import join_cluster
    from hifigan_jax.training.loop import train

    join_cluster(os.environ)
    train(config, finetune_from)
    return 0


def _switch(text: str) -> bool:
    # Reference: any text, "False" too, switches it on.
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"True or False, not {text!r}") from None
