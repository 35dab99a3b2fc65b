"""The configuration: one flat JSON, the reference's keys and ours, validated before jax is imported.

A flag beats the JSON, the JSON beats the default. Keys that name a model or a mel have no default: a checkpoint means nothing
without them.
"""

import difflib
import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from hifigan_jax.errors import DiskError, UsageError

logger = logging.getLogger(__name__)

Count = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
Index = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Switch = Annotated[bool, Field(strict=True)]

# Keys of the reference's JSONs that decide nothing here: devices are found, and the number of frequencies follows from n_fft.
IGNORED_KEYS = ("num_gpus", "num_freq", "dist_config")
# Inputs in a JSON are relative to the JSON, as its author sees them; flags are relative to the working folder.
INPUT_PATHS = ("input_wavs_dir", "input_mels_dir", "input_training_file", "input_validation_file")
LOSS_WEIGHTS = {"adversarial": 1.0, "feature_matching": 2.0, "mel": 45.0}


class Config(pydantic.BaseModel):
    """A validated, immutable configuration. Frequencies in Hz, sizes in samples, intervals in steps."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    # Generator (the reference's names)
    generator: Literal["hifigan"] = "hifigan"
    resblock: Literal["1", "2"]
    upsample_rates: Annotated[tuple[Count, ...], Field(min_length=1)]
    upsample_kernel_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    upsample_initial_channel: Count
    resblock_kernel_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    resblock_dilation_sizes: Annotated[tuple[tuple[Count, ...], ...], Field(min_length=1)]

    # Mel
    sampling_rate: Count
    num_mels: Count
    n_fft: Count
    win_size: Count
    hop_size: Count
    fmin: Annotated[Real, Field(ge=0)]
    fmax: Annotated[Real, Field(gt=0)] | None
    fmax_for_loss: Annotated[Real, Field(gt=0)] | None = None

    # Discriminators
    discriminators: Annotated[tuple[Literal["mpd", "msd"], ...], Field(min_length=1)] = ("mpd", "msd")
    mpd_periods: Annotated[tuple[Count, ...], Field(min_length=1)] = (2, 3, 5, 7, 11)
    discriminator_channel_mult: Annotated[Real, Field(gt=0, le=16)] = 1.0

    # What convolutions are computed in; parameters, norms, spectra, losses and optimizers are float32 always
    compute_dtype: Literal["float32", "bfloat16"] = "float32"

    # Optimisation
    batch_size: Count = 16  # over all devices
    accumulation_steps: Count = 1  # micro-batches that a device cuts its rows into; same result, less memory
    rematerialize: Switch = False  # compute activations anew in the backward pass: same result, less memory, more time
    segment_size: Count = 8192
    learning_rate: Annotated[Real, Field(gt=0, le=1)] = 2e-4
    lr_decay: Annotated[Real, Field(gt=0, le=1)] = 0.999  # per epoch
    adam_b1: Annotated[Real, Field(ge=0, lt=1)] = 0.8
    adam_b2: Annotated[Real, Field(ge=0, lt=1)] = 0.99
    weight_decay: Annotated[Real, Field(ge=0, le=1)] = 0.01
    loss_weights: dict[str, Annotated[Real, Field(ge=0, le=1e6)]] = LOSS_WEIGHTS
    adversarial_from_step: Index = 0  # until then the generator learns from the mel loss alone, while discriminators catch up
    seed: Index = 1234

    # Data
    input_wavs_dir: str = "LJSpeech-1.1/wavs"
    input_training_file: str | None = None  # None: LJSpeech-1.1/training.txt if there is one, else all of input_wavs_dir
    input_validation_file: str | None = None  # None: LJSpeech-1.1/validation.txt likewise, else held out from training
    input_mels_dir: str = "ft_dataset"
    fine_tuning: Switch = False
    num_workers: Index = 4  # threads that read ahead

    # The run
    checkpoint_path: str = "cp_hifigan"
    training_epochs: Count = 3100
    max_steps: Count | None = None
    stdout_interval: Count = 5
    summary_interval: Count = 100
    validation_interval: Count = 1000
    checkpoint_interval: Count = 5000
    keep_checkpoints: Count = 3  # of these, the newest keep what resuming needs; generators are all kept

    @pydantic.field_validator("loss_weights")
    @classmethod
    def _known_weights(cls, weights: dict[str, float]) -> dict[str, float]:
        for name in weights.keys() - LOSS_WEIGHTS.keys():
            raise ValueError(f"unknown loss {name!r}{_did_you_mean(name, LOSS_WEIGHTS)}")
        return LOSS_WEIGHTS | weights

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "Config":
        for problem in (*_generator_problems(self), *_mel_problems(self), *_training_problems(self)):
            raise ValueError(problem)
        return self

    def to_json(self) -> str:
        """The flat JSON that `load_config` reads back as the same configuration."""
        return json.dumps(self.model_dump(mode="json"), indent=4) + "\n"


def _generator_problems(c: Config):
    hop = math.prod(c.upsample_rates)
    if hop != c.hop_size:
        yield f"upsample_rates multiply to {hop}, but hop_size is {c.hop_size}: make them equal"
    if len(c.upsample_rates) != len(c.upsample_kernel_sizes):
        yield "upsample_rates and upsample_kernel_sizes must have the same number of entries"
    for rate, kernel in zip(c.upsample_rates, c.upsample_kernel_sizes, strict=False):
        if kernel < rate:
            yield f"upsample_kernel_sizes: kernel {kernel} is smaller than its rate {rate} and would leave gaps: enlarge it"
    if c.upsample_initial_channel % 2 ** len(c.upsample_rates):
        yield f"upsample_initial_channel must be a multiple of {2 ** len(c.upsample_rates)}: every upsampling halves it"
    if len(c.resblock_kernel_sizes) != len(c.resblock_dilation_sizes):
        yield "resblock_kernel_sizes and resblock_dilation_sizes must have the same number of entries"
    if any(kernel % 2 == 0 for kernel in c.resblock_kernel_sizes):
        yield "resblock_kernel_sizes must be odd: even kernels can't be centred"
    dilations = {"1": 3, "2": 2}[c.resblock]
    if any(len(sizes) != dilations for sizes in c.resblock_dilation_sizes):
        yield f"resblock_dilation_sizes: resblock {c.resblock!r} takes {dilations} dilations per kernel"


def _mel_problems(c: Config):
    if c.win_size > c.n_fft:
        yield f"win_size {c.win_size} is larger than n_fft {c.n_fft}: make it at most n_fft"
    if c.hop_size > c.n_fft or (c.n_fft - c.hop_size) % 2:
        yield f"n_fft - hop_size = {c.n_fft - c.hop_size} must be even and not negative: half of it is padding on each side"
    for name, fmax in (("fmax", c.fmax), ("fmax_for_loss", c.fmax_for_loss)):
        if fmax is not None and fmax > c.sampling_rate / 2:
            yield f"{name} {fmax:g} Hz is above half the sampling rate, {c.sampling_rate / 2:g} Hz: lower it"
        if c.fmin >= (c.sampling_rate / 2 if fmax is None else fmax):
            yield f"fmin {c.fmin:g} Hz is not below {name}"


def _training_problems(c: Config):
    if c.segment_size % c.hop_size:
        yield f"segment_size {c.segment_size} must be a multiple of hop_size {c.hop_size}"
    if c.segment_size <= (c.n_fft - c.hop_size) // 2:
        yield f"segment_size {c.segment_size} is too short for n_fft {c.n_fft}: a mel reflects half of n_fft - hop_size"
    if "msd" in c.discriminators and (128 * c.discriminator_channel_mult) % 16:
        yield "discriminator_channel_mult must be a multiple of 1/8: MSD's narrowest layer has 128 channels in 16 groups"
    if c.batch_size % c.accumulation_steps:
        yield f"batch_size {c.batch_size} can't be cut into {c.accumulation_steps} equal parts: see accumulation_steps"
    if max(c.mpd_periods) > c.segment_size // 2:
        yield f"mpd_periods: {max(c.mpd_periods)} is more than half of segment_size {c.segment_size}: leave it out"
    if 32 * c.discriminator_channel_mult < 1:
        yield "discriminator_channel_mult must be at least 1/32: MPD's narrowest layer has 32 channels"


# What a set of weights depends on: a checkpoint serves another configuration only if these agree.
MODEL_KEYS = tuple(Config.model_fields)[: tuple(Config.model_fields).index("fmax_for_loss")]
DISCRIMINATOR_KEYS = ("discriminators", "mpd_periods", "discriminator_channel_mult")


def load_config(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    unknown_keys: Literal["refuse", "ignore"] = "refuse",
) -> Config:
    """The configuration of a JSON file, with `overrides` (from flags) put over it.

    `unknown_keys="ignore"` is for the JSON beside somebody else's weights, where a foreign key of its training decides nothing
    and a misspelt one that matters is missed anyway. Raises UsageError, one line that names the file or flag, the key, what is
    wrong and how to mend it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: not a JSON file: {error}") from None
    return parse_config(text, path, overrides, unknown_keys)


def parse_config(
    text: str,
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    unknown_keys: Literal["refuse", "ignore"] = "refuse",
) -> Config:
    """`load_config` of a JSON text; `path` is where it came from. Raises UsageError."""
    overrides = dict(overrides or {})
    content = _json_object(text, path)
    foreign = content.keys() - Config.model_fields - set(IGNORED_KEYS) if unknown_keys == "ignore" else set()
    if foreign:
        logger.info("%s: unknown keys, ignored: %s", path, ", ".join(sorted(foreign)))
    content = {key: value for key, value in content.items() if key not in foreign and key not in IGNORED_KEYS}
    for key in INPUT_PATHS:
        if isinstance(content.get(key), str):
            content[key] = str(Path(path).resolve().parent / content[key])
    try:
        return Config.model_validate(content | overrides)
    except pydantic.ValidationError as error:
        raise UsageError(_one_line(error, str(path), overrides)) from None


def save_config(config: Config, path: Path) -> None:
    """Writes the resolved configuration so that a reader never sees half of it. Inputs become absolute paths."""
    inputs = {key: getattr(config, key) and os.path.abspath(getattr(config, key)) for key in INPUT_PATHS}
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(config.model_copy(update=inputs).to_json(), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DiskError(f"{path}: can't be written: {error.strerror}") from None


def packaged_config(name: str) -> Path:
    """The path of one of the configurations that come with the package: config_v1, config_v2, config_v3, ..."""
    here = Path(__file__).resolve().parent
    installed, source_tree = here / "configs", here.parent / "configs"
    return (installed if installed.is_dir() else source_tree) / f"{name}.json"


def _json_object(text: str, path: str | Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a configuration: the JSON should be an object {{...}}")
    return content


def _one_line(error: pydantic.ValidationError, source: str, overrides: Mapping[str, Any]) -> str:
    problems = error.errors()
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    where = f"--{key}" if first["loc"] and first["loc"][0] in overrides else source
    if first["type"] == "extra_forbidden":
        what = f"unknown key {key!r}{_did_you_mean(key, Config.model_fields)}"
    elif first["type"] == "missing":
        what = f"key {key!r} is missing"
    elif first["type"] == "value_error":
        what = (f"{key}: " if key else "") + str(first["ctx"]["error"])
    else:
        message = first["msg"][0].lower() + first["msg"][1:]
        what = f"{key}: {message}, not {first['input']!r:.60}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where}: {what}{more}"


def _did_you_mean(word: str, known) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
