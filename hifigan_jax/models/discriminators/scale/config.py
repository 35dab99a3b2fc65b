"""The multi-scale discriminator's keys."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hifigan_jax.config.sections import ComputeDtype
from hifigan_jax.models.family import DiscriminatorConfig

if TYPE_CHECKING:
    from hifigan_jax.models.discriminators.scale.discriminator import ScaleDiscriminator


class ScaleDiscriminatorConfig(DiscriminatorConfig):
    """MSD (Kong et al. 2020): audio at full, half and quarter rate; the first scale has spectral norm."""

    def problems(self) -> Iterator[str]:
        """Channels that are not divisible by the groups."""
        if (128 * self.discriminator_channel_mult) % 16:
            yield "discriminator_channel_mult must be a multiple of 1/8: MSD's narrowest layer has 128 channels in 16 groups"

    def build(self, compute_dtype: ComputeDtype = "float32") -> "list[ScaleDiscriminator]":
        """One module per scale."""
        from hifigan_jax.models.discriminators.scale.discriminator import ScaleDiscriminator
        from hifigan_jax.models.layers import COMPUTE_DTYPES

        dtype = COMPUTE_DTYPES[compute_dtype]
        return [ScaleDiscriminator(pools, pools == 0, self.discriminator_channel_mult, dtype) for pools in (0, 1, 2)]
