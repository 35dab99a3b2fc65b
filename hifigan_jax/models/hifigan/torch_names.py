"""Names of HiFi-GAN's layers in the reference (jik876/hifi-gan): `resblocks.2.convs1.0` is our resblocks_2/convs1_0."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hifigan_jax.errors import CheckpointError
from hifigan_jax.weights.state_dicts import Path, checked, layer_paths, params_of, state_dict_of

# The order of the parts in the reference's modules.
_PARTS = ("conv_pre", "ups", "resblocks", "mpd", "msd", "convs", "convs1", "convs2", "conv_post")


def generator_params(state_dict: Any) -> dict[str, Any]:
    """The tree {conv_pre, ups_i, resblocks_i, conv_post} of (v, g, bias) from the 'generator' of a `g_*` file.

    Raises CheckpointError for anything that is not a HiFi-GAN generator.
    """
    state_dict = checked(state_dict)
    if "conv_pre.bias" not in state_dict or "conv_post.bias" not in state_dict:
        raise CheckpointError("not a HiFi-GAN generator: the state_dict has no conv_pre and conv_post")
    return params_of(state_dict, path_of)


def generator_state_dict(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The reference's state_dict of a generator with weight norm, in its parameters' order."""
    return state_dict_of(params, ((path, name_of(path)) for path in in_order(layer_paths(params))))


def path_of(layer: str) -> Path:
    """The path in our tree of a layer of the reference."""
    return tuple(re.sub(r"\.(\d+)", r"_\1", layer).split("."))


def name_of(path: Path) -> str:
    """The inverse of `path_of`."""
    return ".".join(re.sub(r"_(\d+)$", r".\1", key) for key in path)


def in_order(paths: list[Path]) -> list[Path]:
    """The paths in the order of the reference's modules."""

    def rank(key: str) -> tuple[int, int]:
        part, _, number = key.rpartition("_") if key[-1].isdigit() else (key, "", "0")
        return _PARTS.index(part), int(number)

    return sorted(paths, key=lambda path: [rank(key) for key in path])
