"""PESQ, wideband: perceptual evaluation of speech quality, MOS-LQO from 1.0 to 4.64 (ITU-T P.862.2)."""

from hifigan_jax.errors import DataError
from hifigan_jax.evaluation.metric import Audio, Metric, Value


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """The score at 16 kHz. Raises DataError if no speech is found."""
    import pesq

    try:
        return {"pesq": float(pesq.pesq(rate, reference, synthesized, "wb"))}
    except pesq.PesqError as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise DataError(f"PESQ: {reason or type(error).__name__}") from None


METRIC = Metric(
    measure,
    {"pesq": Value("PESQ", "higher", 1.0, 4.644)},
    mode="wideband, MOS-LQO; aligns the two files in time itself and equalizes their level",
    source="ITU-T P.862.2 (2007)",
    cannot_separate="Griffin-Lim from GAN vocoders; blind above 7 kHz",
    rate=16000,
    packages=("pesq",),
    modules=("pesq",),
    extra="evaluate-pesq",
)
