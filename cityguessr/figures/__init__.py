"""Figures: one style, one way to save and show them, and what each of them draws."""

from cityguessr.figures.frames import frames_grid
from cityguessr.figures.saving import save, show
from cityguessr.figures.style import (
    BESIDE,
    CONTINENT_COLOURS,
    FAINT,
    INK,
    LAND,
    LEVEL_COLOURS,
    MUTED,
    PAPER,
    SERIES,
    sequential,
    use_style,
)

__all__ = [
    "BESIDE",
    "CONTINENT_COLOURS",
    "FAINT",
    "INK",
    "LAND",
    "LEVEL_COLOURS",
    "MUTED",
    "PAPER",
    "SERIES",
    "frames_grid",
    "save",
    "sequential",
    "show",
    "use_style",
]
