"""A vocoder exported by `hifigan-jax export stablehlo`. Needs `pip install jax flatbuffers`.

vocoder = load("FOLDER")
audio = vocoder(mel)  # float32 [B, M, F] -> [B, F * hop_size]; every new shape compiles a program
"""

import functools
import hashlib
import importlib.util
import io
import json
import pathlib

import jax
import numpy as np
from jax import export


def load(folder):
    """The function of an artifact. Raises ImportError, OSError, and ValueError if it is damaged or too new for this jax."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError("flatbuffers is not installed: jax needs it to read programs: pip install flatbuffers")
    folder = pathlib.Path(folder)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / 'manifest.json'}: damaged: {error}") from None
    files = {name: (folder / name).read_bytes() for name in manifest["sha256"]}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != manifest["sha256"][name]:
            raise ValueError(f"{folder / name}: damaged: its SHA-256 is not the one in manifest.json")
    try:
        program = export.deserialize(files["generator.jax"])
        program.mlir_module()  # reads the operations
    except Exception as error:
        raise ValueError(f"{folder}: jax {jax.__version__} cannot read this program: {manifest['validity']}") from error
    call = jax.jit(program.call)
    if "weights.npz" not in files:
        return call
    return functools.partial(call, jax.device_put(dict(np.load(io.BytesIO(files["weights.npz"])))))
