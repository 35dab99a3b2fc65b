"""The sections that every configuration has. Frequencies in Hz, sizes in samples, intervals in steps.

Keys that define a mel have no default: a checkpoint means nothing without them.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pydantic
from pydantic import Field

from hifigan_jax.conventions import CONVENTIONS, Convention
from hifigan_jax.errors import did_you_mean
from hifigan_jax.losses import GAN_LOSSES, TERMS

Count = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
Index = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Switch = Annotated[bool, Field(strict=True)]
ComputeDtype = Literal["float32", "bfloat16"]
SameSection = TypeVar("SameSection", bound="Section")  # jaxtyping's import hook can't check Self


class Section(pydantic.BaseModel):
    """Keys that belong together: immutable, validated, equal if all their values are."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    ALSO_CALLED: ClassVar[Mapping[str, str]] = {}  # other projects' names of our keys, for hints

    def problems(self) -> Iterator[str]:
        """What is wrong with the values taken together, one line each, with the cure."""
        yield from ()

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "Section":
        for problem in self.problems():
            raise ValueError(problem)
        return self

    def replace(self: SameSection, **changes: Any) -> SameSection:
        """This section with some values changed, validated. Raises pydantic.ValidationError."""
        return type(self)(**(dict(self) | changes))


class Mel(Section):
    """A log-mel spectrogram: the generator's input. `fmax` null means half the sampling rate."""

    sampling_rate: Count
    num_mels: Count
    n_fft: Count
    win_size: Count
    hop_size: Count
    fmin: Annotated[Real, Field(ge=0)]
    fmax: Annotated[Real, Field(gt=0)] | None
    mel_convention: str = "hifigan"

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

    @pydantic.field_validator("mel_convention")
    @classmethod
    def _known_convention(cls, name: str) -> str:
        if name not in CONVENTIONS:
            raise ValueError(f"unknown convention {name!r:.60}{did_you_mean(name, CONVENTIONS)}: one of {', '.join(CONVENTIONS)}")
        return name

    def problems(self) -> Iterator[str]:
        """Sizes and frequencies that contradict one another."""
        if self.win_size > self.n_fft:
            yield f"win_size {self.win_size} is larger than n_fft {self.n_fft}: make it at most n_fft"
        excess = self.n_fft - self.hop_size
        if excess < 0 or excess % 2:
            yield f"n_fft - hop_size = {excess} must be even and not negative: half of it is padding on each side"
        yield from self.band_problems("fmax", self.fmax)

    def band_problems(self, key: str, fmax: float | None) -> Iterator[str]:
        """What is wrong with the band from fmin to `fmax`, the value of `key`."""
        if fmax is not None and fmax > self.sampling_rate / 2:
            yield f"{key} {fmax:g} Hz is above half the sampling rate, {self.sampling_rate / 2:g} Hz: lower it"
        if self.fmin >= (self.sampling_rate / 2 if fmax is None else fmax):
            yield f"fmin {self.fmin:g} Hz is not below {key}"

    @property
    def convention(self) -> Convention:
        """The row of `mel_convention`."""
        return CONVENTIONS[self.mel_convention]

    @property
    def padding(self) -> int:
        """Samples reflected at each end, so that T samples give T // hop_size frames, frame i centered on (i + 1/2) hop_size."""
        return (self.n_fft - self.hop_size) // 2


class Losses(Section):
    """What both networks minimize. `loss_weights` has every term; those of weight 0 are not computed."""

    loss_weights: dict[str, Annotated[Real, Field(ge=0, le=1e6)]]
    gan_loss: str
    fmax_for_loss: Annotated[Real, Field(gt=0)] | None = None  # of the mel loss's own filterbank and of validation
    adversarial_from_step: Index = 0  # until then, terms that need the discriminators don't reach the generator

    ALSO_CALLED = {"lambda_mel": "loss_weights", "lambda_feat": "loss_weights", "lambda_fm": "loss_weights"}

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
            raise ValueError(f"unknown GAN loss {name!r:.60}{did_you_mean(name, GAN_LOSSES)}: one of {', '.join(GAN_LOSSES)}")
        return name


class Optimization(Section):
    """How training moves, and in what precision and memory."""

    compute_dtype: ComputeDtype = "float32"  # of convolutions alone; parameters, norms, spectra and losses stay float32
    batch_size: Count = 16  # over all devices
    accumulation_steps: Count = 1  # micro-batches that a device cuts its rows into; same result, less memory
    rematerialize: Switch = False  # recompute activations in the backward pass: same result, less memory, more time
    segment_size: Count = 8192
    learning_rate: Annotated[Real, Field(gt=0, le=1)] = 2e-4
    lr_decay: Annotated[Real, Field(gt=0, le=1)] = 0.999  # per epoch
    adam_b1: Annotated[Real, Field(ge=0, lt=1)] = 0.8
    adam_b2: Annotated[Real, Field(ge=0, lt=1)] = 0.99
    weight_decay: Annotated[Real, Field(ge=0, le=1)] = 0.01
    seed: Index = 1234

    ALSO_CALLED = {"lr": "learning_rate", "seq_len": "segment_size", "segment_length": "segment_size"}

    def problems(self) -> Iterator[str]:
        """A batch that can't be cut evenly."""
        if self.batch_size % self.accumulation_steps:
            yield f"batch_size {self.batch_size} can't be cut into {self.accumulation_steps} equal parts: see accumulation_steps"


class Data(Section):
    """Where recordings and mels are, and how they are read."""

    input_wavs_dir: str = "LJSpeech-1.1/wavs"
    input_training_file: str | None = None  # None: LJSpeech-1.1/training.txt if there is one, else all of input_wavs_dir
    input_validation_file: str | None = None  # None: LJSpeech-1.1/validation.txt likewise, else held out from training
    input_mels_dir: str = "ft_dataset"
    fine_tuning: Switch = False
    num_workers: Index = 4  # threads that read ahead


class Run(Section):
    """A training run's folder, length and intervals."""

    checkpoint_path: str = "cp_hifigan"
    training_epochs: Count = 3100
    max_steps: Count | None = None
    stdout_interval: Count = 5
    summary_interval: Count = 100
    validation_interval: Count = 1000
    checkpoint_interval: Count = 5000
    keep_checkpoints: Count = 3  # of these, the newest keep what resuming needs; generators are all kept

    ALSO_CALLED = {
        "checkpoint_dir": "checkpoint_path",
        "save_interval": "checkpoint_interval",
        "epochs": "training_epochs",
    }
