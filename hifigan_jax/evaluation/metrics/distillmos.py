"""DistillMOS: predicted MOS, distilled from XLS-R, without a reference (Stahl and Gamper 2025)."""

import contextlib
import functools
import io

from hifigan_jax.evaluation.metric import Audio, Metric, Value
from hifigan_jax.evaluation.torchaudio import import_torchaudio


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """The score of `synthesized`, averaged over windows of 7.7 s; shorter audio is padded with zeros."""
    import torch

    with torch.no_grad():
        return {"distillmos": _model()(torch.from_numpy(synthesized)[None]).item()}


@functools.cache
def _model():
    import_torchaudio()
    import distillmos

    with contextlib.redirect_stdout(io.StringIO()):  # it prints the path of its weights
        return distillmos.ConvTransformerSQAModel().eval()


METRIC = Metric(
    measure,
    {"distillmos": Value("DistillMOS", "higher", 1.0, 5.0)},
    mode="variant 7; peak-normalized by the model",
    source="Stahl and Gamper 2025",
    cannot_separate="systems whose means differ by less than 0.05; noisy per file; blind to level",
    rate=16000,
    packages=("distillmos", "xls-r-sqa", "torch"),
    modules=("torch", "distillmos", "xls_r_sqa"),
    extra="evaluate-torch",
    uses_reference=False,
)
