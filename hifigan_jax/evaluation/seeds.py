"""A fixed seed for packages that draw from numpy's global generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def numpy_seeded(seed: int = 0) -> Iterator[None]:
    """Seeds numpy's global generator for the block, then restores it, so that a value depends on its files only."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
