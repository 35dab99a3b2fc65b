"""The programs: parse, call, print. Nothing here imports jax before the arguments are known to be good."""

import argparse
import faulthandler
import importlib
import logging
import sys
from collections.abc import Sequence

from hifigan_jax.errors import HifiganError

COMMANDS = {
    "infer": "turn a folder of recordings or mels into speech",
    "train": "train a generator against MPD and MSD",
    "benchmark": "time synthesis and the training step on this machine",
    "convert": "carry generators and training runs between this project and PyTorch",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """`hifigan-jax COMMAND ...`; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and arguments[0] in COMMANDS:
        return run(arguments[0], arguments[1:], f"hifigan-jax {arguments[0]}")
    commands = "\n".join(f"  {name:10}{about}" for name, about in COMMANDS.items())
    parser = argparse.ArgumentParser(
        "hifigan-jax",
        description=f"HiFi-GAN in JAX.\n\ncommands:\n{commands}",
        epilog="`hifigan-jax COMMAND --help` says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("--version", action="version", version=importlib.import_module("hifigan_jax").__version__)
    parser.parse_args(arguments)
    return 2


def run(command: str, arguments: Sequence[str] | None = None, name: str | None = None) -> int:
    """Runs one command; an error that the user can mend becomes one line on stderr and its exit code."""
    _keep_signals_off_the_stack()
    _talk_on_stderr()
    module = importlib.import_module(f"hifigan_jax.cli.{command}")
    options = module.parser(name).parse_args(arguments)
    try:
        return module.main(options)
    except HifiganError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _keep_signals_off_the_stack() -> None:
    """Gives this thread, on which signals arrive, another stack for their handlers; Python's handlers run there if there is one.

    In jaxlib 0.10 the float32 matrix products of oneDNN point the stack pointer at the heap: a handler that a signal calls in the
    middle of one would overwrite what lies below, and the process dies of a corrupted heap instead of saving its step.
    """
    if not faulthandler.is_enabled():
        faulthandler.enable(2)  # of all ways to set such a stack, the one that the standard library has


def _talk_on_stderr() -> None:
    logger = logging.getLogger("hifigan_jax")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Plain())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return {logging.WARNING: "warning: ", logging.ERROR: "error: "}.get(record.levelno, "") + record.getMessage()
