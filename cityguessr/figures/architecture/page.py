"""A page measured in inches, and the few shapes of which the figure is made."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cityguessr.figures.style import INK, LEVEL_COLOURS, MUTED
from cityguessr.taxonomy import LEVELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Box(NamedTuple):
    """A rectangle of the page in inches. Lines start and end in the middles of its edges."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> tuple[float, float]:
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> tuple[float, float]:
        return self.x + self.width, self.y + self.height / 2

    @property
    def top(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height

    @property
    def bottom(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def moved(self, x: float = 0.0, y: float = 0.0) -> "Box":
        return self._replace(x=self.x + x, y=self.y + y)


class Page:
    """An axes measured in inches, and the few shapes of which the figure is made."""

    def __init__(self, ax: "Axes", width: float, floor: float, ceiling: float) -> None:
        self.ax = ax
        ax.set_axis_off()
        self.limits = {"xlim": (0, width), "ylim": (floor, ceiling)}
        ax.set(**self.limits)

    def words(
        self, at: tuple[float, float], text: str, size: float = 7.5, colour: str = MUTED, **text_options: object
    ) -> None:
        """Text, in the middle of that place unless told otherwise. Symbols with an index want 10 points: it has 7."""
        options = {"ha": "center", "va": "center", "linespacing": 1.25, "zorder": 6} | text_options
        self.ax.text(*at, text, fontsize=size, color=colour, **options)

    def box(self, box: Box, face: str, edge: str = "none", radius: float = 0.05, **patch: object) -> None:
        from matplotlib.patches import FancyBboxPatch

        style = f"round,pad=0,rounding_size={radius}"
        options = {"facecolor": face, "edgecolor": edge, "linewidth": 0.8, "zorder": 3} | patch
        self.ax.add_patch(FancyBboxPatch(box[:2], box.width, box.height, boxstyle=style, **options))

    def shape(self, corners: Sequence[tuple[float, float]], face: object, edge: str = "none", **patch: object) -> None:
        from matplotlib.patches import Polygon

        self.ax.add_patch(Polygon(corners, facecolor=face, edgecolor=edge, **({"lw": 0.5, "zorder": 3} | patch)))

    def solid(self, front: Box, depth: tuple[float, float], faces: Sequence[object], **patch: object) -> None:
        """A block seen from the front and a little from above and the right; `faces` are those colours."""
        (x, y, width, height), (dx, dy) = front, depth
        right, top = x + width, y + height
        self.shape([(x, y), (right, y), (right, top), (x, top)], faces[0], **patch)
        self.shape([(x, top), (right, top), (right + dx, top + dy), (x + dx, top + dy)], faces[1], **patch)
        self.shape([(right, y), (right, top), (right + dx, top + dy), (right + dx, y + dy)], faces[2], **patch)

    def line(self, *points: tuple[float, float], colour: str = MUTED, width: float = 1.0, arrow: bool = True) -> None:
        """A line from point to point with rounded corners, and an arrowhead at its end."""
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path

        vertices, codes = [points[0]], [Path.MOVETO]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            into, out = (np.subtract(corner, before), np.subtract(after, corner))
            radius = min(0.08, np.hypot(*into) / 2, np.hypot(*out) / 2)
            vertices += [corner - radius * into / np.hypot(*into), corner, corner + radius * out / np.hypot(*out)]
            codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
        path = Path([*vertices, points[-1]], [*codes, Path.LINETO])
        head = "-|>,head_length=3.2,head_width=1.5" if arrow else "-"
        self.ax.add_patch(
            FancyArrowPatch(
                path=path, arrowstyle=head, mutation_scale=1, lw=width, color=colour, capstyle="butt", zorder=2
            )
        )

    def picture(self, box: Box, image: NDArray, zorder: float = 3) -> None:
        extent = (box.x, box.x + box.width, box.y, box.y + box.height)
        self.ax.imshow(image, extent=extent, aspect="auto", interpolation="antialiased", zorder=zorder)
        self.ax.set(**self.limits)  # which an image would move

    def by_level(self, box: Box, counts: Mapping[str, int] | None = None, columns: int = 1, along: str = "y") -> None:
        """Four cells in the levels' colours, the city on top (or on the left), divided into so many columns."""
        step = (box.height if along == "y" else box.width) / len(LEVELS)
        for i, level in enumerate(LEVELS):
            cell = (box.x, box.y + box.height - (i + 1) * step, box.width, step)
            cell = Box(*cell) if along == "y" else Box(box.x + i * step, box.y, step, box.height)
            self.box(cell, LEVEL_COLOURS[level], "white", radius=0.0)
            if counts:
                self.words(cell.centre, str(counts[level]), 7.5, legible(LEVEL_COLOURS[level]), weight="bold")
        for share in np.arange(1, columns) / columns:
            x, y = box.x + share * box.width, box.y + share * box.height
            ends = [(x, x), (box.y, box.y + box.height)] if along == "y" else [(box.x, box.x + box.width), (y, y)]
            self.ax.plot(*ends, color="white", lw=0.4, zorder=4)

    def loss(self, box: Box, index: str, said: str, above: bool = False) -> None:
        """A loss: a dark box, and what it computes below it or above."""
        self.box(box, INK, radius=0.13)
        self.words(box.centre, rf"$L_{{{index}}}$", 10, "white")
        place, side = ((box.top[1] + 0.05), "bottom") if above else (box.y - 0.06, "top")
        self.words((box.x + box.width, place), said, 7, ha="right", va=side)


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
    from matplotlib.colors import to_rgb

    return tuple(1 - share * (1 - part) for part in to_rgb(colour))


def legible(colour: str) -> str:
    """White or ink, whichever stands out on that colour."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return INK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.6 else "white"
