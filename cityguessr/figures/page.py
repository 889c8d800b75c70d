"""A page measured in inches: words, boxes, lines and pictures, each at the place that it is given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

from cityguessr.base.errors import InputError
from cityguessr.figures.style import MUTED, TEXT

WIDTH = 7.2  # inches, a full text width
CAPTION, HEADING, TITLE = 7.0, 9.0, 11.0  # points of the type
LINE = 1.22 / 72  # inches that a line takes for each point of its type
GAP = 0.07  # inches between pictures


class Box(NamedTuple):
    """A rectangle of the page in inches, from the corner with the smallest x and y; `top` is where y is largest.

    Lines start and end in the middles of its edges.
    """

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

    def moved(self, x: float = 0.0, y: float = 0.0) -> Box:
        return self._replace(x=self.x + x, y=self.y + y)


class Page:
    """A figure that is one axes measured in inches, and the few shapes that are drawn on it.

    Attributes:
        fig, ax: matplotlib's.
        width: of the page.
    """

    def __init__(self, width: float, bottom: float, top: float) -> None:
        """`bottom` and `top` are the values of y at the lower and the upper edge, so that y may grow downwards."""
        self.width = width
        self.fig = plt.figure(figsize=(width, abs(top - bottom)))
        self.fig.set_layout_engine("none")  # in its place: with none at all, saving brings the style sheet's back
        self.ax = self.fig.add_axes((0, 0, 1, 1))
        self.ax.set_axis_off()
        self.fit(bottom, top)

    def fit(self, bottom: float, top: float) -> None:
        """Give the page another lower and upper edge; what is on it stays where it is."""
        self.fig.set_size_inches(self.width, abs(top - bottom))
        self.ax.set(xlim=(0, self.width), ylim=(bottom, top))

    def words(
        self, at: tuple[float, float], text: str, size: float = 7.5, colour: str = MUTED, **text_options: object
    ) -> None:
        """Text, in the middle of that place by default. Symbols with an index want 10 points: it has 7."""
        options = {"ha": "center", "va": "center", "linespacing": 1.25, "zorder": 6} | text_options
        self.ax.text(*at, text, fontsize=size, color=colour, **options)

    def box(self, box: Box, face: str, edge: str = "none", radius: float = 0.05, **patch: object) -> None:
        """A box with rounded corners."""
        style = f"round,pad=0,rounding_size={radius}"
        options = {"facecolor": face, "edgecolor": edge, "linewidth": 0.8, "zorder": 3} | patch
        self.ax.add_patch(FancyBboxPatch(box[:2], box.width, box.height, boxstyle=style, **options))

    def bar(self, box: Box, face: str) -> None:
        """A filled rectangle without an edge."""
        self.ax.add_patch(Rectangle(box[:2], box.width, box.height, facecolor=face, linewidth=0, zorder=4))

    def shape(self, corners: Sequence[tuple[float, float]], face: object, edge: str = "none", **patch: object) -> None:
        """A polygon."""
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
        vertices, codes = [points[0]], [Path.MOVETO]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            into, out = (np.subtract(corner, before), np.subtract(after, corner))
            radius = min(0.08, np.hypot(*into) / 2, np.hypot(*out) / 2)
            vertices += [corner - radius * into / np.hypot(*into), corner, corner + radius * out / np.hypot(*out)]
            codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
        path = Path([*vertices, points[-1]], [*codes, Path.LINETO])
        style = {"lw": width, "color": colour, "capstyle": "butt", "zorder": 2, "mutation_scale": 1}
        head = "-|>,head_length=3.2,head_width=1.5" if arrow else "-"
        self.ax.add_patch(FancyArrowPatch(path=path, arrowstyle=head, **style))

    def picture(self, box: Box, image: NDArray, zorder: float = 3) -> None:
        """An image that fills the box."""
        across, up = (box.x, box.x + box.width), (box.y, box.y + box.height)
        if self.ax.yaxis_inverted():
            up = up[::-1]
        self.ax.imshow(image, extent=(*across, *up), aspect="auto", interpolation="antialiased", zorder=zorder)


class Sheet(Page):
    """A page that grows downwards: how tall it is becomes known at its end. Its places are inches from the upper left.

    Attributes:
        y: where the next thing goes.
    """

    def __init__(self, title: str, colour: str | None = None) -> None:
        super().__init__(WIDTH, 1.0, 0.0)
        self.y = 0.0
        for line in wrapped(title, WIDTH, TITLE, bold=True):
            self.text(line, 0, self.y, TITLE, TEXT, bold=True)
            self.y += TITLE * LINE
        if colour:
            self.bar(Box(0, self.y + 0.02, WIDTH, 0.035), colour)
        self.y += 0.13 if colour else 0.07

    def text(
        self, text: str, x: float, y: float, size: float, colour: str, bold: bool = False, ha: str = "left"
    ) -> None:
        """One line of text whose top is at y."""
        style = {"fontsize": size, "color": colour, "fontweight": "bold" if bold else "normal"}
        self.ax.text(x, y + 0.82 * size * LINE, text, ha=ha, va="baseline", parse_math=False, zorder=6, **style)

    def heading(self, text: str, x: float, y: float, width: float, colour: str) -> float:
        """A heading above a rule in its colour. Returns where it ends."""
        for line in wrapped(text, width, HEADING, bold=True):
            self.text(line, x, y, HEADING, TEXT, bold=True)
            y += HEADING * LINE
        self.bar(Box(x, y + 0.02, width, 0.03), colour)
        return y + 0.02 + 0.03 + 0.05

    def note(self, text: str) -> None:
        """What the marks mean, in muted lines over the whole width."""
        for line in wrapped(text, WIDTH, CAPTION):
            self.text(line, 0, self.y, CAPTION, MUTED)
            self.y += CAPTION * LINE

    def fitted_picture(self, image: NDArray, box: Box) -> None:
        """A picture, whole, in the middle of its box."""
        scale = min(box.width / image.shape[1], box.height / image.shape[0])
        wide, high = image.shape[1] * scale, image.shape[0] * scale
        self.picture(Box(box.x + (box.width - wide) / 2, box.y + (box.height - high) / 2, wide, high), image)

    def grid(
        self,
        pictures: Sequence[NDArray],
        captions: Sequence[str],
        left: float,
        top: float,
        width: float,
        columns: int,
        ratio: float,
        colours: Sequence[str] | None = None,
    ) -> float:
        """Rows of pictures with their captions, each row as high as its longest caption. Returns where they end."""
        each = (width - GAP * (columns - 1)) / columns
        for first in range(0, len(pictures), columns):
            ends = []
            for i in range(first, min(first + columns, len(pictures))):
                x, y = left + (i - first) * (each + GAP), top
                self.fitted_picture(pictures[i], Box(x, y, each, each * ratio))
                y += each * ratio + 0.03
                if colours:
                    self.bar(Box(x, y - 0.03, each, 0.04), colours[i])
                    y += 0.03
                for n, part in enumerate(captions[i].split("\n")):
                    for line in wrapped(part, each, CAPTION):
                        self.text(line, x, y, CAPTION, MUTED if n else TEXT)
                        y += CAPTION * LINE
                ends.append(y)
            top = max(ends) + 0.07
        return top

    def finish(self) -> Figure:
        """Cut the page to its height."""
        self.fit(self.y, 0.0)
        return self.fig

    def place(self, box: Box) -> tuple[float, float, float, float]:
        """Where a box of the finished page is, in fractions of the figure, as `add_axes` wants it."""
        return box.x / WIDTH, 1 - (box.y + box.height) / self.y, box.width / WIDTH, box.height / self.y


def wrapped(text: str, width: float, size: float, bold: bool = False) -> list[str]:
    """Lines of a text that are no wider than `width` inches at `size` points; a word that is too long is parted."""
    lines = [""]
    for word in re.split(r"[ \t\n]+", text.strip(" \t\n")):  # not at a space that holds a number to its unit
        if text_width(f"{lines[-1]} {word}".strip(), size, bold) <= width:
            lines[-1] = f"{lines[-1]} {word}".strip()
            continue
        while text_width(word, size, bold) > width and len(word) > 2:
            fitting = (n for n in range(len(word) - 1, 1, -1) if text_width(word[:n] + "-", size, bold) <= width)
            keep = next(fitting, 1)
            lines.append(word[:keep] + "-")
            word = word[keep:]
        lines.append(word)
    return [line for line in lines if line]


@cache
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Inches that a text takes; on the screen its letters stand on whole pixels, so a little more than drawn."""
    properties = FontProperties(size=size, weight="bold" if bold else "normal")
    return 1.07 * text_to_path.get_text_width_height_descent(text, properties, ismath=False)[0] / 72


def check_image(image: object, name: str) -> NDArray:
    """The image as an array. Raises InputError, which begins with `name`, where it is not uint8 (H, W, 3)."""
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise InputError(f"{name}: expected uint8 (H, W, 3), got {array.dtype} {array.shape}")
    return array
