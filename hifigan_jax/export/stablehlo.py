"""Generators as StableHLO for CPUs, CUDA and TPUs at once, written by jax.export, with a loader that needs no hifigan_jax.

A folder of `generator.jax` (jax's serialized program), `weights.npz` unless they are in the program, `manifest.json` with the
SHA-256 of both and what the program takes, and `load.py`.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jaxtyping import Array, Float

from hifigan_jax.config import Config
from hifigan_jax.errors import UsageError
from hifigan_jax.export.source import folded, model_of, provenance
from hifigan_jax.files import atomic_folder
from hifigan_jax.filterbank import silence
from hifigan_jax.generator_file import Generator
from hifigan_jax.models.generator import Conditions

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAM, WEIGHTS, MANIFEST, LOADER = "generator.jax", "weights.npz", "manifest.json", "load.py"
# https://docs.jax.dev/en/latest/export/export.html, "Compatibility guarantees"
VALIDITY = (
    f"written by jax {jax.__version__}; read by versions released up to six months after it and up to three weeks before it;"
    " for later ones, export the checkpoint again"
)


def export_stablehlo(generator: Generator, folder: Path, weights_inside: bool = False) -> None:
    """Writes the new folder. Raises UsageError if it exists or if the package flatbuffers is missing, and DiskError."""
    if os.path.lexists(folder):  # false, as opposed to Path.exists, for a name that is too long
        raise UsageError(f"{folder}: already exists: choose a new name")
    weights = folded(generator.params)
    files = {PROGRAM: program(generator.config, weights, weights_inside)}
    if not weights_inside:
        files[WEIGHTS] = _npz(weights)
    files[LOADER] = Path(__file__).with_name("stablehlo_loader.py").read_bytes()
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in (PROGRAM, WEIGHTS) if name in files}
    manifest = {
        "input": f"log-mel, float32 [batch, {generator.config.mel.num_mels}, frames]",
        "output": f"audio, float32 [batch, frames * {generator.config.mel.hop_size}]",
        "platforms": PLATFORMS,
        "validity": VALIDITY,
        "sha256": digests,
        "model": model_of(generator.config),
        **provenance(generator),
    }
    files[MANIFEST] = (json.dumps(manifest, indent=4) + "\n").encode()
    with atomic_folder(folder) as new:
        for name, content in files.items():
            (new / name).write_bytes(content)


def program(config: Config, weights: Mapping[str, np.ndarray], weights_inside: bool) -> bytes:
    """The serialized program: (weights by path, mel) -> audio, or mel -> audio. Raises UsageError without flatbuffers."""
    from jax import export

    try:
        import flatbuffers  # noqa: F401
    except ImportError:
        raise UsageError("flatbuffers is not installed: pip install 'hifigan-jax[export]'") from None
    generate = generate_of(config)
    batch, frames = export.symbolic_shape("batch, frames")
    mel = jax.ShapeDtypeStruct((batch, config.mel.num_mels, frames), jnp.float32)
    if weights_inside:
        return bytes(export.export(jax.jit(lambda mel: generate(weights, mel)), platforms=PLATFORMS)(mel).serialize())
    shapes = {path: jax.ShapeDtypeStruct(value.shape, value.dtype) for path, value in weights.items()}
    return bytes(export.export(jax.jit(generate), platforms=PLATFORMS)(shapes, mel).serialize())


def generate_of(config: Config) -> Callable[..., Array]:
    """The function (folded parameters by path, mel [B, M, F]) -> audio [B, F * hop_size]; B and F may be symbolic.

    As in `Vocoder`, mels that are too short for the generator's padding are extended with silence and their audio is cut.
    """
    generator = config.generator.build(config.mel, folded=True)

    def audio(params: Mapping[str, Array | np.ndarray], mel: Float[Array | np.ndarray, "B M F"]) -> Float[Array, "B T"]:
        x = jnp.swapaxes(mel, 1, 2)
        if generator.shortest > 1:
            frame = jnp.asarray(silence(config.mel.convention), mel.dtype)
            shape = (mel.shape[0], generator.shortest - 1, config.mel.num_mels)
            x = jnp.concatenate([x, jnp.broadcast_to(frame, shape)], axis=1)
            x = x[:, : jax.core.max_dim(mel.shape[2], generator.shortest)]
        arrays = {path: jnp.asarray(value) for path, value in params.items()}  # weights inside the program are NumPy arrays
        # Without calls of inner functions: XLA simplifies those of a program of fixed shapes before it inlines them, and would
        # give other bits than the artifact, where they are inlined when the shapes become known.
        with jax.disable_jit():
            y = generator.apply({"params": traverse_util.unflatten_dict(arrays, sep="/")}, Conditions(x))
        return y[:, : mel.shape[2] * config.mel.hop_size]

    return audio


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()
