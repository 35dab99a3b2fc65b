"""Synthesis: `vocoder` for whole utterances, `streaming` for mels that arrive in chunks, `packing` into windows, `folder`."""

__all__ = ["Vocoder"]


def __getattr__(name: str):
    if name == "Vocoder":  # imported on demand: `folder` must not import jax, which takes a second
        from hifigan_jax.synthesis.vocoder import Vocoder

        return Vocoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
