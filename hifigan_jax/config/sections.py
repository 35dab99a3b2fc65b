"""The sections of every configuration. Frequencies are in Hz, sizes in samples, intervals in steps.

Keys that define the mel have no defaults: a checkpoint is unusable without them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pydantic
from pydantic import Field

from hifigan_jax.conventions import CONVENTIONS, Convention
from hifigan_jax.errors import did_you_mean
from hifigan_jax.losses import GAN_LOSSES, TERMS

Count = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
Size = Annotated[Count, Field(le=2**16)]  # samples, taps, channels, rows: what memory is allocated for
Sizes = Annotated[tuple[Size, ...], Field(min_length=1, max_length=64)]
Layers = Annotated[Count, Field(le=64)]
Index = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Switch = Annotated[bool, Field(strict=True)]
ComputeDtype = Literal["float32", "bfloat16"]
SameSection = TypeVar("SameSection", bound="Section")  # jaxtyping's import hook cannot check Self


def between(lowest: float, highest: float) -> pydantic.AfterValidator:
    """A validator of numbers, whose message has no more digits than the limits."""

    def check(value: float) -> float:
        if not lowest <= value <= highest:
            raise ValueError(f"input should be between {lowest:g} and {highest:g}, not {value:g}")
        return value

    return pydantic.AfterValidator(check)


# Of mels, whose values and the floor's logarithm float32 must hold.
Floor = Annotated[Real, between(1e-30, 1e6)]
Mean = Annotated[Real, between(-1e6, 1e6)]
Deviation = Annotated[Real, between(1e-6, 1e6)]


class Section(pydantic.BaseModel):
    """A group of keys: immutable, validated, equal if all values are equal."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    ALSO_CALLED: ClassVar[Mapping[str, str]] = {}  # other projects' names for our keys, for hints in messages

    def problems(self) -> Iterator[str]:
        """Conflicts between values, one line each: what is wrong and how to fix it."""
        yield from ()

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "Section":
        for problem in self.problems():
            raise ValueError(problem)
        return self

    def replace(self: SameSection, **changes: Any) -> SameSection:
        """A validated copy with some values changed. Raises pydantic.ValidationError."""
        return type(self)(**(dict(self) | changes))


class Mel(Section):
    """A log-mel spectrogram: the generator's input. `fmax` null means half the sampling rate.

    If `mel_convention` is given, its row of CONVENTIONS provides the keys that are absent. The other keys with the prefix `mel_`
    override the row's fields of these names; null, or the row's own value, means that they do not.
    """

    sampling_rate: Annotated[Count, Field(le=10**6)]
    num_mels: Annotated[Count, Field(le=2**12)]
    n_fft: Size
    win_size: Size
    hop_size: Size
    fmin: Annotated[Real, Field(ge=0)]
    fmax: Annotated[Real, Field(gt=0)] | None
    mel_convention: str = "hifigan"
    mel_window: Literal["periodic", "symmetric"] | None = None
    mel_scale: Literal["slaney", "htk"] | None = None
    mel_norm: Literal["slaney", "none"] | None = None
    mel_power: Literal[1, 2] | None = None
    mel_log_base: Literal["e", "10"] | None = None
    mel_floor: Floor | None = None
    mel_floor_mode: Literal["clamp", "add"] | None = None
    mel_centered: Switch | None = None
    mel_padding: Literal["reflect", "zero"] | None = None
    mel_mean: Mean | tuple[Mean, ...] | None = None
    mel_std: Deviation | tuple[Deviation, ...] | None = None

    ALSO_CALLED = {
        "sample_rate": "sampling_rate",
        "n_mels": "num_mels",
        "n_mel_channels": "num_mels",
        "filter_length": "n_fft",
        "fft_size": "n_fft",
        "win_length": "win_size",
        "hop_length": "hop_size",
        "mel_fmin": "fmin",
        "mel_fmax": "fmax",
    }

    @pydantic.model_validator(mode="before")
    @classmethod
    def _with_the_convention_s_values(cls, values: dict[str, Any]) -> dict[str, Any]:
        named = "mel_convention" in values
        values = {"mel_convention": cls.model_fields["mel_convention"].default} | values
        name = values["mel_convention"]
        row = CONVENTIONS[name if isinstance(name, str) and name in CONVENTIONS else "hifigan"]  # the field refuses other names
        given = {key: getattr(row, key) for key in cls.model_fields if key in row._fields and named}
        same = {key for key in values if key in OVERRIDES and _plain(values[key]) == getattr(row, OVERRIDES[key])}
        return given | {key: value for key, value in values.items() if key not in same}

    @pydantic.model_serializer(mode="wrap")
    def _without_absent_overrides(self, serialize: Callable[["Mel"], dict[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if name not in OVERRIDES or value is not None}

    @pydantic.field_validator("mel_convention")
    @classmethod
    def _known_convention(cls, name: str) -> str:
        if name not in CONVENTIONS:
            raise ValueError(
                f"unknown convention {name!r:.60} (known: {', '.join(CONVENTIONS)}){did_you_mean(name, CONVENTIONS)}"
            )
        return name

    def problems(self) -> Iterator[str]:
        """Conflicts between sizes or frequencies."""
        if self.win_size > self.n_fft:
            yield f"win_size {self.win_size} is larger than n_fft {self.n_fft}: lower win_size or raise n_fft"
        if not self.convention.centered and self.hop_size > self.n_fft:
            yield f"hop_size {self.hop_size} is larger than n_fft {self.n_fft}: lower hop_size or raise n_fft"
        for name in ("mel_mean", "mel_std"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.num_mels:
                yield f"{name} has {len(value)} values, but num_mels is {self.num_mels}: give one number, or one per bin"
        yield from self.band_problems("fmax", self.fmax)

    def band_problems(self, key: str, fmax: float | None) -> Iterator[str]:
        """Problems with the band from fmin to `fmax`, the value of `key`."""
        if fmax is not None and fmax > self.sampling_rate / 2:
            yield f"{key} {fmax:g} Hz is above half the sampling rate, {self.sampling_rate / 2:g} Hz: lower it"
        highest = self.sampling_rate / 2 if fmax is None else fmax
        if self.fmin >= highest:
            yield f"fmin {self.fmin:g} Hz must be below {key}, {highest:g} Hz: lower fmin"

    @property
    def convention(self) -> Convention:
        """The row of CONVENTIONS for `mel_convention` with this section's sizes, frequencies and overrides."""
        row = CONVENTIONS[self.mel_convention]
        sizes = {name: value for name, value in self if name in row._fields}
        overrides = {field: value for name, field in OVERRIDES.items() if (value := getattr(self, name)) is not None}
        return row._replace(**sizes, **overrides)

    @property
    def padding(self) -> tuple[int, int]:
        """Samples of padding before and after the audio."""
        return self.convention.edges

    @property
    def shortest(self) -> int:
        """The number of samples that the padding needs."""
        return self.convention.shortest

    def frames(self, samples: int) -> int:
        """The number of frames of the mel of `samples` samples."""
        return self.convention.frames(samples)


# Keys that override a field of the convention's row.
OVERRIDES = {f"mel_{field}": field for field in Convention._fields if f"mel_{field}" in Mel.model_fields}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Losses(Section):
    """The losses of both networks. `loss_weights` contains every term; terms with weight 0 are not computed."""

    loss_weights: dict[str, Annotated[Real, Field(ge=0, le=1e6)]]
    gan_loss: str
    fmax_for_loss: Annotated[Real, Field(gt=0)] | None = None  # for the mel loss and validation
    adversarial_from_step: Index = 0  # before it, the generator's loss has no terms that need the discriminators

    ALSO_CALLED = {"lambda_mel": "loss_weights", "lambda_feat": "loss_weights", "lambda_fm": "loss_weights"}

    def problems(self) -> Iterator[str]:
        """A generator without a loss."""
        if not any(self.loss_weights.values()):
            yield "loss_weights are all 0: give at least one term a weight"
        elif self.adversarial_from_step and not any(self.loss_weights[name] for name in TERMS if not TERMS[name].adversarial):
            step = self.adversarial_from_step
            yield f"before adversarial_from_step {step} the generator would have no loss: give mel a weight in loss_weights"

    @pydantic.field_validator("loss_weights")
    @classmethod
    def _known_terms(cls, weights: dict[str, float]) -> dict[str, float]:
        for name in weights.keys() - TERMS.keys():
            raise ValueError(f"unknown loss {name!r}{did_you_mean(name, TERMS)}")
        return {name: weights.get(name, 0.0) for name in TERMS}

    @pydantic.field_validator("gan_loss")
    @classmethod
    def _known_gan_loss(cls, name: str) -> str:
        if name not in GAN_LOSSES:
            raise ValueError(f"unknown GAN loss {name!r:.60} (known: {', '.join(GAN_LOSSES)}){did_you_mean(name, GAN_LOSSES)}")
        return name


class Optimization(Section):
    """Optimizer, batch, precision and memory options of training."""

    compute_dtype: ComputeDtype = "float32"  # of convolutions only; parameters, norms, spectra and losses stay float32
    batch_size: Size = 16  # over all devices
    accumulation_steps: Size = 1  # micro-batches per device and step: same result, less memory
    rematerialize: Switch = False  # recompute activations in the backward pass: same result, less memory, more time
    segment_size: Annotated[Count, Field(le=2**24)] = 8192
    learning_rate: Annotated[Real, Field(gt=0, le=1)] = 2e-4
    lr_decay: Annotated[Real, Field(gt=0, le=1)] = 0.999  # per epoch
    adam_b1: Annotated[Real, Field(ge=0, lt=1)] = 0.8
    adam_b2: Annotated[Real, Field(ge=0, lt=1)] = 0.99
    weight_decay: Annotated[Real, Field(ge=0, le=1)] = 0.01
    seed: Index = 1234

    ALSO_CALLED = {"lr": "learning_rate", "seq_len": "segment_size", "segment_length": "segment_size"}

    def problems(self) -> Iterator[str]:
        """A batch that cannot be divided evenly."""
        if self.batch_size % self.accumulation_steps:
            yield f"batch_size {self.batch_size} must be a multiple of accumulation_steps {self.accumulation_steps}"


class Data(Section):
    """Folders and files of recordings and mels, and how they are read."""

    input_wavs_dir: str = "LJSpeech-1.1/wavs"
    input_training_file: str | None = None  # None: LJSpeech-1.1/training.txt if it lists input_wavs_dir, else that folder
    input_validation_file: str | None = None  # None: likewise, else held out from training
    input_mels_dir: str = "ft_dataset"
    input_mels_convention: str | None = None  # of these mels; None: the generator's
    input_mels_statistics: str | None = None  # a file with the mean and standard deviation that they are normalized with
    input_mels_unchecked: Switch = False  # whether mels are used whose values cannot be of that convention
    allow_outside: Switch = False  # whether lists may name files outside input_wavs_dir
    fine_tuning: Switch = False
    num_workers: Annotated[Index, Field(le=1024)] = 4  # threads that prefetch


class Run(Section):
    """Folder, length and intervals of a training run."""

    checkpoint_path: str = "cp_hifigan"
    training_epochs: Count = 3100
    max_steps: Count | None = None
    stdout_interval: Count = 5
    summary_interval: Count = 100
    validation_interval: Count = 1000
    checkpoint_interval: Count = 5000
    validation_metrics: tuple[str, ...] = ()  # of hifigan_jax.evaluation, measured in addition to the mel error
    keep_checkpoints: Count = 3  # number of newest checkpoints that can be resumed; all generators are kept
    max_skipped_steps: Count = 10  # NaN or infinite steps in a row after which training returns to the last good checkpoint
    max_rollbacks: Index = 3  # such returns to the same checkpoint, each with another order of the data, before the run stops

    ALSO_CALLED = {
        "checkpoint_dir": "checkpoint_path",
        "save_interval": "checkpoint_interval",
        "epochs": "training_epochs",
    }
