"""Settings that depend on the platform of the devices in use, except the forms of convolutions. One row per platform."""

from typing import NamedTuple


class Platform(NamedTuple):
    """Settings for one platform."""

    window_frames: int  # frames of a synthesis window, for a typical receptive field
    batch_frames: int  # frames of a batch of windows per device; a batch has at least one window
    aligned_spans: bool  # whether spans start at multiples of the generator's tile_frames
    streams_without_onednn: bool  # whether short streaming steps avoid oneDNN's convolutions
    shares_host: bool  # whether the device is the host's CPU, which numpy also uses


_ACCELERATOR = Platform(512, 8192, aligned_spans=False, streams_without_onednn=False, shares_host=False)

PLATFORMS = {
    # Longer windows and larger batches do not fit into the cache.
    "cpu": Platform(384, 384, aligned_spans=True, streams_without_onednn=True, shares_host=True),
    "gpu": _ACCELERATOR,
    "tpu": _ACCELERATOR,
}


def platform(name: str) -> Platform:
    """The row for jax's name of a platform; unknown platforms count as accelerators."""
    return PLATFORMS.get(name, _ACCELERATOR)
