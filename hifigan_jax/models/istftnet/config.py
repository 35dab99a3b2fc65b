"""Keys of the iSTFTNet family (Kaneko et al. 2022, arXiv 2203.02395; code rishikksh20/iSTFTNet-pytorch)."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hifigan_jax.config.sections import Mel, Size
from hifigan_jax.models.family import StateDict
from hifigan_jax.models.hifigan.config import ResidualUpsamplingConfig

if TYPE_CHECKING:
    from hifigan_jax.models.istftnet.generator import ISTFTNet
    from hifigan_jax.models.onnx_graph import OnnxGraph, Value


class ISTFTNetConfig(ResidualUpsamplingConfig):
    """iSTFTNet: HiFi-GAN's first stages, then an inverse short-time Fourier transform for the last upsampling."""

    gen_istft_n_fft: Size
    gen_istft_hop_size: Size

    def problems(self) -> Iterator[str]:
        """Conflicts between keys, one line each."""
        yield from super().problems()
        n_fft, hop = self.gen_istft_n_fft, self.gen_istft_hop_size
        if n_fft % 2 or n_fft % hop or n_fft < 2 * hop:
            yield f"gen_istft_n_fft {n_fft} must be even and a multiple of gen_istft_hop_size {hop}, at least twice as large"

    @property
    def hop_factors(self) -> dict[str, int]:
        """The upsampling rates and the transform's hop size."""
        return {"upsample_rates": math.prod(self.upsample_rates), "gen_istft_hop_size": self.gen_istft_hop_size}

    def module(self) -> "type[ISTFTNet]":
        """The ISTFTNet class."""
        from hifigan_jax.models.istftnet.generator import ISTFTNet

        return ISTFTNet

    def onnx(self) -> "Callable[[OnnxGraph, ISTFTNet, Value], Value]":
        """iSTFTNet in ONNX operators."""
        from hifigan_jax.models.istftnet.onnx import generator

        return generator

    def params_of(self, state_dict: StateDict, mel: Mel) -> dict[str, Any]:
        """Parameters from a state_dict of rishikksh20/iSTFTNet-pytorch. Its layers have the reference's names."""
        from hifigan_jax.models.hifigan.torch_names import generator_params

        return generator_params(state_dict)

    def state_dict_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The state_dict of rishikksh20/iSTFTNet-pytorch."""
        from hifigan_jax.models.hifigan.torch_names import generator_state_dict

        return generator_state_dict(params)
