"""torchaudio, which torchcrepe and distillmos import but whose functions the metrics do not call."""

import sys
import types
from importlib.machinery import ModuleSpec


def import_torchaudio() -> None:
    """Imports torchaudio, or puts an empty module in its place if it is missing or does not match the installed torch."""
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        empty = types.ModuleType("torchaudio")
        empty.__spec__ = ModuleSpec("torchaudio", None)  # importlib.util.find_spec fails without one
        sys.modules["torchaudio"] = empty
