"""Scripts that several pages share."""

from pathlib import Path


def player() -> str:
    """The JavaScript class that plays tracks of equal length with switching at the same position."""
    return Path(__file__).with_name("player.js").read_text(encoding="utf-8")
