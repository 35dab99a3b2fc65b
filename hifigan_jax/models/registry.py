"""All generator families and discriminators by their names in the JSON. No jax here.

To add a generator family, add a folder with a `GeneratorConfig`, a module and a mapping of PyTorch names, a line in GENERATORS, a
JSON in configs/ and a row in docs/models.md. To add a discriminator, add a `DiscriminatorConfig`, a module and a line in
DISCRIMINATORS. docs/architecture.md walks through an example.
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
