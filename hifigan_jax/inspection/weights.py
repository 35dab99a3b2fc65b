"""Descriptions of files of weights: PyTorch, safetensors, and the discriminators of the reference."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_jax.inspection.description import Description, Fact, command, plural
from hifigan_jax.inspection.mels import describe_array
from hifigan_jax.inspection.models import facts_of
from hifigan_jax.weights.pretrained import PRETRAINED
from hifigan_jax.weights.safetensors_file import is_safetensors


def describe_weights(path: Path, config: str | Path | None = None) -> Description:
    """A file of weights, loaded as infer does. Raises CheckpointError, UsageError."""
    from hifigan_jax.generator_file import from_content, read_weights  # imports jax

    content, embedded = read_weights(path)
    if isinstance(content, np.ndarray):
        return describe_array(content, path, is_npy=False)
    if isinstance(content, Mapping) and ({"mpd", "msd"} <= content.keys() or "optim_g" in content):
        return _discriminators(content, path)
    generator = from_content(content, embedded, path, config)
    steps = re.fullmatch(r"g_(\d{8,})", path.name)
    found = content if isinstance(content, Mapping) else {}
    step = int(steps[1]) if steps else next((found[key] for key in ("steps", "step") if isinstance(found.get(key), int)), None)
    facts = [
        Fact("format", "safetensors" if is_safetensors(path) else "PyTorch"),
        *facts_of(generator.config),
        *parameter_facts(generator.params),
        *([] if step is None else [Fact("step", step, f"{step:,}")]),
        *_origin(path),
    ]
    flags = ["--config", config] if config else []
    use = command("infer", "--checkpoint_file", path, "--input_wavs_dir", "DIR", *flags)
    return Description("generator", facts, problems_of(generator.params), use)


def parameter_facts(params: Any) -> list[Fact]:
    """How many parameters there are after weight norm has been folded into the kernels, as publications count them."""
    from hifigan_jax.evaluation.model_facts import parameters

    return [Fact("parameters", count := parameters(params), f"{count / 1e6:.2f} million")]


def problems_of(params: Any) -> list[str]:
    """Values with which synthesis fails."""
    from hifigan_jax.trees import named_leaves

    bad = [name for name, leaf in named_leaves(params).items() if not np.isfinite(leaf).all()]
    return (
        [f"{plural(len(bad), 'tensor')} with NaN or infinite values, the first {bad[0]}: use another checkpoint"] if bad else []
    )


def _discriminators(content: Mapping[str, Any], path: Path) -> Description:
    generator = path.with_name(f"g_{path.name.removeprefix('do_')}")
    facts = [Fact("format", "PyTorch"), Fact("contains", sorted(map(str, content)), ", ".join(sorted(map(str, content))))]
    facts += [Fact(key, content[key]) for key in ("steps", "epoch") if isinstance(content.get(key), int)]
    problems = []
    if not (path.name.startswith("do_") and generator.is_file()):
        problems.append(f"to resume, the g_* file of the same step has to be beside it ({generator.name})")
    else:
        facts.append(Fact("generator", str(generator)))
    use = command("train", "--config", path.parent / "config.json", "--checkpoint_path", path.parent)
    return Description("discriminators and optimizers of the reference", facts, problems, None if problems else use)


def _origin(path: Path) -> list[Fact]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [Fact("known as", name, f"{name}, {model.about}") for name, model in PRETRAINED.items() if model.sha256 == digest]
