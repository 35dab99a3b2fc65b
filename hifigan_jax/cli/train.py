"""`train.py`: the reference's flags and some more; each overrides the JSON key of the same name."""

import argparse
import importlib.util
import os
from pathlib import Path

from hifigan_jax import runtime
from hifigan_jax.cli.options import add_compile_cache, add_compute_dtype, add_mel_convention, add_set
from hifigan_jax.config import load_config
from hifigan_jax.config.flat import default_of
from hifigan_jax.errors import UsageError
from hifigan_jax.training.cluster import find_cluster
from hifigan_jax.training.run_lock import check_unlocked
from hifigan_jax.training.stop import StopRequest
from hifigan_jax.training.validation_metrics import check_metrics

_OF_MELS = ("input_mels_convention", "input_mels_statistics", "input_mels_unchecked")  # keys of --mel_convention and so on


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The argument parser. Its result contains only the flags given on the command line."""
    description = "Train a generator and its discriminators, or resume a run. Flags override the JSON keys of the same names."
    result = argparse.ArgumentParser(name, description=description, argument_default=argparse.SUPPRESS)
    result.add_argument("--config", required=True, metavar="JSON", help="configuration, e.g. configs/config_v1.json")

    def add(key: str, description: str, **options) -> None:
        default = default_of(key)
        shown = "" if default is None else f" (default {default})"
        result.add_argument(f"--{key}", help=description + shown, **options)

    lists = "recordings: file with a `name|text` or path per line, or folder"
    add("input_wavs_dir", "folder of the recordings (WAV or FLAC)", metavar="DIR")
    add(
        "input_training_file",
        f"training {lists} (default: LJSpeech's list, else --input_wavs_dir)",
        metavar="FILE",
    )
    add(
        "input_validation_file",
        f"validation {lists} (default: LJSpeech's list, else held out)",
        metavar="FILE",
    )
    outside = "read listed files outside --input_wavs_dir"
    add("allow_outside", outside, nargs="?", const=True, type=_boolean, metavar="True|False")
    add("input_mels_dir", "folder of the mels for --fine_tuning, named like the recordings", metavar="DIR")
    add_mel_convention(result, _OF_MELS)
    add("checkpoint_path", "folder of the run: checkpoints, config.json, metrics.jsonl, TensorBoard logs", metavar="DIR")
    add("training_epochs", "stop after this many epochs", type=int, metavar="N")
    add_compute_dtype(result, argparse.SUPPRESS)
    add_compile_cache(result)
    add("accumulation_steps", "micro-batches per step on each device, to save memory", type=int, metavar="N")
    add("rematerialize", "recompute activations to save memory", nargs="?", const=True, type=_boolean, metavar="True|False")
    add("max_steps", "save a checkpoint and stop after this many updates", type=int, metavar="N")
    add("stdout_interval", "steps between progress lines on stdout", type=int, metavar="N")
    add("summary_interval", "steps between entries in metrics.jsonl and TensorBoard", type=int, metavar="N")
    add("validation_interval", "steps between validations", type=int, metavar="N")
    add("checkpoint_interval", "steps between checkpoints", type=int, metavar="N")
    add("keep_checkpoints", "number of resumable checkpoints; older ones keep only the generator", type=int, metavar="N")
    add("seed", "random seed of the initial weights, the data order and the crops", type=int, metavar="N")
    add("fine_tuning", "train on the mels in --input_mels_dir", nargs="?", const=True, type=_boolean, metavar="True|False")
    about = "start from these weights (a path, hf://OWNER/NAME or a pretrained model) with new optimizers"
    result.add_argument("--finetune_from", metavar="CHECKPOINT", help=about)
    add_set(result)
    result.add_argument("--group_name", help=argparse.SUPPRESS)  # accepted but unused, as in the reference
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
    if not config.data.fine_tuning and any(key in flags for key in _OF_MELS):
        raise UsageError("--mel_convention, --mel_statistics and --force describe given mels: add --fine_tuning True")
    check_metrics(config.run.validation_metrics)

    with StopRequest() as stop:
        if _trains_alone():
            check_unlocked(Path(config.run.checkpoint_path))
        runtime.prepare(compile_cache, training=config.optimization.compute_dtype)  # jax is imported from here on
        from hifigan_jax.training.distributed import join_cluster
        from hifigan_jax.training.loop import train

        join_cluster(os.environ)
        train(config, finetune_from, stop)
    return 0


def _trains_alone() -> bool:
    """Whether this is certainly the only process of its run. On TPUs, this is known only after jax has been imported."""
    may_be_tpu = importlib.util.find_spec("libtpu") is not None and os.environ.get("JAX_PLATFORMS") != "cpu"
    return not may_be_tpu and find_cluster(os.environ) is None


def _boolean(text: str) -> bool:
    # Reference: any text, even "False", means True.
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"should be True or False, not {text!r}") from None
