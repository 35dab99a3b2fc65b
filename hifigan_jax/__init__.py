"""HiFi-GAN in JAX: mel-spectrograms to speech, and the training of what does it.

    config, audio, losses          values, no models
    mel, windows, data, models/    the parts
    checkpoint, generator_source   on disk and back
    synthesis, training/           what they do together
    cli/                           the programs

Axis letters, everywhere: B rows of a batch, T samples, F mel frames, M mel bins, C channels, P period, K taps of a kernel.
Units: audio in [-1, 1], frequencies in Hz, sizes in samples unless they say frames, mels in natural log.
"""

__version__ = "0.1.0"
__all__ = ["Vocoder"]


def __getattr__(name: str):
    if name == "Vocoder":  # jax takes a second to import; `hifigan_jax.config` needs none of it
        from hifigan_jax.synthesis import Vocoder

        return Vocoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
