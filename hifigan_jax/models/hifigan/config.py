"""The keys of the HiFi-GAN family: those of the reference's JSONs."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from hifigan_jax.config.sections import Count, Mel
from hifigan_jax.models.family import GeneratorConfig, StateDict

if TYPE_CHECKING:
    from hifigan_jax.models.hifigan.generator import HiFiGAN


class ResidualUpsamplingConfig(GeneratorConfig):
    """Transposed convolutions, each followed by the mean of residual blocks of several kernel sizes."""

    resblock: Literal["1", "2"]
    upsample_rates: Annotated[tuple[Count, ...], Field(min_length=1)]
    upsample_kernel_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    upsample_initial_channel: Count
    resblock_kernel_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    resblock_dilation_sizes: Annotated[tuple[tuple[Count, ...], ...], Field(min_length=1)]

    def problems(self) -> Iterator[str]:
        """Keys that contradict one another."""
        if len(self.upsample_rates) != len(self.upsample_kernel_sizes):
            yield "upsample_rates and upsample_kernel_sizes must have the same number of entries"
        for rate, kernel in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=False):
            if kernel < rate:
                yield f"upsample_kernel_sizes: kernel {kernel} is smaller than its rate {rate} and would leave gaps: enlarge it"
        if self.upsample_initial_channel % 2 ** len(self.upsample_rates):
            yield f"upsample_initial_channel must be a multiple of {2 ** len(self.upsample_rates)}: every upsampling halves it"
        if len(self.resblock_kernel_sizes) != len(self.resblock_dilation_sizes):
            yield "resblock_kernel_sizes and resblock_dilation_sizes must have the same number of entries"
        if any(kernel % 2 == 0 for kernel in self.resblock_kernel_sizes):
            yield "resblock_kernel_sizes must be odd: even kernels can't be centered"
        dilations = {"1": 3, "2": 2}[self.resblock]
        if any(len(sizes) != dilations for sizes in self.resblock_dilation_sizes):
            yield f"resblock_dilation_sizes: resblock {self.resblock!r} takes {dilations} dilations per kernel"


class HiFiGANConfig(ResidualUpsamplingConfig):
    """HiFi-GAN (Kong et al. 2020)."""

    @property
    def hop_factors(self) -> dict[str, int]:
        """Upsampling alone."""
        return {"upsample_rates": math.prod(self.upsample_rates)}

    def module(self) -> "type[HiFiGAN]":
        """The class."""
        from hifigan_jax.models.hifigan.generator import HiFiGAN

        return HiFiGAN

    def params_of(self, state_dict: StateDict, mel: Mel) -> dict[str, Any]:
        """Parameters from the reference's state_dict."""
        from hifigan_jax.models.hifigan.torch_names import generator_params

        return generator_params(state_dict)

    def state_dict_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The reference's state_dict."""
        from hifigan_jax.models.hifigan.torch_names import generator_state_dict

        return generator_state_dict(params)
