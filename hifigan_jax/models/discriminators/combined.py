"""All discriminators of a run as one module.

A discriminator is a linen module audio [B, T] -> (score map, feature maps), whose arrays have the rows of one utterance side by
side in their leading axis. One for which it matters that audio of two kinds, real and generated, comes in one batch (spectral
norm iterates once for each) also has a method `together(*batches)`, one output for each of the batches.
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifigan_jax.config.sections import ComputeDtype
from hifigan_jax.models.family import DiscriminatorConfig

PartOutput = tuple[Array, tuple[Array, ...]]  # score map, feature maps


class DiscriminatorOutput(NamedTuple):
    """What all sub-discriminators give for a batch: one score map and one tuple of feature maps each."""

    scores: tuple[Float[Array, "..."], ...]
    features: tuple[tuple[Float[Array, "..."], ...], ...]


class Discriminator(nn.Module):
    """Several sub-discriminators as one module, by name.

    With `rematerialize`, a backward pass keeps of each part what it returns and recomputes the rest.
    """

    parts: Mapping[str, nn.Module]
    rematerialize: bool = False

    @nn.compact
    def __call__(self, *batches: Float[Array, "B T"]) -> tuple[DiscriminatorOutput, ...]:
        """One output for each of the batches, which go through every part in one pass."""

        def together(part, *batches):
            return part.together(*batches) if hasattr(part, "together") else split(part(joined(batches)), len(batches))

        discriminate = nn.remat(together) if self.rematerialize else together
        outputs = [discriminate(part.copy(name=name), *batches) for name, part in self.parts.items()]
        return tuple(DiscriminatorOutput(*zip(*of_batch, strict=True)) for of_batch in zip(*outputs, strict=True))


def build_discriminator(
    sections: Mapping[str, DiscriminatorConfig], compute_dtype: ComputeDtype = "float32", rematerialize: bool = False
) -> Discriminator:
    """The sub-discriminators of all sections, which are given by their names in the registry, as one module."""
    parts = {}
    for name, section in sections.items():
        parts |= {f"{name}_{i}": part for i, part in enumerate(section.build(compute_dtype))}
    return Discriminator(parts, rematerialize)


def joined(batches: tuple[Float[Array, "B T"], ...]) -> Float[Array, "B_all T"]:
    """Several batches as one."""
    return batches[0] if len(batches) == 1 else jnp.concatenate(batches)


def split(output: PartOutput, count: int) -> list[PartOutput]:
    """The outputs for each of `count` equal batches that went through a part as one."""

    def part_of(i):
        return jax.tree.map(lambda x: x[i * x.shape[0] // count : (i + 1) * x.shape[0] // count], output)

    return [output] if count == 1 else [part_of(i) for i in range(count)]
