"""Keys of the MelGAN family (Kumar et al. 2019, arXiv 1910.06711; code descriptinc/melgan-neurips)."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from hifigan_jax.config.sections import ComputeDtype, Count, Layers, Mel, Size, Sizes
from hifigan_jax.models.family import DiscriminatorConfig, GeneratorConfig, StateDict

if TYPE_CHECKING:
    from hifigan_jax.models.melgan.discriminator import MelGANDiscriminator
    from hifigan_jax.models.melgan.generator import MelGAN
    from hifigan_jax.models.onnx_graph import OnnxGraph, Value


class MelGANConfig(GeneratorConfig):
    """MelGAN: upsampling with kernels twice as long as their rates, each followed by dilated residual layers."""

    upsample_rates: Sizes
    upsample_initial_channel: Size
    residual_layers: Annotated[Count, Field(le=8)]  # dilations 1, 3, 9, ...

    DEFAULT_LOSSES = {
        "gan_loss": "hinge",
        # The original weights the sum of feature maps by 10, and each by 4 / (layers + 1) / scales with 4 layers and 3 scales.
        "loss_weights": {"adversarial": 1.0, "feature_matching": 10 * 4 / 5 / 3},
    }
    DEFAULT_DISCRIMINATORS = ("melgan",)
    TORCH_KEY = None
    TORCH_FILES = ("netG.pt", "netD.pt")
    ALSO_CALLED = {"ratios": "upsample_rates", "n_residual_layers": "residual_layers", "ngf": "upsample_initial_channel"}

    def problems(self) -> Iterator[str]:
        """Channels that cannot be halved by every upsampling layer."""
        if self.upsample_initial_channel % 2 ** len(self.upsample_rates):
            yield f"upsample_initial_channel must be a multiple of {2 ** len(self.upsample_rates)}: every upsampling halves it"

    @property
    def hop_factors(self) -> dict[str, int]:
        """The upsampling rates."""
        return {"upsample_rates": math.prod(self.upsample_rates)}

    def module(self) -> "type[MelGAN]":
        """The MelGAN class."""
        from hifigan_jax.models.melgan.generator import MelGAN

        return MelGAN

    def onnx(self) -> "Callable[[OnnxGraph, MelGAN, Value], Value]":
        """MelGAN in ONNX operators."""
        from hifigan_jax.models.melgan.onnx import generator

        return generator

    def params_of(self, state_dict: StateDict, mel: Mel) -> dict[str, Any]:
        """Parameters from a state_dict of descriptinc/melgan-neurips or seungwonpark/melgan."""
        from hifigan_jax.models.melgan.torch_names import generator_params

        return generator_params(state_dict, len(self.upsample_rates), self.residual_layers, mel.convention.log_base == "e")

    def state_dict_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The state_dict of descriptinc/melgan-neurips."""
        from hifigan_jax.models.melgan.torch_names import generator_state_dict

        return generator_state_dict(params, len(self.upsample_rates), self.residual_layers)


class MelGANDiscriminatorConfig(DiscriminatorConfig):
    """MelGAN's discriminator: the same layers on audio at full, half and quarter rate."""

    melgan_scales: Layers = 3
    melgan_channels: Size = 16  # of the first layer
    melgan_downsamplings: Layers = 4  # number of downsampling layers
    melgan_downsampling_rate: Annotated[Size, Field(ge=2)] = 4

    ALSO_CALLED = {
        "num_d": "melgan_scales",
        "ndf": "melgan_channels",
        "n_layers_d": "melgan_downsamplings",
        "downsamp_factor": "melgan_downsampling_rate",
    }

    def problems(self) -> Iterator[str]:
        """Channels that cannot be split into groups of four."""
        narrowest = self.melgan_channels * self.discriminator_channel_mult
        if narrowest % 4:
            yield f"melgan_channels * discriminator_channel_mult is {narrowest:g}: make it a multiple of 4, a group's channels"

    def build(self, compute_dtype: ComputeDtype = "float32") -> "list[MelGANDiscriminator]":
        """One module per scale."""
        from hifigan_jax.models.layers import COMPUTE_DTYPES
        from hifigan_jax.models.melgan.discriminator import MelGANDiscriminator

        rates = (self.melgan_downsampling_rate,) * self.melgan_downsamplings
        options = (self.melgan_channels, rates, self.discriminator_channel_mult, COMPUTE_DTYPES[compute_dtype])
        return [MelGANDiscriminator(pools, *options) for pools in range(self.melgan_scales)]

    def params_of(self, state_dict: StateDict) -> dict[str, Any]:
        """Parameters from a netD.pt of descriptinc/melgan-neurips or a model_d of seungwonpark/melgan."""
        from hifigan_jax.models.melgan.torch_names import discriminator_params

        return discriminator_params(state_dict, self.melgan_scales, self.melgan_downsamplings)

    def state_dict_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The state_dict of descriptinc/melgan-neurips."""
        from hifigan_jax.models.melgan.torch_names import discriminator_state_dict

        return discriminator_state_dict(params, self.melgan_scales, self.melgan_downsamplings)
