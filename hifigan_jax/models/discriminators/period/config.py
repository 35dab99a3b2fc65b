"""The multi-period discriminator's keys."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hifigan_jax.config.sections import ComputeDtype, Optimization, Sizes
from hifigan_jax.models.family import DiscriminatorConfig

if TYPE_CHECKING:
    from hifigan_jax.models.discriminators.period.discriminator import PeriodDiscriminator


class PeriodDiscriminatorConfig(DiscriminatorConfig):
    """MPD (Kong et al. 2020): one sub-discriminator per period."""

    mpd_periods: Sizes = (2, 3, 5, 7, 11)

    ALSO_CALLED = {"discriminator_periods": "mpd_periods", "periods": "mpd_periods"}

    def problems(self) -> Iterator[str]:
        """A narrowest layer without channels."""
        if 32 * self.discriminator_channel_mult < 1:
            yield "discriminator_channel_mult must be at least 1/32: MPD's narrowest layer has 32 channels"

    def training_problems(self, optimization: Optimization) -> Iterator[str]:
        """A period that does not fit twice into a segment."""
        longest = max(self.mpd_periods)
        if longest > optimization.segment_size // 2:
            yield f"mpd_periods: period {longest} is longer than half of segment_size {optimization.segment_size}: remove it"

    def build(self, compute_dtype: ComputeDtype = "float32") -> "list[PeriodDiscriminator]":
        """One module per period."""
        from hifigan_jax.models.discriminators.period.discriminator import PeriodDiscriminator
        from hifigan_jax.models.layers import COMPUTE_DTYPES

        dtype = COMPUTE_DTYPES[compute_dtype]
        return [PeriodDiscriminator(period, self.discriminator_channel_mult, dtype) for period in self.mpd_periods]
