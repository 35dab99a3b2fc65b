"""What differs from platform to platform beside how a convolution is computed: one row each, for the devices that are used."""

from typing import NamedTuple


class Platform(NamedTuple):
    """Sizes and choices for one kind of device."""

    window_frames: int  # of a window in synthesis, for a usual receptive field
    batch_frames: int  # per device and batch of windows; a batch has one window at least
    aligned_spans: bool  # whether spans start at multiples of the generator's tile_frames
    streams_without_onednn: bool  # whether short streaming steps leave oneDNN's convolutions aside
    shares_host: bool  # whether the device is the processor that numpy computes on


_ACCELERATOR = Platform(512, 8192, aligned_spans=False, streams_without_onednn=False, shares_host=False)

PLATFORMS = {
    # Longer windows and larger batches leave the cache.
    "cpu": Platform(384, 384, aligned_spans=True, streams_without_onednn=True, shares_host=True),
    "gpu": _ACCELERATOR,
    "tpu": _ACCELERATOR,
}


def platform(name: str) -> Platform:
    """The row of a device's `platform`, as jax calls it; kinds unknown here count as accelerators."""
    return PLATFORMS.get(name, _ACCELERATOR)
