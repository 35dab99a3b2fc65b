"""ViSQOL in speech mode: similarity of gammatone spectrograms, mapped to MOS-LQO from 1 to 5 (Chinen et al. 2020)."""

import functools

import numpy as np

from hifigan_jax.errors import DataError
from hifigan_jax.evaluation.metric import Audio, Metric, Value


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """The score at 16 kHz. Raises DataError for audio without a segment to compare."""
    try:
        result = _api().measure_from_arrays(reference.astype(np.float64), synthesized.astype(np.float64), rate)
    except IndexError:
        raise DataError("ViSQOL: too short, or too quiet") from None
    return {"visqol": float(result.moslqo)}


@functools.cache
def _api():
    import visqol

    api = visqol.VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    return api


METRIC = Metric(
    measure,
    {"visqol": Value("ViSQOL", "higher", 1.0, 5.0)},
    mode="speech mode, lattice mapping; aligns the two files in time itself",
    source="Chinen et al. 2020 (ViSQOL v3)",
    cannot_separate="Griffin-Lim from GAN vocoders (it scores Griffin-Lim higher); blind above 8 kHz",
    rate=16000,
    packages=("visqol-python", "ai-edge-litert"),
    modules=("visqol", "ai_edge_litert"),
    extra="evaluate-visqol",
)
