"""A vocoder exported by `hifigan-jax export stablehlo`. Needs jax and flatbuffers.

vocoder = load("FOLDER")
audio = vocoder(mel)  # float32 [B, M, F] -> [B, F * hop_size]; every new shape compiles a program
"""

import functools
import hashlib
import io
import json
import pathlib

import jax
import numpy as np
from jax import export


def load(folder):
    folder = pathlib.Path(folder)
    digests = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["sha256"]
    files = {name: (folder / name).read_bytes() for name in digests}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != digests[name]:
            raise ValueError(f"{folder / name}: damaged: its SHA-256 is not the one in manifest.json")
    call = jax.jit(export.deserialize(files["generator.jax"]).call)
    if "weights.npz" not in files:
        return call
    return functools.partial(call, jax.device_put(dict(np.load(io.BytesIO(files["weights.npz"])))))
