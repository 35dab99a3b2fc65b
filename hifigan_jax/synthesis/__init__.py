"""Synthesis: `vocoder` for whole utterances, `streaming` for mels that arrive in chunks, `packing` into windows."""

from hifigan_jax.synthesis.vocoder import Vocoder

__all__ = ["Vocoder"]
