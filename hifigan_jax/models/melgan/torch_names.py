"""Names of MelGAN's layers in descriptinc/melgan-neurips and seungwonpark/melgan.

Both build the same layers from numbered modules. The latter first scales its natural-log mel by (mel + 5) / 5. Here, this is
folded into the first convolution, which is exact with reflection padding.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hifigan_jax.errors import CheckpointError
from hifigan_jax.weights.state_dicts import Path, checked, params_of, state_dict_of

Layers = list[tuple[Path, str]]


def generator_params(state_dict: Any, stages: int, residual_layers: int, natural_log: bool) -> dict[str, Any]:
    """The tree {conv_pre, ups_i, residuals_i, conv_post} of (v, g, bias).

    `natural_log`: whether mels are natural-log. Raises CheckpointError for any other state_dict.
    """
    state_dict = checked(state_dict)
    if any(name.startswith("generator.") for name in state_dict):
        if not natural_log:
            raise CheckpointError(
                "seungwonpark/melgan generators take natural-log mels: use a configuration with mel_convention 'hifigan'"
            )
        return _with_scaled_input(_named(state_dict, _seungwonpark_generator(stages, residual_layers)))
    return _named(state_dict, _descriptinc_generator(stages, residual_layers))


def generator_state_dict(params: Mapping[str, Any], stages: int, residual_layers: int) -> dict[str, np.ndarray]:
    """The state_dict of descriptinc/melgan-neurips."""
    return state_dict_of(params, _descriptinc_generator(stages, residual_layers))


def discriminator_params(state_dict: Any, scales: int, downsamplings: int) -> dict[str, Any]:
    """The tree {melgan_i: {convs_j, conv_post}} of (v, g, bias). Raises CheckpointError for any other state_dict."""
    state_dict = checked(state_dict)
    seungwonpark = any(name.startswith("discriminators.") for name in state_dict)
    name = _seungwonpark_discriminator if seungwonpark else _descriptinc_discriminator
    return _named(state_dict, _discriminator(scales, downsamplings, name))


def discriminator_state_dict(params: Mapping[str, Any], scales: int, downsamplings: int) -> dict[str, np.ndarray]:
    """The state_dict of descriptinc/melgan-neurips."""
    return state_dict_of(params, _discriminator(scales, downsamplings, _descriptinc_discriminator))


def _named(state_dict: dict[str, np.ndarray], layers: Layers) -> dict[str, Any]:
    paths = {name: path for path, name in layers}

    def path_of(layer):
        if layer not in paths:
            raise CheckpointError(f"not a MelGAN of this configuration, which has no layer {layer}")
        return paths[layer]

    params = params_of(state_dict, path_of)
    found = {name.rpartition(".")[0].removesuffix(".parametrizations.weight") for name in state_dict}
    if missing := [name for name in paths if name not in found]:
        raise CheckpointError(f"not a MelGAN of this configuration: layer {missing[0]} is missing")
    return params


def _descriptinc_generator(stages: int, count: int) -> Layers:
    layers: Layers = [(("conv_pre",), "model.1")]
    for i in range(stages):
        up = 3 + i * (2 + count)
        layers.append(((f"ups_{i}",), f"model.{up}"))
        for j in range(count):
            block, path = f"model.{up + 1 + j}", f"residuals_{i * count + j}"
            parts = {"dilated": "block.2", "pointwise": "block.4", "shortcut": "shortcut"}
            layers += [((path, ours), f"{block}.{theirs}") for ours, theirs in parts.items()]
    return [*layers, (("conv_post",), f"model.{4 + stages * (2 + count)}")]


def _seungwonpark_generator(stages: int, count: int) -> Layers:
    layers: Layers = [(("conv_pre",), "generator.1")]
    for i in range(stages):
        layers.append(((f"ups_{i}",), f"generator.{3 + 3 * i}"))
        for j in range(count):
            stack, path = f"generator.{4 + 3 * i}", f"residuals_{i * count + j}"
            parts = {"dilated": f"blocks.{j}.2", "pointwise": f"blocks.{j}.4", "shortcut": f"shortcuts.{j}"}
            layers += [((path, ours), f"{stack}.{theirs}") for ours, theirs in parts.items()]
    return [*layers, (("conv_post",), f"generator.{4 + 3 * stages}")]


def _descriptinc_discriminator(scale: int, layer: int, module: str) -> str:
    return f"model.disc_{scale}.model.layer_{layer}{module}"


def _seungwonpark_discriminator(scale: int, layer: int, module: str) -> str:
    return f"discriminators.{scale}.discriminator.{layer}{module}"


def _discriminator(scales: int, downsamplings: int, name: Callable[[int, int, str], str]) -> Layers:
    """Layers of each scale. The first module has padding, convolution and activation; the last one is a convolution only."""
    last = downsamplings + 2
    return [
        ((f"melgan_{scale}", "conv_post" if layer == last else f"convs_{layer}"), name(scale, layer, module))
        for scale in range(scales)
        for layer, module in [(0, ".1"), *((i, ".0") for i in range(1, last)), (last, "")]
    ]


def _with_scaled_input(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters for mels, from `params` for (mel + 5) / 5."""
    layer = params["conv_pre"]
    v = layer["v"].astype(np.float64)
    kernel = v * (layer["g"] / np.sqrt(np.sum(v * v, axis=(0, 1))))
    bias = (layer["bias"] + kernel.sum(axis=(0, 1))).astype(layer["bias"].dtype)
    return params | {"conv_pre": {"v": layer["v"], "g": layer["g"] / 5, "bias": bias}}
