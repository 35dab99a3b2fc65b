"""Configurations with one wrong key: every key of every family, misspelled, missing, null, negative, huge and of a wrong type.

    python benchmarks/reliability/config_keys.py

Each must be refused before jax is imported, in one line with the key and, for a misspelled one, the right name. The reference's
configurations must be accepted.
"""

import json
import pathlib
import sys
import typing
from collections.abc import Iterator
from typing import Any

sys.path[:0] = [str(pathlib.Path(__file__).parents[2])]

from hifigan_jax.config import load_config, packaged_config, parse_config  # noqa: E402
from hifigan_jax.config.files import packaged_configs  # noqa: E402
from hifigan_jax.config.flat import COMMON, SELECTORS  # noqa: E402
from hifigan_jax.errors import HifiganError  # noqa: E402
from hifigan_jax.models.registry import DISCRIMINATORS, GENERATORS  # noqa: E402

OF_REFERENCE = {"num_gpus": 0, "num_freq": 1025, "dist_config": {"dist_backend": "nccl", "dist_url": "tcp://localhost:54321"}}
# Conflicts between keys, as changes of config_v1.json
CONFLICTS = (
    *({"hop_size": 128}, {"upsample_kernel_sizes": [16, 16, 4]}, {"upsample_kernel_sizes": [16, 6, 4, 4]}, {"win_size": 1025}),
    *({"upsample_initial_channel": 24}, {"resblock_kernel_sizes": [3, 7]}, {"resblock_kernel_sizes": [3, 4, 7]}),
    *({"resblock": "2"}, {"n_fft": 128, "win_size": 128}, {"fmax": 11026}, {"fmax_for_loss": 12000}, {"fmin": 8000}),
    *({"segment_size": 8191}, {"segment_size": 256}, {"accumulation_steps": 3}, {"mpd_periods": [2, 5000]}),
    *({"loss_weights": {"mel": 0, "feature_matching": 0, "adversarial": 0}}, {"discriminator_channel_mult": 0.01}),
)
NAMES_A_FILE_OR_FOLDER = {
    *("input_wavs_dir", "input_mels_dir", "input_mels_convention", "input_mels_statistics", "checkpoint_path"),
    *("input_training_file", "input_validation_file"),
}


def main() -> None:
    bases = {name: parse_config(packaged_config(name).read_text(), name).flat() for name in ("config_v1", "melgan", "istftnet")}
    cases = [(name, key, kind, content) for name, base in bases.items() for key, kind, content in mistakes(base)]
    v1 = bases["config_v1"]
    cases += [("config_v1", next(iter(change)), "conflict", v1 | change) for change in CONFLICTS]
    problems = [problem for case in cases if (problem := problem_of(*case))]
    accepted = 0
    for path in packaged_configs().glob("*.json"):
        content = json.loads(path.read_text())
        parse_config(json.dumps(content | OF_REFERENCE), path)
        load_config(path, purpose="inference")
        accepted += 1
    problems += ["jax was imported"] if "jax" in sys.modules else []

    import common  # sets up jax

    common.result(
        "R18",
        "configurations with a wrong key: refused, key named",
        f"{len(cases):,} of {len(cases):,}",
        f"{len(cases) - len(problems):,} of {len(cases):,}",
        not problems,
        accepted=accepted,
        problems=problems[:50],
    )


def mistakes(base: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every key, what is wrong with it, and the configuration."""
    for key, value in base.items():
        rest = {name: kept for name, kept in base.items() if name != key}
        for typo in {key[:-1], key + "s", key[1:], key.upper() + "_", key.replace("_", "-") + "x"} - {*base}:
            if any(other.startswith(typo) for other in rest):
                continue  # as close to another key
            yield key, f"misspelled {typo}", rest | {typo: value}
        if required(key):
            yield key, "missing", {name: kept for name, kept in rest.items() if name != "mel_convention"}  # which has defaults
        wrong: list[Any] = [{"a": 1}, [[["x"]]]]
        if key not in NAMES_A_FILE_OR_FOLDER:
            wrong.append("x" * 1000)
        if not isinstance(value, bool):
            wrong.append(True)
        if value is not None and not nullable(key):
            wrong.append(None)
        numbers = numeric(value)
        if numbers and key != "mel_mean":
            wrong += [
                with_numbers(value, -1),
                with_numbers(value, 10**12),
                with_numbers(value, "1"),
                with_numbers(value, float("nan")),
            ]
        if isinstance(value, list):
            wrong.append([] if key != "validation_metrics" else [1])
        for bad in wrong:
            yield key, f"{bad!s:.40}", base | {key: bad}


def numeric(value: Any) -> bool:
    """Whether a value is a number, or a list of numbers."""
    if isinstance(value, list):
        return bool(value) and numeric(value[0])
    return isinstance(value, int | float) and not isinstance(value, bool)


def with_numbers(value: Any, new: Any) -> Any:
    """The value with `new` in place of its first number."""
    return [with_numbers(value[0], new), *value[1:]] if isinstance(value, list) else new


def fields(key: str) -> list[Any]:
    """The fields of this name of all sections."""
    sections = (*COMMON.values(), *GENERATORS.values(), *DISCRIMINATORS.values())
    return [section.model_fields[key] for section in sections if key in section.model_fields]


def required(key: str) -> bool:
    """Whether a key has no default."""
    return key not in SELECTORS and any(field.is_required() for field in fields(key)) and key not in ("loss_weights", "gan_loss")


def nullable(key: str) -> bool:
    """Whether a key may be null."""
    return any(type(None) in typing.get_args(field.annotation) for field in fields(key))


def problem_of(name: str, key: str, kind: str, content: dict[str, Any]) -> str:
    """What is wrong with how a configuration is refused; empty if nothing is."""
    try:
        parse_config(json.dumps(content), "x.json")
    except HifiganError as error:
        text = str(error)
        wanted = f"did you mean {key!r}" if kind.startswith("misspelled") else key
        return "" if wanted in text and len(text) < 500 else f"{name}, {key}, {kind}: {text:.300}"
    except Exception as error:
        return f"{name}, {key}, {kind}: {type(error).__name__}: {error!s:.200}"
    return f"{name}, {key}, {kind}: accepted"


if __name__ == "__main__":
    main()
