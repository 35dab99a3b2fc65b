"""Neural vocoders in JAX: synthesis of speech from log-mel spectrograms, and their training.

    config/, audio, losses, conventions    values: no JAX, no models
    mel, data, models/, weights/           parts
    checkpoint, loading, convert           models on disk
    training/, synthesis/                  behavior
    evaluation/                            metrics, their statistics and tables
    inspection/                            what files are and what is wrong with them
    cli/                                   programs

Axis names: B batch, T samples, F mel frames, M mel bins, C channels, P period, K kernel taps.
Units: audio in [-1, 1], frequencies in Hz, sizes in samples unless they are called frames.
"""

__version__ = "0.1.0"
__all__ = ["Vocoder"]


def __getattr__(name: str):
    if name == "Vocoder":  # imported on demand: `hifigan_jax.config` must not import jax, which takes a second
        from hifigan_jax.synthesis import Vocoder

        return Vocoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
