"""Publication of a generator on the Hugging Face Hub: the weights, their configuration and a model card."""

import re
import tempfile
from pathlib import Path

import jax
import numpy as np

from hifigan_jax import checkpoint
from hifigan_jax.config import Config, Data, Run
from hifigan_jax.config.flat import default_of, name_of
from hifigan_jax.errors import UsageError
from hifigan_jax.loading import load_generator
from hifigan_jax.models.registry import GENERATORS
from hifigan_jax.weights import hub
from hifigan_jax.weights.safetensors_file import write_safetensors


def publish(
    source: str | Path,
    target: str,
    config: str | Path | None = None,
    license_name: str | None = None,
    private: bool = False,
    message: str | None = None,
) -> str:
    """Uploads the generator at `source`, anything that `load_generator` accepts, to hf://OWNER/NAME[@BRANCH].

    Returns the address of the commit. `license_name` is the Hub's identifier of a license. Raises UsageError, CheckpointError.
    """
    place = hub.parse(target)
    if license_name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license_name):
        raise UsageError(f"--license {license_name}: expected an identifier as the Hub lists them, for example mit or cc-by-4.0")
    generator = load_generator(source, config)
    local = (*Data.model_fields, *Run.model_fields)  # paths of this machine stay private
    shared = generator.config.replace({key: default_of(key) for key in local})
    step = trained_steps(Path(generator.source))
    parameters = sum(np.size(leaf) for leaf in jax.tree.leaves(generator.params))
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in (hub.WEIGHTS, hub.CONFIG, hub.CARD)}
        write_safetensors(files[hub.WEIGHTS], shared.generator.state_dict_of(generator.params), shared.to_json())
        files[hub.CONFIG].write_text(shared.to_json(), encoding="utf-8")
        files[hub.CARD].write_text(model_card(place, shared, parameters, step, license_name), encoding="utf-8")
        return hub.upload(target, files, private, message or default_message(step))


def trained_steps(source: Path) -> int | None:
    """The number of steps that a checkpoint, or a g_* file of the reference, was trained for; None if it is not known."""
    if (source / "manifest.json").is_file():
        return checkpoint.read_manifest(source).step or None
    match = re.fullmatch(r"g_(\d{8,})", source.name)
    return int(match[1]) + 1 if match else None  # Reference: saves after the update, and counts from 0


def default_message(step: int | None) -> str:
    """The message of a commit."""
    return "Upload the generator" + (f" after {step:,} steps" if step else "")


def model_card(place: hub.Place, config: Config, parameters: int, step: int | None, license_name: str | None) -> str:
    """README.md for the Hub, with its metadata. Without a license there, the Hub shows none."""
    family = name_of(config.generator, GENERATORS)
    metadata = [f"license: {license_name}"] if license_name else []
    metadata += ["library_name: hifigan-jax", "pipeline_tag: audio-to-audio"]
    metadata += ["tags:", *(f"- {tag}" for tag in ("vocoder", family, "speech", "jax"))]
    mel, convention = config.mel, config.mel.convention
    rows = {
        "Generator": family,
        "Parameters": f"{parameters:,}",
        "Training steps": f"{step:,}" if step else "not recorded",
        "Sampling rate": f"{mel.sampling_rate:,} Hz",
        "Mel bins": mel.num_mels,
        "Frequencies": f"{mel.fmin:g} to {mel.sampling_rate / 2 if mel.fmax is None else mel.fmax:g} Hz",
        "FFT, window, hop": f"{mel.n_fft}, {mel.win_size}, {mel.hop_size} samples",
        "Mel convention": f"{mel.mel_convention}: logarithm to base {convention.log_base} of at least {convention.floor:g}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return _CARD.format(metadata="\n".join(metadata), name=place.repository.rpartition("/")[2], place=place, table=table)


_CARD = """---
{metadata}
---

# {name}

A vocoder for hifigan_jax: it turns log-mel spectrograms into speech.

```python
from hifigan_jax import Vocoder  # pip install "hifigan-jax[hub]"

vocoder = Vocoder.from_pretrained("{place}")
mel = vocoder.mel(audio)      # (T,) at vocoder.sampling_rate -> (bins, frames)
audio = vocoder.decode(mel)   # (bins, frames) -> (frames * vocoder.hop_size,), float32
```

| | |
|---|---|
{table}

`model.safetensors` contains the tensors under the names of the original PyTorch code, with weight norm, and the configuration in
its metadata; `config.json` is the same configuration.
"""
