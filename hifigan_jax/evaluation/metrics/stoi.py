"""STOI and ESTOI: short-time objective intelligibility, at most 1, usually 0 to 1 (Taal et al. 2011; Jensen and Taal 2016)."""

import warnings

from hifigan_jax.errors import DataError
from hifigan_jax.evaluation.metric import Audio, Metric, Value


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """Both scores. Raises DataError if fewer than 30 frames (0.4 s) contain speech."""
    import pystoi

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            scores = [pystoi.stoi(reference, synthesized, rate, extended=extended) for extended in (False, True)]
        except RuntimeWarning:
            raise DataError("STOI: fewer than 30 frames (0.4 s) contain speech") from None
    return dict(zip(("stoi", "estoi"), map(float, scores), strict=True))


METRIC = Metric(
    measure,
    {"stoi": Value("STOI", "higher", -1.0, 1.0), "estoi": Value("ESTOI", "higher", -1.0, 1.0)},
    mode="resampled by pystoi from 16 to 10 kHz; frames more than 40 dB below the loudest are left out",
    source="Taal et al. 2011, Jensen and Taal 2016",
    cannot_separate="Griffin-Lim from GAN vocoders; blind above 4.3 kHz and to level",
    rate=16000,
    packages=("pystoi",),
    modules=("pystoi",),
)
