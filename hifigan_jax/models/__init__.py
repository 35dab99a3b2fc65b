"""Generators and discriminators by name, and how a configuration builds them.

To add a generator: one file here with a module (mel [B, F, M], exists [B, F] or None) -> audio [B, T] that says its hop_size,
context_frames and tile_frames (1 where its convolutions have no tiles), one line in GENERATORS, a JSON. `exists`: see HiFiGAN.
To add a discriminator: one class audio [B, T] -> (score map, feature maps), one line in DISCRIMINATORS.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from hifigan_jax.config import Config
from hifigan_jax.models.discriminators import Discriminator, PeriodDiscriminator, ScaleDiscriminator
from hifigan_jax.models.hifigan import HiFiGAN

GENERATORS = {"hifigan": HiFiGAN}

# name -> the sub-discriminators of the family, given the configuration and their common fields
DISCRIMINATORS = {
    "mpd": lambda config, **fields: [PeriodDiscriminator(period, **fields) for period in config.mpd_periods],
    "msd": lambda config, **fields: [ScaleDiscriminator(pools, spectral=pools == 0, **fields) for pools in (0, 1, 2)],
}

# compute_dtype -> what convolutions are computed in; None: as their inputs come
COMPUTE_DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}


def build_generator(config: Config, folded: bool = False) -> nn.Module:
    """The generator that the configuration names; its fields are the configuration's keys of the same name."""
    module = GENERATORS[config.generator]
    fields = {field.name for field in dataclasses.fields(module)}
    chosen = {key: value for key, value in config if key in fields}
    return module(**chosen | {"folded": folded, "compute_dtype": COMPUTE_DTYPES[config.compute_dtype]})


def build_discriminator(config: Config) -> Discriminator:
    """All sub-discriminators that the configuration names, as one module; their names follow the reference's order."""
    fields = {"channel_mult": config.discriminator_channel_mult, "compute_dtype": COMPUTE_DTYPES[config.compute_dtype]}
    parts = {}
    for family in config.discriminators:
        parts |= {f"{family}_{i}": member for i, member in enumerate(DISCRIMINATORS[family](config, **fields))}
    return Discriminator(parts, config.rematerialize)
