"""Gradients of a batch from its micro-batches, one after another: the memory of one, the result of all.

Every loss here is a mean over rows, so a batch's loss and gradient are the means of its equal parts'. Whatever does not depend on
the rows (the power iteration of spectral norm) starts from the same values in each part and comes out the same: once for all.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Tree = Any


def gradient_of_parameters(loss: Callable, parts: int) -> Callable[..., tuple[Tree, Tree]]:
    """`jax.value_and_grad(loss, has_aux=True)` of loss(params, *rows) -> (value, aux), by `parts` micro-batches."""
    whole = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        return whole

    def accumulated(params, *rows):
        total, values = _summed(lambda *part: whole(params, *part)[::-1], params, parts, rows)
        return _mean(values), jax.tree.map(lambda leaf: leaf / parts, total)

    return accumulated


def gradient_of_rows(loss: Callable, parts: int) -> Callable[..., tuple[Tree, Tree]]:
    """The same of loss(rows, *more_rows), with respect to `rows`."""
    whole = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        return whole

    def accumulated(*rows):
        values, gradient = jax.lax.map(lambda part: whole(*part), _cut(rows, parts))
        return _mean(values), _joined(gradient) / parts

    return accumulated


def vjp_of_parameters(function: Callable, params: Tree, rows: jax.Array, parts: int) -> tuple[jax.Array, Callable]:
    """`jax.vjp` of function(params, rows) -> rows with respect to `params`, by `parts` micro-batches.

    With more than one, no activations are kept between the two passes: the pull-back computes each part's anew.
    """
    if parts == 1:
        output, pull_back = jax.vjp(lambda params: function(params, rows), params)
        return output, lambda cotangent: pull_back(cotangent)[0]

    def pull_back_part(part, cotangent):
        return jax.vjp(lambda params: function(params, part), params)[1](cotangent)[0], ()

    output = _joined(jax.lax.map(lambda part: function(params, part), _cut(rows, parts)))
    return output, lambda cotangent: _summed(pull_back_part, params, parts, (rows, cotangent))[0]


def _summed(function, like, parts, rows):
    """The sum over parts of what `function` returns first, a tree `like` another, and all that it returns second, stacked."""

    def add(total, part):
        summand, rest = function(*part)
        return jax.tree.map(jnp.add, total, summand), rest

    return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, like), _cut(rows, parts))


def _mean(stacked: Tree) -> Tree:
    """Means over the leading axis; values that are equal stay what they are to the last bit."""
    return jax.tree.map(lambda leaf: leaf[0] + jnp.mean(leaf - leaf[:1], axis=0), stacked)


def _cut(rows: Tree, parts: int) -> Tree:
    return jax.tree.map(lambda leaf: leaf.reshape(parts, -1, *leaf.shape[1:]), rows)


def _joined(stacked: jax.Array) -> jax.Array:
    return stacked.reshape(-1, *stacked.shape[2:])
