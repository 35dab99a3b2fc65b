"""Base classes for the configurations of generator families and discriminators. No jax here.

The classes in `registry.py` derive from these. A class's fields are its keys in the flat JSON; error messages use `ALSO_CALLED`.
Modules that need jax are imported inside `module` and `build`, so that configuration errors are reported without importing jax.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from hifigan_jax.config.sections import ComputeDtype, Mel, Optimization, Real, Section

if TYPE_CHECKING:
    import flax.linen as nn

    from hifigan_jax.models.onnx_graph import OnnxGraph, Value

StateDict = Mapping[str, Any]  # torch's names -> arrays


class GeneratorConfig(Section):
    """A generator family's keys."""

    DEFAULT_LOSSES: ClassVar[Mapping[str, Any]] = {
        "gan_loss": "least_squares",
        "loss_weights": {"adversarial": 1.0, "feature_matching": 2.0, "mel": 45.0},
    }
    DEFAULT_DISCRIMINATORS: ClassVar[tuple[str, ...]] = ("mpd", "msd")
    TORCH_KEY: ClassVar[str | None] = "generator"  # key of the state_dict in the original's files; None: no key
    # The original's file names for a generator and its discriminators, if they differ from the reference's g_* and do_*.
    TORCH_FILES: ClassVar[tuple[str, str] | None] = None

    @property
    def hop_factors(self) -> dict[str, int]:
        """The keys that determine the hop size, and their factors."""
        raise NotImplementedError

    def mel_problems(self, mel: Mel) -> Iterator[str]:
        """Conflicts between these keys and those of the mel, one line each."""
        hop = math.prod(self.hop_factors.values())
        if hop != mel.hop_size:
            yield f"the product of {' and '.join(self.hop_factors)} is {hop}, but hop_size is {mel.hop_size}: make them equal"

    def module(self) -> "type[nn.Module]":
        """The generator's class. Its fields are num_mels, the keys here, and the options of `build`."""
        raise NotImplementedError

    def build(
        self, mel: Mel, *, folded: bool = False, compute_dtype: ComputeDtype = "float32", rematerialize: bool = False
    ) -> "nn.Module":
        """The generator; with `folded`, for parameters returned by `layers.fold_norms`."""
        from hifigan_jax.models.layers import COMPUTE_DTYPES

        options = dict(folded=folded, compute_dtype=COMPUTE_DTYPES[compute_dtype], rematerialize=rematerialize)
        return self.module()(num_mels=mel.num_mels, **dict(self), **options)

    def onnx(self) -> "Callable[[OnnxGraph, nn.Module, Value], Value] | None":
        """The function that adds `module` to a graph, mel [B, M, F] -> audio [B, 1, T]; None: there is none."""
        return None

    def params_of(self, state_dict: StateDict, mel: Mel) -> dict[str, Any]:
        """Our parameters with weight norm, as numpy arrays, from a PyTorch state_dict. Raises CheckpointError."""
        raise NotImplementedError

    def state_dict_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The inverse of `params_of`, in the order of the original's parameters."""
        raise NotImplementedError


class DiscriminatorConfig(Section):
    """A discriminator's keys. `discriminator_channel_mult` scales the channels of all of them."""

    discriminator_channel_mult: Annotated[Real, Field(gt=0, le=16)] = 1.0

    def training_problems(self, optimization: Optimization) -> Iterator[str]:
        """Conflicts between these keys and those of training, one line each."""
        yield from ()

    def build(self, compute_dtype: ComputeDtype = "float32") -> "list[nn.Module]":
        """The sub-discriminators: modules audio [B, T] -> (score map, feature maps)."""
        raise NotImplementedError

    def params_of(self, state_dict: StateDict) -> dict[str, Any]:
        """Our parameters from the state_dict of the second file of a family's TORCH_FILES. Raises CheckpointError."""
        raise NotImplementedError

    def state_dict_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The inverse of `params_of`, in the order of the original's parameters."""
        raise NotImplementedError
