"""The number of floating-point operations of a model, counted in the traced program of its forward pass.

Convolutions (in their direct form on all platforms) and matrix products count. Biases and activations do not; they are less than
one percent. A compiler's own count depends on the form: it includes products with padded zeros and excludes saved products.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from hifigan_jax.config import Config
from hifigan_jax.models.convolution import conv1d_p, conv_transpose1d
from hifigan_jax.models.discriminators.combined import build_discriminator
from hifigan_jax.models.generator import Conditions


def generator_flops(config: Config, frames: int, rows: int = 1) -> int:
    """Operations for the synthesis of `rows` mels of `frames` frames."""
    conditions = Conditions(jnp.zeros((rows, frames, config.mel.num_mels)))
    return _total(products(config.generator.build(config.mel), conditions))


def discriminator_flops(config: Config, samples: int, rows: int = 1) -> int:
    """Operations of all discriminators for `rows` utterances of `samples` samples."""
    return _total(products(build_discriminator(config.discriminators), jnp.zeros((rows, samples))))


def training_step_flops(config: Config) -> int:
    """Operations of one training step on the entire batch.

    A backward pass costs as much as the forward pass for the inputs, and the same again for the weights. The generator has one
    forward and one backward pass. The discriminator has both on real and on fake audio for its own update, then forward passes on
    both and a backward pass to the fake samples only.
    """
    options = config.optimization
    generator = generator_flops(config, options.segment_size // config.mel.hop_size, options.batch_size)
    discriminator = discriminator_flops(config, options.segment_size, options.batch_size)
    return 3 * generator + 9 * discriminator


class Product(NamedTuple):
    """One convolution or matrix product of a program."""

    layer: str  # path of its module
    function: str  # conv1d, conv_transpose1d, or XLA's conv_general_dilated or dot_general
    operands: tuple[tuple[int, ...], ...]  # shapes
    options: tuple[tuple[str, int], ...]  # keyword arguments of conv1d or conv_transpose1d
    operations: int


def products(module: nn.Module, example: Any) -> list[Product]:
    """The products of one forward pass of `module` on an input with the shapes of `example`, in program order."""
    variables = jax.eval_shape(module.init, jax.random.key(0), example)
    return list(_products(jax.make_jaxpr(module.apply)(variables, example).jaxpr))


def _total(products: Iterable[Product]) -> int:
    return sum(product.operations for product in products)


def _products(program: Jaxpr, scope: str = "") -> Iterator[Product]:
    for equation in program.eqns:
        layer = f"{scope}/{equation.source_info.name_stack}".strip("/")
        if counted := _counted(equation):
            function, options, operations = counted
            operands = tuple(operand.aval.shape for operand in equation.invars)
            yield Product(layer, function, operands, tuple(options.items()), operations)
        else:
            for product in _inner(equation, layer):
                yield product._replace(operations=_times(equation) * product.operations)


def _counted(equation: JaxprEqn) -> tuple[str, dict[str, int], int] | None:
    """Function, options and operations of an equation that is a product; None for other equations."""
    name, params = equation.primitive.name, equation.params
    shapes = [operand.aval.shape for operand in (*equation.invars, *equation.outvars)]
    if name == "jit" and params["name"] == conv_transpose1d.__name__:  # every input is multiplied by every tap
        x, kernel, y = shapes
        return params["name"], {"stride": y[1] // x[1]}, 2 * math.prod(x[:2]) * math.prod(kernel)
    if name == conv1d_p.name:
        _, kernel, y = shapes
        return name, params, 2 * math.prod(y) * math.prod(kernel[:2])
    if name == "conv_general_dilated":
        _, kernel, y = shapes
        outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
        return name, {}, 2 * math.prod(y) * math.prod(kernel) // outputs
    if name == "dot_general":
        x, _, y = shapes
        (contracted, _), _ = params["dimension_numbers"]
        return name, {}, 2 * math.prod(y) * math.prod(x[axis] for axis in contracted)
    return None


def _inner(equation: JaxprEqn, layer: str) -> list[Product]:
    """The products of an equation's inner programs; of several branches, those of the most expensive one."""
    parts = [list(_products(program, layer)) for program in jaxprs_in_params(equation.params)]
    if equation.primitive.name == "cond":
        return max(parts, key=_total)
    found = list(itertools.chain(*parts))
    if found and equation.primitive.name == "while":
        raise ValueError(f"{layer}: products in a while loop cannot be counted: use lax.scan")
    return found


def _times(equation: JaxprEqn) -> int:
    """The number of runs of an equation's inner programs, on all devices together."""
    if equation.primitive.name == "scan":
        return equation.params["length"]
    return equation.params["mesh"].size if equation.primitive.name == "shard_map" else 1
