"""Where a checkpoint of another project may hold the state_dict of its generator.

Projects wrap the same tensors in dictionaries ({"generator": ...}, {"state_dict": ...}) and in prefixes of their names (those of
DistributedDataParallel, torch.compile, Lightning). One rule covers both: nested dictionaries are joined to dotted names, and the
tensors under any prefix are a candidate. The family decides which candidate is its generator.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

GENERATOR_KEYS = ("generator", "model_g")  # preferred, as a checkpoint may also contain averaged or older weights
Candidate = tuple[str, dict[str, np.ndarray]]
_DEPTH = 4  # of dictionaries around the state_dict, and of names in a prefix
_COMPILED = "_orig_mod."  # torch.compile can also wrap a part of a model


def state_dicts(content: Any) -> list[Candidate]:
    """The candidates in a file, the likeliest first: the prefix ("" or ending with a dot) and the tensors under it."""
    candidates: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in _named_tensors(content, "", _DEPTH + 1):
        name = name.replace(_COMPILED, "")
        start = 0
        for _ in range(_DEPTH + 1):
            candidates.setdefault(name[:start], {})[name[start:]] = tensor
            start = name.find(".", start) + 1
            if not start:
                break
    return sorted(candidates.items(), key=lambda item: _rank(item[0]))


def is_preferred(prefix: str) -> bool:
    """Whether the tensors under a prefix are called a generator."""
    return any(key in prefix.split(".") for key in GENERATOR_KEYS)


def _rank(prefix: str) -> tuple[bool, int]:
    return not is_preferred(prefix), prefix.count(".")


def _named_tensors(node: Any, prefix: str, depth: int) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(node, Mapping) and depth:
        for key, child in node.items():
            if isinstance(key, str) and isinstance(child, np.ndarray):
                yield prefix + key, child
            elif isinstance(key, str):
                yield from _named_tensors(child, f"{prefix}{key}.", depth - 1)
