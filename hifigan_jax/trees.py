"""Trees of arrays: their leaves by path, and differences between two trees."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


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
