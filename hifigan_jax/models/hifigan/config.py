"""Keys of the HiFi-GAN family, as in the reference's JSONs."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from hifigan_jax.config.sections import Mel, Size, Sizes
from hifigan_jax.models.family import GeneratorConfig, StateDict

if TYPE_CHECKING:
    from hifigan_jax.models.hifigan.generator import HiFiGAN
    from hifigan_jax.models.onnx_graph import OnnxGraph, Value


class ResidualUpsamplingConfig(GeneratorConfig):
    """Keys of transposed convolutions, each followed by the mean of residual blocks of several kernel sizes."""

    resblock: Literal["1", "2"]
    upsample_rates: Sizes
    upsample_kernel_sizes: Sizes
    upsample_initial_channel: Size
    resblock_kernel_sizes: Sizes
    resblock_dilation_sizes: Annotated[tuple[tuple[Size, ...], ...], Field(min_length=1, max_length=64)]

    def problems(self) -> Iterator[str]:
        """Conflicts between keys, one line each."""
        if len(self.upsample_rates) != len(self.upsample_kernel_sizes):
            yield "upsample_rates and upsample_kernel_sizes must have the same number of entries"
        for rate, kernel in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=False):
            if kernel < rate:
                yield f"upsample_kernel_sizes: kernel size {kernel} is smaller than its upsampling rate {rate}: increase it"
        if self.upsample_initial_channel % 2 ** len(self.upsample_rates):
            yield f"upsample_initial_channel must be a multiple of {2 ** len(self.upsample_rates)}: every upsampling halves it"
        if len(self.resblock_kernel_sizes) != len(self.resblock_dilation_sizes):
            yield "resblock_kernel_sizes and resblock_dilation_sizes must have the same number of entries"
        if any(kernel % 2 == 0 for kernel in self.resblock_kernel_sizes):
            yield "resblock_kernel_sizes must be odd: even kernels cannot be centered"
        dilations = {"1": 3, "2": 2}[self.resblock]
        if any(len(sizes) != dilations for sizes in self.resblock_dilation_sizes):
            yield f"resblock_dilation_sizes: resblock {self.resblock!r} needs {dilations} dilations per kernel size"


class HiFiGANConfig(ResidualUpsamplingConfig):
    """HiFi-GAN (Kong et al. 2020)."""

    @property
    def hop_factors(self) -> dict[str, int]:
        """The upsampling rates."""
        return {"upsample_rates": math.prod(self.upsample_rates)}

    def module(self) -> "type[HiFiGAN]":
        """The HiFiGAN class."""
        from hifigan_jax.models.hifigan.generator import HiFiGAN

        return HiFiGAN

    def onnx(self) -> "Callable[[OnnxGraph, HiFiGAN, Value], Value]":
        """HiFi-GAN in ONNX operators."""
        from hifigan_jax.models.hifigan.onnx import generator

        return generator

    def params_of(self, state_dict: StateDict, mel: Mel) -> dict[str, Any]:
        """Parameters from a state_dict of the reference."""
        from hifigan_jax.models.hifigan.torch_names import generator_params

        return generator_params(state_dict)

    def state_dict_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The reference's state_dict."""
        from hifigan_jax.models.hifigan.torch_names import generator_state_dict

        return generator_state_dict(params)
