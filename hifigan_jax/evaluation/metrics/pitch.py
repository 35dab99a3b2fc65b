"""F0 RMSE in cents, F1 of voicing decisions and periodicity RMSE from CREPE (Morrison et al. 2022, section 4.1, CARGAN)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from hifigan_jax.evaluation.metric import Audio, Metric, Value
from hifigan_jax.evaluation.seeds import numpy_seeded
from hifigan_jax.evaluation.torchaudio import import_torchaudio

VOICED = 0.21  # periodicity above which a frame is voiced
_SILENCE = -60.0  # dB, A-weighted
_HOP = 160  # samples at 16 kHz: 10 ms


class Pitch(NamedTuple):
    """A pitch contour with one frame per 10 ms."""

    frequency: Float[np.ndarray, " F"]  # Hz
    periodicity: Float[np.ndarray, " F"]

    @property
    def voiced(self) -> Bool[np.ndarray, " F"]:
        """Which frames are voiced."""
        return self.periodicity > VOICED


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """The three distances; F0 RMSE over frames that are voiced in both, NaN if there are none."""
    return compare(track(reference, rate), track(synthesized, rate))


def compare(reference: Pitch, synthesized: Pitch) -> dict[str, float]:
    """The distances between two contours of equal length."""
    both = reference.voiced & synthesized.voiced
    voiced = reference.voiced.sum() + synthesized.voiced.sum()
    cents = 1200 * np.log2(synthesized.frequency[both] / reference.frequency[both])
    return {
        "f0_rmse": float(np.sqrt((cents**2).mean())) if both.any() else float("nan"),
        "vuv_f1": float(2 * both.sum() / voiced) if voiced else float("nan"),
        "periodicity": float(np.sqrt(((reference.periodicity - synthesized.periodicity) ** 2).mean())),
    }


def track(audio: Audio, rate: int) -> Pitch:
    """The pitch contour of audio at 16 kHz."""
    import_torchaudio()
    import torch
    import torchcrepe

    x = torch.from_numpy(audio)[None]
    settings = {"fmin": 50.0, "fmax": 550.0, "model": "tiny", "decoder": torchcrepe.decode.weighted_argmax}
    with numpy_seeded():  # it dithers the frequencies of its bins
        frequency, periodicity = torchcrepe.predict(
            x, rate, _HOP, return_periodicity=True, batch_size=1024, device="cpu", **settings
        )
    periodicity = torchcrepe.filter.median(periodicity, 3)
    periodicity = torchcrepe.threshold.Silence(_SILENCE)(periodicity, x, rate, _HOP)
    return Pitch(frequency[0].numpy(), periodicity[0].numpy())


METRIC = Metric(
    measure,
    {
        "f0_rmse": Value("F0 RMSE (cents)", "lower", statistic="median"),
        "vuv_f1": Value("V/UV F1", "higher", 0.0, 1.0),
        "periodicity": Value("periodicity RMSE", "lower", 0.0, 1.0),
    },
    mode="CREPE tiny, 10 ms hop, 50 to 550 Hz, weighted argmax, periodicity median-filtered over 3 frames; silent below -60 dB",
    source="Morrison et al. 2022 (CARGAN)",
    cannot_separate="GAN vocoders from one another; F0 RMSE is dominated by octave errors, so its median over files is reported",
    rate=16000,
    packages=("torchcrepe", "torch"),
    modules=("torch", "torchcrepe", "librosa", "resampy"),
    extra="evaluate-torch",
)
