"""Facts of a configuration: the family, the packaged configuration that it resembles, and its mel."""

from hifigan_jax.config import Config, Mel, load_config, model_differences, packaged_configs
from hifigan_jax.config.flat import name_of
from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.inspection.description import Fact, listed
from hifigan_jax.models.registry import GENERATORS

DEFAULT_MEL = Mel(mel_convention="hifigan")  # of universal_v1, the default of infer
_MOST_DIFFERENCES = 4  # from a packaged configuration that is named


def facts_of(config: Config) -> list[Fact]:
    """Facts of a model's configuration."""
    mel = config.mel
    names = [name for name, row in CONVENTIONS.items() if row.computation == mel.convention.computation]
    fmax = mel.sampling_rate / 2 if mel.fmax is None else mel.fmax
    sizes = {key: getattr(mel, key) for key in ("num_mels", "n_fft", "win_size", "hop_size", "fmin", "fmax")}
    text = f"{mel.num_mels} bins, {mel.fmin:g} to {fmax:g} Hz; FFT {mel.n_fft}, window {mel.win_size}, hop {mel.hop_size}"
    return [
        Fact("family", name_of(config.generator, GENERATORS)),
        _resemblance(config),
        Fact("rate", mel.sampling_rate, f"{mel.sampling_rate:,} Hz"),
        Fact("mel", sizes, text),
        Fact("mel convention", names, listed(names) if names else f"{mel.mel_convention}, with other values"),
    ]


def _resemblance(config: Config) -> Fact:
    """The packaged configuration that the model has the fewest differences from."""
    differences = {}
    for path in sorted(packaged_configs().glob("*.json")):
        differences[path.stem] = model_differences(config, load_config(path))
    name = min(differences, key=lambda name: len(differences[name]))
    differing = [text.partition(", expected")[0].replace(" is ", " = ", 1) for text in differences[name]]
    if len(differing) > _MOST_DIFFERENCES:
        return Fact("configuration", {"like": None, "differences": []}, "none of the packaged ones")
    text = name + (f" with {listed(differing)}" if differing else "")
    return Fact("configuration", {"like": name, "differences": differing}, text)
