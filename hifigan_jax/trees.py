"""Trees of arrays by the paths of their leaves, and how two of them differ."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of any tree by their paths, "conv_pre/bias"."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def shapes(tree: Any) -> dict[str, str]:
    """The shape of every leaf, in words, by its path."""
    return {name: str(list(np.shape(leaf))) for name, leaf in named_leaves(tree).items()}


def first_difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str | None:
    """The first of the named descriptions that is missing, unexpected or another, in words; None if all are equal."""
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            return f"{name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none')}"
    return None


def shape_difference(tree: Any, expected: Any) -> str | None:
    """The first leaf that is missing, unexpected or of another shape, in words; None if there is none."""
    return first_difference(shapes(tree), shapes(expected))
