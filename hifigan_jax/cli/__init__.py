"""Command-line programs: parse, call, print. jax is imported only after the arguments have been checked."""

import _thread
import argparse
import contextlib
import faulthandler
import importlib
import io
import logging
import sys
import threading
from collections.abc import Iterator, Sequence

from hifigan_jax import faults
from hifigan_jax.errors import HifiganError
from hifigan_jax.printing import flush_stdout
from hifigan_jax.runtime import explaining_memory

COMMANDS = {
    "infer": "synthesize speech from a folder of recordings or mels",
    "train": "train a generator and its discriminators",
    "evaluate": "measure vocoders against recordings",
    "table": "make the table of a paper from evaluations",
    "report": "write an evaluation as an HTML page with audio and a blind listening test",
    "inspect": "describe mels, recordings, checkpoints and other files, and what is wrong with them",
    "benchmark": "measure the speed of synthesis and training on this machine",
    "convert": "convert generators and training runs to and from PyTorch; publish a generator",
    "export": "write a generator for other runtimes: ONNX, StableHLO",
    "demo": "write a web page on which visitors resynthesize their own recordings",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `hifigan-jax COMMAND ...`; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and arguments[0] in COMMANDS:
        return run(arguments[0], arguments[1:], f"hifigan-jax {arguments[0]}")
    commands = "\n".join(f"  {name:10}{about}" for name, about in COMMANDS.items())
    parser = argparse.ArgumentParser(
        "hifigan-jax",
        description=f"HiFi-GAN in JAX.\n\ncommands:\n{commands}",
        epilog="`hifigan-jax COMMAND --help` lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("--version", action="version", version=importlib.import_module("hifigan_jax").__version__)
    parser.parse_args(arguments)
    return 2


def run(command: str, arguments: Sequence[str] | None = None, name: str | None = None) -> int:
    """Runs one command and returns its exit code; a HifiganError is printed as one line on stderr."""
    _use_signal_stack()
    _log_to_stderr()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for file names that its encoding lacks
    module = importlib.import_module(f"hifigan_jax.cli.{command}")
    options = module.parser(name).parse_args(arguments)
    try:
        with repeating_interrupts(), explaining_memory("close other programs or use a machine with more"):
            faults.check()
            return module.main(options)
    except HifiganError as error:
        with contextlib.suppress(OSError):  # a full disk: the exit code has to be enough
            print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    finally:
        flush_stdout()


@contextlib.contextmanager
def repeating_interrupts() -> Iterator[None]:
    """A context in which no Ctrl-C is lost.

    jax runs a Python function in every garbage collection, and Python only prints a KeyboardInterrupt that is raised there: about
    half of all that arrive while jax is imported or traces. Such an interrupt is raised again a moment later.
    """
    before = sys.unraisablehook

    def repeated(unraisable) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(0.05, _thread.interrupt_main).start()
        else:
            before(unraisable)

    sys.unraisablehook = repeated
    try:
        yield
    finally:
        sys.unraisablehook = before


def _use_signal_stack() -> None:
    """Makes signal handlers of this thread run on a separate stack.

    In jaxlib 0.10, oneDNN's float32 matrix products point the stack pointer into the heap. A signal handler on that stack would
    corrupt the heap, and the process would crash instead of saving its step.
    """
    if not faulthandler.is_enabled():
        faulthandler.enable(2)  # the only way in the standard library to set such a stack


def _log_to_stderr() -> None:
    logger = logging.getLogger("hifigan_jax")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_LineFormatter())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


class _LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return {logging.WARNING: "warning: ", logging.ERROR: "error: "}.get(record.levelno, "") + record.getMessage()
