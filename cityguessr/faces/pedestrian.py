"""One pedestrian as a picture: a drawn body under a portrait in the public domain, for `crowd`.

The portrait comes with matplotlib: Grace Hopper, photographed for the US Navy, 1984.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

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
    """Who stands where: metres right of the middle of the road and along it, height in metres, and the looks.

    Attributes:
        mirrored: the portrait turned left to right; tint: factors of its red, green and blue; exposure: of the whole.
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
        column, feet: where the feet stand, in pixels; scale: pixels a metre there; height: of the pedestrian in metres.
    """
    width = FACE_WIDTH * scale
    top = feet - height * scale
    forehead = top + width * (FACE[1] - _CAP) / FACE[2]  # the cap stands above the face
    face = (column - width / 2, forehead, column + width / 2, forehead + width * FACE[3] / FACE[2])
    return (column - 0.3 * scale, top, column + 0.3 * scale, feet), face


def sprite(
    person: Pedestrian, whole: Sequence[float], face: Sequence[float], glow: float
) -> tuple["Image", tuple[int, int]]:
    """A pedestrian as an RGBA picture, and where its upper left corner goes."""
    from PIL import Image, ImageDraw, ImageFilter

    scale = (face[2] - face[0]) / FACE_WIDTH  # pixels a metre
    fine = 4 if scale < 150 else 2 if scale < 700 else 1  # drawn so much larger, then shrunk: smooth edges
    left, top = math.floor(whole[0]) - 2, math.floor(whole[1]) - 2
    width, height = math.ceil(whole[2]) - left + 3, math.ceil(whole[3] + 0.06 * scale) - top + 3
    body = Image.new("RGBA", (width * fine, height * fine), (0, 0, 0, 0))
    draw = ImageDraw.Draw(body)
    unit, middle, ground = scale * fine, ((face[0] + face[2]) / 2 - left) * fine, (whole[3] - top) * fine

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        """Metres right of the middle and above the ground, as pixels of the sprite."""
        return [(middle + x * unit, ground - y * unit) for x, y in points]

    def lit(colour: tuple[int, int, int], shade: float) -> tuple[int, int, int]:
        red, green, blue = (int(min(255, value * glow * shade)) for value in colour)
        return red, green, blue

    def round_part(
        colour: tuple[int, int, int], *outline: tuple[float, float], x: float = 0.0, lean: float = 0.35
    ) -> None:
        """A part with light from one side: half widths by height, from the top down, about a middle."""
        for k in range(_STRIPS):
            a, b = -1 + 2 * k / _STRIPS, -1 + 2 * (k + 1) / _STRIPS
            side = [(x + a * half, y) for half, y in outline] + [(x + b * half, y) for half, y in reversed(outline)]
            draw.polygon(at(*side), fill=lit(colour, 0.62 + 0.44 * math.cos(1.25 * ((a + b) / 2 + lean))))

    h = person.height
    chin = h - (face[3] - whole[1]) / scale
    shoulder, hip, hem = chin - 0.11, 0.52 * h, 0.44 * h
    draw.ellipse([*at((-0.28, 0.05))[0], *at((0.28, -0.05))[0]], fill=(0, 0, 0, 80))
    for side in (-1, 1):
        draw.ellipse([*at((side * 0.095 - 0.06, 0.075))[0], *at((side * 0.095 + 0.065, -0.01))[0]], fill=(20, 19, 20))
        round_part(person.legs, (0.082, hem + 0.05), (0.07, 0.28 * h), (0.05, 0.05), x=side * 0.085)
    for side in (-1, 1):
        hand = side * 0.235, hem + 0.03
        draw.ellipse([*at((hand[0] - 0.035, hand[1] + 0.05))[0], *at((hand[0] + 0.035, hand[1] - 0.06))[0]],
                     fill=lit((192, 148, 124), 1.0))  # fmt: skip
        round_part(person.coat, (0.016, shoulder - 0.005), (0.05, shoulder - 0.07), (0.047, hip), (0.04, hem + 0.05),
                   x=side * 0.208, lean=0.35 - 0.3 * side)  # fmt: skip
    round_part(person.coat, (0.06, chin - 0.02), (0.10, chin - 0.055), (0.19, shoulder), (0.205, shoulder - 0.05),
               (0.165, hip + 0.06), (0.185, hem))  # fmt: skip
    draw.line(at((0.0, chin - 0.2), (0.0, hem)), fill=lit(person.coat, 0.55), width=max(1, round(0.012 * unit)))
    for y in (0.30, 0.45):
        draw.ellipse([*at((0.02, chin - y))[0], *at((0.035, chin - y - 0.015))[0]], fill=lit(person.coat, 0.4))
    sprite = body.resize((width, height), Image.Resampling.BOX)
    zoom = (face[2] - face[0]) / FACE[2]
    head = _head(person.mirrored)
    size = max(2, round(head.width * zoom)), max(2, round(head.height * zoom))
    shrunk = head.resize(size, Image.Resampling.LANCZOS)
    pixels = np.asarray(shrunk).astype(np.float32)
    pixels[..., :3] *= np.array(person.tint) * person.exposure * glow
    shrunk = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    box_x = head.width - FACE[0] - FACE[2] if person.mirrored else FACE[0]
    corner = round(face[0] - left - box_x * zoom), round(face[1] - top - FACE[1] * zoom)
    layer = Image.new("RGBA", sprite.size, (0, 0, 0, 0))
    layer.paste(shrunk, corner)
    sprite = Image.alpha_composite(sprite, layer)
    return (sprite.filter(ImageFilter.GaussianBlur(0.4)) if 100 < scale < 500 else sprite), (left, top)


@functools.lru_cache(maxsize=2)
def _head(mirrored: bool) -> "Image":
    """The portrait's head and collar as RGBA, the rest transparent, with a soft edge."""
    from matplotlib import cbook
    from PIL import Image, ImageDraw, ImageFilter, ImageOps

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        portrait = Image.open(file).convert("RGB")
    mask = Image.new("L", portrait.size, 0)
    ImageDraw.Draw(mask).polygon(_HEAD, fill=255)
    portrait.putalpha(mask.filter(ImageFilter.GaussianBlur(2.5)))
    head = portrait.crop((0, 0, portrait.width, 430))
    return ImageOps.mirror(head) if mirrored else head
