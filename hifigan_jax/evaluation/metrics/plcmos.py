"""PLCMOS v2: MOS predicted without a reference, trained on concealment of packet losses (Diener et al. 2023)."""

from hifigan_jax.evaluation.metric import Audio, Metric, Value
from hifigan_jax.evaluation.seeds import numpy_seeded


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """The score of `synthesized`, averaged over 15 rater embeddings, drawn with a fixed seed."""
    from speechmos import plcmos

    with numpy_seeded():
        return {"plcmos": float(plcmos.run(synthesized, rate)["plcmos"])}


METRIC = Metric(
    measure,
    {"plcmos": Value("PLCMOS", "higher", 1.0, 5.0)},
    mode="plcmos_v2, mean over 15 rater embeddings drawn with seed 0",
    source="Diener et al. 2023",
    cannot_separate="vocoders from one another or from recordings; trained on packet loss; noisy per file",
    rate=16000,
    packages=("speechmos", "onnxruntime"),
    modules=("speechmos", "onnxruntime"),
    uses_reference=False,
)
