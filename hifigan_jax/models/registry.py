"""Every generator family and every discriminator by its name in the JSON. No jax here.

To add a generator family: a folder with a `GeneratorConfig`, its module and its PyTorch names; a line in GENERATORS; a JSON in
configs/; a row in docs/models.md. To add a discriminator: a `DiscriminatorConfig` and its module; a line in DISCRIMINATORS.
docs/architecture.md walks through an example.
"""

from hifigan_jax.models.discriminators.period.config import PeriodDiscriminatorConfig
from hifigan_jax.models.discriminators.scale.config import ScaleDiscriminatorConfig
from hifigan_jax.models.family import DiscriminatorConfig, GeneratorConfig
from hifigan_jax.models.hifigan.config import HiFiGANConfig
from hifigan_jax.models.istftnet.config import ISTFTNetConfig
from hifigan_jax.models.melgan.config import MelGANConfig, MelGANDiscriminatorConfig

GENERATORS: dict[str, type[GeneratorConfig]] = {
    "hifigan": HiFiGANConfig,
    "melgan": MelGANConfig,
    "istftnet": ISTFTNetConfig,
}

DISCRIMINATORS: dict[str, type[DiscriminatorConfig]] = {
    "mpd": PeriodDiscriminatorConfig,
    "msd": ScaleDiscriminatorConfig,
    "melgan": MelGANDiscriminatorConfig,
}
