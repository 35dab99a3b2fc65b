"""DNSMOS: MOS predicted without a reference, trained on noise suppression (Reddy et al. 2021: P.808; 2022: P.835, overall)."""

from hifigan_jax.evaluation.metric import Audio, Metric, Value


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """Both scores of `synthesized`, averaged over windows of 9 s; shorter audio is repeated to 9 s."""
    from speechmos import dnsmos

    scores = dnsmos.run(synthesized, rate)
    return {"dnsmos": float(scores["ovrl_mos"]), "p808": float(scores["p808_mos"])}


METRIC = Metric(
    measure,
    {"dnsmos": Value("DNSMOS", "higher", 1.0, 5.0), "p808": Value("P.808", "higher", 1.0, 5.0)},
    mode="P.835 overall (sig_bak_ovr) and P.808 (model_v8), not personalized",
    source="Reddy et al. 2021, Reddy et al. 2022",
    cannot_separate="GAN vocoders from one another or from recordings; trained on noise suppression; noisy per file",
    rate=16000,
    packages=("speechmos", "onnxruntime", "librosa"),
    modules=("speechmos", "onnxruntime", "librosa", "requests"),
    uses_reference=False,
)
