"""One pedestrian as a picture: a drawn body under a portrait in the public domain, for `crowd`.

The portrait comes with matplotlib: Grace Hopper, photographed for the US Navy, 1984.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib import cbook
from PIL import Image, ImageDraw, ImageFilter, ImageOps

FACE_WIDTH = 0.14  # metres, ear to ear: what a detector's box spans
FACE = (183, 121, 170, 212)  # of the face in the portrait: x, y, width, height in its pixels
# The outline of cap, face, neck and collar in the portrait, in its pixels.
_HEAD = (
    (147, 150), (146, 112), (160, 94), (172, 82), (178, 58), (195, 44), (225, 29), (262, 23), (300, 31), (335, 48),
    (352, 72), (358, 88), (369, 98), (372, 122), (371, 165), (377, 192), (372, 228), (362, 264), (350, 300),
    (333, 308), (329, 350), (318, 382), (296, 408), (262, 424), (228, 408), (207, 382), (198, 350), (200, 316),
    (180, 292), (167, 264), (157, 226), (152, 190),
)  # fmt: skip
_CAP = 23  # the row of the portrait where the cap begins
_STRIPS = 48


@dataclasses.dataclass(frozen=True)
class Pedestrian:
    """One pedestrian: the place in the street and the looks.

    Attributes:
        x, s: metres right of the middle of the road, and along it.
        height: in metres.
        mirrored: whether the portrait is turned left to right.
        tint: factors of the portrait's red, green and blue.
        exposure: factor of its brightness.
        coat, legs: colours, RGB in 0..255.
    """

    x: float
    s: float
    height: float
    mirrored: bool
    tint: tuple[float, float, float]
    exposure: float
    coat: tuple[int, int, int]
    legs: tuple[int, int, int]


def outline(
    column: float, feet: float, scale: float, height: float
) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
    """Left, top, right and bottom of a pedestrian and of the face, in pixels.

    Args:
        column, feet: where the feet stand, in pixels.
        scale: pixels per metre there.
        height: of the pedestrian, in metres.
    """
    width = FACE_WIDTH * scale
    top = feet - height * scale
    forehead = top + width * (FACE[1] - _CAP) / FACE[2]  # the cap stands above the face
    face = (column - width / 2, forehead, column + width / 2, forehead + width * FACE[3] / FACE[2])
    return (column - 0.3 * scale, top, column + 0.3 * scale, feet), face


def draw(
    person: Pedestrian, whole: Sequence[float], face: Sequence[float], glow: float
) -> tuple[Image.Image, tuple[int, int]]:
    """A pedestrian as an RGBA picture, and where its upper left corner goes.

    Args:
        whole, face: of `outline`.
        glow: factor of the brightness, for dark streets.
    """
    scale = (face[2] - face[0]) / FACE_WIDTH  # pixels per metre
    left, top = math.floor(whole[0]) - 2, math.floor(whole[1]) - 2
    size = math.ceil(whole[2]) - left + 3, math.ceil(whole[3] + 0.06 * scale) - top + 3
    fine = 4 if scale < 150 else 2 if scale < 700 else 1  # drawn so much larger, then shrunk: smooth edges
    body = Image.new("RGBA", (size[0] * fine, size[1] * fine), (0, 0, 0, 0))
    middle, ground = ((face[0] + face[2]) / 2 - left) * fine, (whole[3] - top) * fine
    _draw_body(_Pen(body, scale * fine, middle, ground, glow), person, person.height - (face[3] - whole[1]) / scale)
    head, corner = _light_head(person, face, glow, (left, top))
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    layer.paste(head, corner)
    figure = Image.alpha_composite(body.resize(size, Image.Resampling.BOX), layer)
    return (figure.filter(ImageFilter.GaussianBlur(0.4)) if 100 < scale < 500 else figure), (left, top)


class _Pen:
    """Draws in metres right of a pedestrian's middle and above the ground.

    Args:
        unit: pixels of the image per metre.
        middle, ground: the pedestrian's middle and the ground, in pixels of the image.
    """

    def __init__(self, image: Image.Image, unit: float, middle: float, ground: float, glow: float) -> None:
        self.draw, self.unit, self.middle, self.ground, self.glow = ImageDraw.Draw(image), unit, middle, ground, glow

    def at(self, *points: tuple[float, float]) -> list[tuple[float, float]]:
        """Points in pixels of the image."""
        return [(self.middle + x * self.unit, self.ground - y * self.unit) for x, y in points]

    def lit(self, colour: tuple[int, int, int], shade: float) -> tuple[int, int, int]:
        """A colour in the light of the street."""
        red, green, blue = (int(min(255, value * self.glow * shade)) for value in colour)
        return red, green, blue

    def ellipse(self, upper_left: tuple[float, float], lower_right: tuple[float, float], fill: tuple[int, ...]) -> None:
        """An ellipse between two corners."""
        self.draw.ellipse([*self.at(upper_left)[0], *self.at(lower_right)[0]], fill=fill)

    def round_part(
        self, colour: tuple[int, int, int], *outline: tuple[float, float], x: float = 0.0, lean: float = 0.35
    ) -> None:
        """A part with light from one side: half widths by height, from the top down, around a middle at x."""
        for k in range(_STRIPS):
            a, b = -1 + 2 * k / _STRIPS, -1 + 2 * (k + 1) / _STRIPS
            side = [(x + a * half, y) for half, y in outline] + [(x + b * half, y) for half, y in reversed(outline)]
            shade = 0.62 + 0.44 * math.cos(1.25 * ((a + b) / 2 + lean))
            self.draw.polygon(self.at(*side), fill=self.lit(colour, shade))


def _draw_body(pen: _Pen, person: Pedestrian, chin: float) -> None:
    """Shadow, shoes, legs, hands, arms and coat, below a chin at that height (metres)."""
    h = person.height
    shoulder, hip, hem = chin - 0.11, 0.52 * h, 0.44 * h
    pen.ellipse((-0.28, 0.05), (0.28, -0.05), (0, 0, 0, 80))
    for side in (-1, 1):
        pen.ellipse((side * 0.095 - 0.06, 0.075), (side * 0.095 + 0.065, -0.01), (20, 19, 20))
        pen.round_part(person.legs, (0.082, hem + 0.05), (0.07, 0.28 * h), (0.05, 0.05), x=side * 0.085)
    for side in (-1, 1):
        hand = side * 0.235, hem + 0.03
        pen.ellipse((hand[0] - 0.035, hand[1] + 0.05), (hand[0] + 0.035, hand[1] - 0.06), pen.lit((192, 148, 124), 1.0))
        pen.round_part(person.coat, (0.016, shoulder - 0.005), (0.05, shoulder - 0.07), (0.047, hip),
                       (0.04, hem + 0.05), x=side * 0.208, lean=0.35 - 0.3 * side)  # fmt: skip
    pen.round_part(person.coat, (0.06, chin - 0.02), (0.10, chin - 0.055), (0.19, shoulder), (0.205, shoulder - 0.05),
                   (0.165, hip + 0.06), (0.185, hem))  # fmt: skip
    seam = pen.at((0.0, chin - 0.2), (0.0, hem))
    pen.draw.line(seam, fill=pen.lit(person.coat, 0.55), width=max(1, round(0.012 * pen.unit)))
    for y in (0.30, 0.45):
        pen.ellipse((0.02, chin - y), (0.035, chin - y - 0.015), pen.lit(person.coat, 0.4))


def _light_head(
    person: Pedestrian, face: Sequence[float], glow: float, origin: tuple[int, int]
) -> tuple[Image.Image, tuple[int, int]]:
    """The portrait's head at the size of a face and in the light of the street, and where its corner goes."""
    zoom = (face[2] - face[0]) / FACE[2]
    head = _head(person.mirrored)
    size = max(2, round(head.width * zoom)), max(2, round(head.height * zoom))
    pixels = np.asarray(head.resize(size, Image.Resampling.LANCZOS)).astype(np.float32)
    pixels[..., :3] *= np.array(person.tint) * person.exposure * glow
    face_x = head.width - FACE[0] - FACE[2] if person.mirrored else FACE[0]
    corner = round(face[0] - origin[0] - face_x * zoom), round(face[1] - origin[1] - FACE[1] * zoom)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), corner


@functools.lru_cache(maxsize=2)
def _head(mirrored: bool) -> Image.Image:
    """The portrait's head and collar as RGBA, the rest transparent, with a soft edge."""
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        portrait = Image.open(file).convert("RGB")
    mask = Image.new("L", portrait.size, 0)
    ImageDraw.Draw(mask).polygon(_HEAD, fill=255)
    portrait.putalpha(mask.filter(ImageFilter.GaussianBlur(2.5)))
    head = portrait.crop((0, 0, portrait.width, 430))
    return ImageOps.mirror(head) if mirrored else head
