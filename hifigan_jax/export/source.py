"""What is exported: folded weights, and what a file states about its generator: its configuration and its checkpoint."""

import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hifigan_jax.config import Config
from hifigan_jax.config.flat import model_keys
from hifigan_jax.generator_file import Generator
from hifigan_jax.models.layers import fold_norms
from hifigan_jax.trees import named_leaves
from hifigan_jax.weights.pretrained import PRETRAINED


def folded(params: Any) -> dict[str, np.ndarray]:
    """The parameters by path with weight norm merged into the kernels, by the program that `Vocoder` uses."""
    return named_leaves(jax.device_get(jax.jit(fold_norms)(params)))


def model_of(config: Config) -> dict[str, Any]:
    """The keys of the flat JSON that define the model, without those of training, which may contain paths of this machine."""
    content = config.flat()
    return {key: value for key, value in content.items() if key in model_keys(content)}


def provenance(generator: Generator) -> dict[str, str]:
    """The name and SHA-256 of the checkpoint (of a run's checkpoint: of its manifest); for known weights, also their origin."""
    path = Path(generator.source)
    with open(path / "manifest.json" if path.is_dir() else path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    facts = {"source": path.name, "source_sha256": digest}
    for model in PRETRAINED.values():
        if model.sha256 == digest:
            facts |= {"url": model.url, "license": model.license}
    return facts
