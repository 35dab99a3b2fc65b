"""The losses of HiFi-GAN (Kong et al. 2020, section 2.4), one pure function each, as raw terms without weights.

A score map or feature map may have any shape; every term is a mean over one map, summed over maps.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

Scores = Sequence[Float[Array, "..."]]
Features = Sequence[Sequence[Float[Array, "..."]]]


def discriminator_loss(real: Scores, fake: Scores) -> Float[Array, ""]:
    """Sum over sub-discriminators of mean (1 - D(x))^2 + mean D(G(s))^2 (equation 1, least squares)."""
    return sum(jnp.mean((1 - r) ** 2) + jnp.mean(f**2) for r, f in zip(real, fake, strict=True))


def adversarial_loss(fake: Scores) -> Float[Array, ""]:
    """Sum over sub-discriminators of mean (1 - D(G(s)))^2 (equation 2)."""
    return sum(jnp.mean((1 - f) ** 2) for f in fake)


def feature_matching_loss(real: Features, fake: Features) -> Float[Array, ""]:
    """Sum over all layers of all sub-discriminators of the mean |real - fake| (equation 4)."""
    return sum(mean_absolute_difference(r, f) for rs, fs in zip(real, fake, strict=True) for r, f in zip(rs, fs, strict=True))


def mean_absolute_difference(real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Mean |real - fake|; of two log-mels, the mel loss (equation 3)."""
    return jnp.mean(jnp.abs(real - fake))
