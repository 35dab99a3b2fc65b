"""What an installation brings along."""

import importlib.metadata

from packaging.requirements import Requirement


def installed_by(name, seen):
    """Every distribution that `name` needs, extras left out."""
    for line in importlib.metadata.requires(name) or ():
        requirement = Requirement(line)
        key = requirement.name.lower().replace("_", "-")
        if key in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(key)
        installed_by(key, seen)
    return seen


def test_the_base_install_brings_no_torch_no_tensorflow_and_no_nvidia_wheels():
    names = installed_by("hifigan-jax", set())
    assert {"jax", "flax", "optax", "orbax-checkpoint", "numpy"} <= names
    assert [name for name in names if name.startswith(("torch", "tensorflow", "nvidia", "jax-cuda"))] == []
