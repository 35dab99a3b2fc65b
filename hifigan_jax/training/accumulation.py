"""Gradient accumulation: gradients of a full batch at the memory of one micro-batch.

Every loss is a mean over rows, so the loss and gradient of a batch are the means over its equal micro-batches. Results that do
not depend on the rows (the power iteration of spectral norm) are the same in every micro-batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Tree = Any


def gradient_of_parameters(loss: Callable, parts: int) -> Callable[..., tuple[Tree, Tree]]:
    """`jax.value_and_grad(loss, has_aux=True)` of loss(params, *rows) -> (value, aux), over `parts` micro-batches."""
    value_and_grad = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        return value_and_grad

    def accumulated(params, *rows):
        total, values = _summed(lambda *part: value_and_grad(params, *part)[::-1], params, parts, rows)
        return _mean(values), jax.tree.map(lambda leaf: leaf / parts, total)

    return accumulated


def gradient_of_rows(loss: Callable, parts: int) -> Callable[..., tuple[Tree, Tree]]:
    """The same for loss(rows, *more_rows), with respect to `rows`."""
    value_and_grad = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        return value_and_grad

    def accumulated(*rows):
        values, gradient = jax.lax.map(lambda part: value_and_grad(*part), _split(rows, parts))
        return _mean(values), _joined(gradient) / parts

    return accumulated


def vjp_of_parameters(function: Callable, params: Tree, rows: jax.Array, parts: int) -> tuple[jax.Array, Callable]:
    """`jax.vjp` of function(params, rows) -> rows with respect to `params`, over `parts` micro-batches.

    With several micro-batches, no activations are kept between the two passes: the pull-back recomputes them.
    """
    if parts == 1:
        output, pull_back = jax.vjp(lambda params: function(params, rows), params)
        return output, lambda cotangent: pull_back(cotangent)[0]

    def pull_back_part(part, cotangent):
        return jax.vjp(lambda params: function(params, part), params)[1](cotangent)[0], ()

    output = _joined(jax.lax.map(lambda part: function(params, part), _split(rows, parts)))
    return output, lambda cotangent: _summed(pull_back_part, params, parts, (rows, cotangent))[0]


def _summed(function, like, parts, rows):
    """The sum over parts of the first result of `function`, a tree like `like`, and its second results, stacked."""

    def add(total, part):
        summand, rest = function(*part)
        return jax.tree.map(jnp.add, total, summand), rest

    return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, like), _split(rows, parts))


def _mean(stacked: Tree) -> Tree:
    """Means over the leading axis; the mean of equal values is bit for bit that value."""
    return jax.tree.map(lambda leaf: leaf[0] + jnp.mean(leaf - leaf[:1], axis=0), stacked)


def _split(rows: Tree, parts: int) -> Tree:
    return jax.tree.map(lambda leaf: leaf.reshape(parts, -1, *leaf.shape[1:]), rows)


def _joined(stacked: jax.Array) -> jax.Array:
    return stacked.reshape(-1, *stacked.shape[2:])
