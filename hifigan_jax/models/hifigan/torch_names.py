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
    state_dict = _of_speecht5(checked(state_dict))
    if not {"conv_pre", "conv_post"} <= {name.partition(".")[0] for name in state_dict}:
        raise CheckpointError("not a HiFi-GAN generator: the state_dict has no conv_pre and conv_post")
    # The last convolution of several descendants (VITS, BigVGAN v2) has no bias.
    return params_of({"conv_post.bias": np.zeros(1, np.float32), **state_dict}, path_of)


def _of_speecht5(state_dict: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A state_dict of transformers' SpeechT5HifiGan under the reference's names; any other is returned unchanged."""
    if not {"mean", "scale"} <= state_dict.keys():
        return state_dict
    # The scaled mel is padded with zeros, so that folding the scale into the first convolution would change the edges.
    if np.any(state_dict["mean"] != 0) or np.any(state_dict["scale"] != 1):
        raise CheckpointError("the generator normalizes its mel with its tensors mean and scale, which is not supported")
    return {re.sub(r"^upsampler\.", "ups.", name): tensor for name, tensor in state_dict.items() if name not in ("mean", "scale")}


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
