"""The shapes of which Fig. 5 is made, beside those of any page: levels, losses, a street, shades of a colour."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from cityguessr.figures.page import Box, Page
from cityguessr.figures.style import LEVEL_COLOURS, TEXT
from cityguessr.taxonomy import LEVELS


def draw_levels(
    page: Page, box: Box, counts: Mapping[str, int] | None = None, columns: int = 1, along: str = "y"
) -> None:
    """Four cells in the levels' colours, the city on top (or on the left), divided into so many columns."""
    step = (box.height if along == "y" else box.width) / len(LEVELS)
    for i, level in enumerate(LEVELS):
        cell = (box.x, box.y + box.height - (i + 1) * step, box.width, step)
        cell = Box(*cell) if along == "y" else Box(box.x + i * step, box.y, step, box.height)
        page.box(cell, LEVEL_COLOURS[level], "white", radius=0.0)
        if counts:
            page.words(cell.centre, str(counts[level]), 7.5, legible(LEVEL_COLOURS[level]), weight="bold")
    for share in np.arange(1, columns) / columns:
        x, y = box.x + share * box.width, box.y + share * box.height
        ends = [(x, x), (box.y, box.y + box.height)] if along == "y" else [(box.x, box.x + box.width), (y, y)]
        page.ax.plot(*ends, color="white", lw=0.4, zorder=4)


def draw_loss(page: Page, box: Box, index: str, explanation: str, above: bool = False) -> None:
    """A loss: a dark box, and what it computes below it or above."""
    page.box(box, TEXT, radius=0.13)
    page.words(box.centre, rf"$L_{{{index}}}$", 10, "white")
    place, side = ((box.top[1] + 0.05), "bottom") if above else (box.y - 0.06, "top")
    page.words((box.x + box.width, place), explanation, 7, ha="right", va=side)


def street(step: int, pixels: int = 112) -> NDArray:
    """A street in greys, uint8 (pixels, pixels, 3), seen so many steps further on: it stands for any frame."""
    y, x = np.mgrid[-0.45 : 0.55 : pixels * 1j, -0.5 : 0.5 : pixels * 1j]  # down and right of the vanishing point
    aside = np.abs(x) + 1e-3
    grey = 0.90 - 0.12 * (y + 0.45)
    grey = np.where(y > 0, 0.80, grey)
    grey = np.where(y > 0.42 * aside, 0.66, grey)  # the road
    grey = np.where((y > 8 * aside) & ((0.9 / np.maximum(y, 0.02) + step) % 2 < 1), 0.95, grey)
    block = np.floor(0.8 / aside + 0.5 * step + 7 * (x > 0))  # façades: how far off, so which house
    house = np.modf(np.abs(np.sin(12.9898 * block) * 43758.5453))[0]
    wall = (y > -(0.7 + 0.6 * house) * aside) & (y < 0.3 * aside) & (aside > 0.05)
    grey = np.where(wall, 0.40 + 0.3 * house, grey)
    return np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=2)


def tint(colour: str, share: float) -> tuple[float, ...]:
    """So much of a colour on white."""
    return tuple(1 - share * (1 - part) for part in to_rgb(colour))


def legible(colour: str) -> str:
    """White or the colour of text, whichever stands out on that colour."""
    red, green, blue = to_rgb(colour)
    return TEXT if 0.3 * red + 0.59 * green + 0.11 * blue > 0.6 else "white"
