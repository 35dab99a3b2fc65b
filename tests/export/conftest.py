"""A small generator to export, in memory and as a checkpoint."""

import pytest

from hifigan_jax import checkpoint
from hifigan_jax.loading import load_generator


@pytest.fixture(scope="session")
def tiny_checkpoint(shared_tiny_config, tiny_leaves, tmp_path_factory):
    """A checkpoint whose audio has an rms of at least 0.05."""
    loud = {name: leaf * (2 if name.endswith("/g") else 1) for name, leaf in tiny_leaves.items()}
    return checkpoint.write(tmp_path_factory.mktemp("export") / "weights", {"generator": loud}, shared_tiny_config)


@pytest.fixture(scope="session")
def tiny_generator(tiny_checkpoint):
    return load_generator(tiny_checkpoint)
