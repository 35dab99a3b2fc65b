"""Losses: terms without weights, one pure function each. The configuration selects the terms that a run minimizes.

Score maps and feature maps are arrays of any shape. Every term is a mean over each map, summed over maps. The functions only use
methods of arrays, so that configurations can be checked against the names here without importing jax.

To add a loss: a function of a `Comparison` and a line in TERMS. To add a GAN loss: two functions and a line in GAN_LOSSES.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Array = Any
Scores = Sequence[Array]  # one score map per sub-discriminator
Features = Sequence[Sequence[Array]]  # the feature maps of every sub-discriminator


class GanLoss(NamedTuple):
    """The adversarial losses of both networks."""

    discriminator: Callable[[Scores, Scores], Array]  # (scores of real audio, of generated audio) -> loss
    generator: Callable[[Scores], Array]  # scores of generated audio -> loss


class Comparison(NamedTuple):
    """The inputs of the generator's loss terms for a batch."""

    real: Array  # [B, T]
    fake: Array  # [B, T]
    on_real: Any  # models.discriminators.DiscriminatorOutput
    on_fake: Any
    gan_loss: GanLoss
    log_mel: Callable[[Array], Array]  # [B, T] -> [B, F, M], up to fmax_for_loss


class Term(NamedTuple):
    """A term of the generator's loss and its names in logs."""

    function: Callable[[Comparison], Array]
    adversarial: bool  # whether it needs the discriminators and starts at adversarial_from_step
    tag: str  # in TensorBoard and metrics.jsonl
    label: str | None = None  # on stdout; None: not printed


def least_squares_discriminator(real: Scores, fake: Scores) -> Array:
    """Sum over sub-discriminators of mean (1 - D(x))^2 + mean D(G(s))^2 (Kong et al. 2020, equation 1)."""
    return sum(((1 - r) ** 2).mean() + (f**2).mean() for r, f in zip(real, fake, strict=True))


def least_squares_generator(fake: Scores) -> Array:
    """Sum over sub-discriminators of mean (1 - D(G(s)))^2 (Kong et al. 2020, equation 2)."""
    return sum(((1 - f) ** 2).mean() for f in fake)


def hinge_discriminator(real: Scores, fake: Scores) -> Array:
    """Sum over sub-discriminators of mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(s))) (Kumar et al. 2019, equation 1)."""
    return sum((1 - r).clip(min=0).mean() + (1 + f).clip(min=0).mean() for r, f in zip(real, fake, strict=True))


def hinge_generator(fake: Scores) -> Array:
    """Sum over sub-discriminators of mean -D(G(s)) (Kumar et al. 2019, equation 2)."""
    return sum(-f.mean() for f in fake)


GAN_LOSSES = {
    "least_squares": GanLoss(least_squares_discriminator, least_squares_generator),
    "hinge": GanLoss(hinge_discriminator, hinge_generator),
}


def feature_matching_loss(real: Features, fake: Features) -> Array:
    """Sum over all layers of all sub-discriminators of the mean |real - fake| (Kong et al. 2020, equation 4)."""
    return sum(mean_absolute_difference(r, f) for rs, fs in zip(real, fake, strict=True) for r, f in zip(rs, fs, strict=True))


def mean_absolute_difference(real: Array, fake: Array) -> Array:
    """Mean |real - fake|. For log-mels, this is the mel loss (Kong et al. 2020, equation 3)."""
    return abs(real - fake).mean()


TERMS = {
    "adversarial": Term(lambda c: c.gan_loss.generator(c.on_fake.scores), adversarial=True, tag="training/gen_loss_adversarial"),
    "feature_matching": Term(
        lambda c: feature_matching_loss(c.on_real.features, c.on_fake.features),
        adversarial=True,
        tag="training/gen_loss_feature_matching",
    ),
    "mel": Term(
        lambda c: mean_absolute_difference(c.log_mel(c.real), c.log_mel(c.fake)),
        adversarial=False,
        tag="training/mel_spec_error",
        label="Mel-Spec. Error",
    ),
}
