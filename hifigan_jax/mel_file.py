"""Mels in .npy files: log magnitudes, (M, F) or (1, M, F) on disk and float32 [F, M] in memory."""

from pathlib import Path

import numpy as np

from hifigan_jax.errors import DataError


def read_mel(path: str | Path, num_mels: int, frames_first: bool = False) -> np.ndarray:
    """The mel in a .npy file as float32 [F, M].

    With `frames_first`, for front ends that store (F, M), the file may have either axis first; (M, M) is taken as (F, M).
    Raises DataError for files that are not floating-point arrays of such a shape, or that contain NaN or infinities.
    """
    mel = open_array(path)
    if mel.dtype.kind != "f":
        raise DataError(f"{path}: a mel must be a .npy array of floats, not {mel.dtype}")
    shape = mel.shape
    if mel.ndim == 3 and shape[0] == 1:
        mel = mel[0]
    if frames_first and mel.ndim == 2 and mel.shape[1] == num_mels:
        mel = mel.T
    if mel.ndim != 2 or mel.shape[1] == 0 or mel.shape[0] != num_mels:
        hint = "; it looks transposed" if mel.ndim == 2 and mel.shape[1] == num_mels else ""
        raise DataError(f"{path}: shape {shape}, expected ({num_mels}, frames){hint}")
    with np.errstate(over="ignore"):  # values out of float32's range become infinite and are rejected below
        mel = np.array(mel.T, np.float32, order="C")
    if not np.isfinite(mel).all():
        raise DataError(f"{path}: contains NaN or infinite values")
    return mel


def open_array(path: str | Path) -> np.ndarray:
    """The array in a .npy file, whose values are read when they are used. Raises DataError if there is none, or a damaged one."""
    try:
        with open(path, "rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise DataError(f"{path}: not a .npy array: save the mel with numpy.save")
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except DataError:
        raise
    except Exception as error:  # a damaged header can raise anything
        if "Python objects" in str(error):
            raise DataError(f"{path}: an array of Python objects, which are not read: save the mel with numpy.save") from None
        raise DataError(f"{path}: a damaged .npy array ({type(error).__name__}): save it again") from None


def pad_with_silence(mel: np.ndarray, frames: int, silence: np.ndarray) -> np.ndarray:
    """`mel` [F, M] padded to `frames` frames with `silence`, the values [M] of a silent frame.

    Reference: pads with zeros, which are not silence.
    """
    missing = frames - mel.shape[0]
    return np.concatenate([mel, np.tile(silence.astype(np.float32), (missing, 1))]) if missing else mel
