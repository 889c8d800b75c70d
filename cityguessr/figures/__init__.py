"""Figures: one style, one way to save and show them, and what each of them draws."""

from cityguessr.figures.frames import frames_grid
from cityguessr.figures.saving import save, show
from cityguessr.figures.style import (
    CONTINENT_COLOURS,
    GUIDE,
    LAND,
    LEVEL_COLOURS,
    MUTED,
    PAPERS_OWN,
    REFERENCE,
    SERIES,
    TEXT,
    sequential,
    use_style,
)

__all__ = [
    "CONTINENT_COLOURS",
    "GUIDE",
    "LAND",
    "LEVEL_COLOURS",
    "MUTED",
    "PAPERS_OWN",
    "REFERENCE",
    "SERIES",
    "TEXT",
    "frames_grid",
    "save",
    "sequential",
    "show",
    "use_style",
]
