"""All discriminators of a run as one module.

A discriminator is a linen module audio [B, T] -> (score map, feature maps). If its arrays have several rows per utterance, these
are adjacent in the leading axis. A discriminator that must distinguish real from generated audio in one batch (spectral norm runs
one power iteration for each) also has a method `together(*batches)`, which returns one output per batch.
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
    """The outputs of all sub-discriminators for a batch: one score map and one tuple of feature maps each."""

    scores: tuple[Float[Array, "..."], ...]
    features: tuple[tuple[Float[Array, "..."], ...], ...]


class Discriminator(nn.Module):
    """Several sub-discriminators, by name, as one module.

    With `rematerialize`, only the outputs of each sub-discriminator are kept for the backward pass; the rest is recomputed.
    """

    parts: Mapping[str, nn.Module]
    rematerialize: bool = False

    @nn.compact
    def __call__(self, *batches: Float[Array, "B T"]) -> tuple[DiscriminatorOutput, ...]:
        """One output per batch. All batches go through each sub-discriminator in one pass."""

        def together(part, *batches):
            return part.together(*batches) if hasattr(part, "together") else split(part(concatenated(batches)), len(batches))

        discriminate = nn.remat(together) if self.rematerialize else together
        outputs = [discriminate(part.copy(name=name), *batches) for name, part in self.parts.items()]
        return tuple(DiscriminatorOutput(*zip(*of_batch, strict=True)) for of_batch in zip(*outputs, strict=True))


def build_discriminator(
    sections: Mapping[str, DiscriminatorConfig], compute_dtype: ComputeDtype = "float32", rematerialize: bool = False
) -> Discriminator:
    """The sub-discriminators of all sections, given by their names in the registry, as one module."""
    parts = {}
    for name, section in sections.items():
        parts |= {f"{name}_{i}": part for i, part in enumerate(section.build(compute_dtype))}
    return Discriminator(parts, rematerialize)


def concatenated(batches: tuple[Float[Array, "B T"], ...]) -> Float[Array, "B_all T"]:
    """The batches as one."""
    return batches[0] if len(batches) == 1 else jnp.concatenate(batches)


def split(output: PartOutput, count: int) -> list[PartOutput]:
    """The outputs for each of `count` equal batches, from the output for all of them concatenated."""

    def part_of(i):
        return jax.tree.map(lambda x: x[i * x.shape[0] // count : (i + 1) * x.shape[0] // count], output)

    return [output] if count == 1 else [part_of(i) for i in range(count)]
