"""The keys of the iSTFTNet family (Kaneko et al. 2022, arXiv 2203.02395; code rishikksh20/iSTFTNet-pytorch)."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hifigan_jax.config.sections import ComputeDtype, Count, Mel
from hifigan_jax.models.family import StateDict
from hifigan_jax.models.hifigan.config import ResidualUpsamplingConfig

if TYPE_CHECKING:
    from hifigan_jax.models.istftnet.generator import ISTFTNet


class ISTFTNetConfig(ResidualUpsamplingConfig):
    """iSTFTNet: HiFi-GAN's first stages, whose last upsampling is an inverse short-time Fourier transform."""

    gen_istft_n_fft: Count
    gen_istft_hop_size: Count

    def problems(self) -> Iterator[str]:
        """Keys that contradict one another."""
        yield from super().problems()
        n_fft, hop = self.gen_istft_n_fft, self.gen_istft_hop_size
        if n_fft % 2 or n_fft % hop or n_fft < 2 * hop:
            yield f"gen_istft_n_fft {n_fft} must be even and a multiple, at least twice, of gen_istft_hop_size {hop}"

    def mel_problems(self, mel: Mel) -> Iterator[str]:
        """Upsampling that doesn't give hop_size samples a frame."""
        hop = math.prod(self.upsample_rates) * self.gen_istft_hop_size
        if hop != mel.hop_size:
            yield f"upsample_rates and gen_istft_hop_size multiply to {hop}, but hop_size is {mel.hop_size}: make them equal"

    def build(
        self, mel: Mel, *, folded: bool = False, compute_dtype: ComputeDtype = "float32", rematerialize: bool = False
    ) -> "ISTFTNet":
        """The module."""
        from hifigan_jax.models.istftnet.generator import ISTFTNet
        from hifigan_jax.models.layers import COMPUTE_DTYPES

        options = dict(folded=folded, compute_dtype=COMPUTE_DTYPES[compute_dtype], rematerialize=rematerialize)
        return ISTFTNet(num_mels=mel.num_mels, **dict(self), **options)

    def params_of(self, state_dict: StateDict, mel: Mel) -> dict[str, Any]:
        """Parameters from a state_dict of rishikksh20/iSTFTNet-pytorch, whose layers have the reference's names."""
        from hifigan_jax.models.hifigan.torch_names import generator_params

        return generator_params(state_dict)

    def state_dict_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The state_dict of rishikksh20/iSTFTNet-pytorch."""
        from hifigan_jax.models.hifigan.torch_names import generator_state_dict

        return generator_state_dict(params)
