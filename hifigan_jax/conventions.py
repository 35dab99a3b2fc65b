"""Mel conventions by name: the definition of a log-mel besides its sizes and frequencies. One row each."""

import math
from typing import Literal, NamedTuple


class Convention(NamedTuple):
    """The steps from a spectrum to a log-mel."""

    log_base: Literal["e", "10"]
    floor: float  # minimum mel magnitude
    magnitude_epsilon: float  # added to re^2 + im^2 under the square root
    source: str  # the file that defines the convention

    def log(self, x: float) -> float:
        """The logarithm of a number to the convention's base."""
        return math.log(x) if self.log_base == "e" else math.log10(x)

    @property
    def silence(self) -> float:
        """The value of every bin of a silent frame. Zeros would be loud."""
        return self.log(self.floor)


CONVENTIONS = {
    "hifigan": Convention("e", 1e-5, 1e-9, "jik876/hifi-gan meldataset.py"),
    "melgan": Convention("10", 1e-5, 0.0, "descriptinc/melgan-neurips mel2wav/modules.py"),
}
