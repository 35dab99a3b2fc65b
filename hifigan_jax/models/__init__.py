"""Generators and discriminators by name, and how a configuration builds them.

To add a generator: one file here with a module mel [B, F, M] -> audio [B, T], one line in GENERATORS, a JSON.
To add a discriminator: one class audio [B, T] -> (score map, feature maps), one line in DISCRIMINATORS.
"""

import dataclasses

import flax.linen as nn

from hifigan_jax.config import Config
from hifigan_jax.models.discriminators import Discriminator, PeriodDiscriminator, ScaleDiscriminator
from hifigan_jax.models.hifigan import HiFiGAN

GENERATORS = {"hifigan": HiFiGAN}

# name -> the sub-discriminators of the family, for a channel multiplier
DISCRIMINATORS = {
    "mpd": lambda mult: [PeriodDiscriminator(period, mult) for period in (2, 3, 5, 7, 11)],
    "msd": lambda mult: [ScaleDiscriminator(pools, spectral=pools == 0, channel_mult=mult) for pools in (0, 1, 2)],
}


def build_generator(config: Config, folded: bool = False) -> nn.Module:
    """The generator that the configuration names; its fields are the configuration's keys of the same name."""
    module = GENERATORS[config.generator]
    fields = {field.name for field in dataclasses.fields(module)}
    return module(**{key: value for key, value in config if key in fields}, folded=folded)


def build_discriminator(config: Config) -> Discriminator:
    """All sub-discriminators that the configuration names, as one module; their names follow the reference's order."""
    parts = {}
    for family in config.discriminators:
        members = DISCRIMINATORS[family](config.discriminator_channel_mult)
        parts |= {f"{family}_{i}": member for i, member in enumerate(members)}
    return Discriminator(parts, config.rematerialize)
