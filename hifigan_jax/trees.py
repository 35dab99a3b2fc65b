"""Trees of arrays: their leaves by path, and differences between two trees."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of any tree by path, such as "conv_pre/bias"."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def shapes(tree: Any) -> dict[str, str]:
    """The shape of every leaf as text, by path."""
    return {name: str(list(np.shape(leaf))) for name, leaf in named_leaves(tree).items()}


def first_difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str | None:
    """A text about the first description that is missing, unexpected or different; None if all are equal."""
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            return f"{name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none')}"
    return None


def shape_difference(tree: Any, expected: Any) -> str | None:
    """A text about the first leaf that is missing, unexpected or of another shape; None if there is none."""
    return first_difference(shapes(tree), shapes(expected))


def first_non_finite(leaves: Mapping[str, Any]) -> str | None:
    """The name of the first array that contains NaN or infinity; None if there is none. Reduced on the arrays' own devices."""
    floating = {name: leaf for name, leaf in leaves.items() if jnp.issubdtype(leaf.dtype, jnp.floating)}
    finite = jax.device_get([_is_finite(leaf) for leaf in floating.values()])
    return next((name for name, good in zip(floating, finite, strict=True) if not good), None)


@jax.jit
def _is_finite(leaf: Float[Array, "..."]) -> Bool[Array, ""]:
    return jnp.isfinite(leaf).all()
