"""What stands upright by itself: trees, lamps, signs, cars, people and landmarks, as tiles with an outline.

A sprite fills its tile; the renderer gives it its size in metres.
"""

import torch
from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.noise import draw
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.canvas import Canvas
from cityguessr.miniworld.tiles.palette import (
    accent_color,
    grass_color,
    leaf_hue,
    marking_color,
    mix,
    oklch,
    scale,
    trim_color,
    wall_color,
)

# Cars and passers-by are the same in every city: which of them a video shows says nothing about the place.
MAKES = 4  # kinds of cars
CARS = tuple((end, make) for end in ("rear", "front") for make in range(MAKES))  # the end that shows, and of which
PEOPLE = 8


def paint_tree(style: Style, size: int, variant: int) -> Tensor:
    """One of two species that the region plants: broad, conical, columnar or a palm; 8 x 8 metres or so."""
    seed = noise.key(style.key, "tree", variant)
    warm = style.warmth + (0.25 if style.arid else 0)
    kinds = ("palm", "round", "palm", "umbrella") if warm > 0.8 else ("cone", "round", "oval", "column")
    if 0.45 < warm <= 0.8:
        kinds = ("round", "column", "umbrella", "oval")
    kind = kinds[(int(style.u("tree_shape", 0, 3.99)) + (variant % 2)) % 4]
    leaf = oklch(0.46 + 0.08 * draw(seed, "l"), 0.09, leaf_hue(style) + 0.03 * (draw(seed, "h") - 0.5))
    c = Canvas(size, 8, 8)
    bark = oklch(0.36, 0.035, 0.14)
    leaves = c.grain(seed, 12, 4)
    trunk = c.up(0, 5.1 if kind == "palm" else 5.6)
    c.paint(c.inside(0.16 + 0.012 * (8 - c.v) - (c.u - 4).abs()) * trunk, bark)
    c.paint(c.inside(0.08 - (c.u - 4.1).abs()) * trunk, scale(bark, 0.5))
    if kind == "palm":
        for i in range(9):
            angle = torch.tensor((i / 8 - 0.5) * 5.0)
            du, dv = c.u - 4, c.v - 5.0
            along = du * torch.sin(angle) + dv * torch.cos(angle)
            aside = du * torch.cos(angle) - dv * torch.sin(angle) + 0.12 * along**2 * torch.sin(angle)
            frond = c.inside(0.34 * (1 - along / 3.1) - aside.abs()) * c.inside(along) * c.inside(2.9 - along)
            tone = torch.tensor(leaf)[:, None, None] * (0.55 + 0.5 * draw(seed, i))
            c.paint(frond, tone * (0.65 + 0.6 * leaves))
        return c.data
    du, dv = c.u - 4, c.v
    if kind == "cone":
        edge = (7.9 - dv) * 0.34 - du.abs()
        edge = torch.minimum(edge, (dv - 0.9))
    elif kind == "column":
        edge = 1.15 - torch.sqrt(du**2 + ((dv - 4.4) / 3.2) ** 2 * 1.3)
    elif kind == "umbrella":
        edge = (1 - torch.sqrt((du / 3.6) ** 2 + ((dv - 6.2) / 1.5) ** 2)) * 2.6
    elif kind == "oval":
        edge = (1 - torch.sqrt((du / 2.4) ** 2 + ((dv - 4.8) / 3.1) ** 2)) * 2.4
    else:
        edge = (1 - torch.sqrt((du / 3.4) ** 2 + ((dv - 5.0) / 2.9) ** 2)) * 3
    # Leaves fray the crown by a few decimetres, but none floats apart from it, and the tile's rim stays empty.
    rim = torch.minimum(3.9 - du.abs(), torch.minimum(7.9 - dv, dv))
    crown = c.inside(torch.minimum(edge.clamp(max=0.6) + ((leaves - 0.55) * 2.2).clamp(-0.25, 0.08), rim))
    c.paint(crown, scale(leaf, 0.55))
    c.paint(crown * ((leaves - 0.45) * 6).clamp(0, 1), leaf)
    # Light from above: the top of the crown and of each clump of leaves is brighter.
    lit = ((c.grain(seed + 5, 7) - 0.4) * 3 + (dv - 5) * 0.25 - du * 0.08).clamp(0, 1)
    c.paint(crown * lit, scale(leaf, 1.6), opacity=0.6)
    return c.data


def paint_lamp(style: Style, size: int) -> Tensor:
    """A street lamp, 3 x 7 metres: a hooked mast, a globe or a lantern, by country."""
    c = Canvas(size, 3, 7)
    metal = oklch(0.38, 0.02, 0.5) if style.traits["lamp"] < 0.6 else oklch(0.70, 0.01, 0.5)
    c.paint(c.box(1.42, 1.60, 0, 6.6), metal)
    c.paint(c.box(1.34, 1.68, 0, 0.7), metal)
    if style.traits["lamp"] < -0.5:
        c.paint(c.disc(1.51, 6.3, 0.42), (0.95, 0.93, 0.85), glow=1.0)
    elif style.traits["lamp"] < 0.3:
        c.paint(c.box(1.2, 1.82, 5.7, 6.5), (0.9, 0.85, 0.7), glow=1.0)
        c.paint(c.box(1.1, 1.92, 6.5, 6.7), metal)
    else:
        c.paint(c.box(0.2, 1.6, 6.45, 6.6), metal)
        c.paint(c.box(0.1, 0.9, 6.25, 6.48), (0.95, 0.93, 0.85), glow=1.0)
    return c.data


def paint_sign(style: Style, size: int, variant: int) -> Tensor:
    """A road sign (variant 0: the shape and colours of the country) or a name board in its script; 2 x 3.2 metres."""
    c = Canvas(size, 2, 3.2)
    c.paint(c.box(0.95, 1.05, 0, 3.0), oklch(0.55, 0.01, 0.5))
    seed = noise.key(style.key, "sign", variant)
    if variant == 1:
        board = style.pick("sign", (oklch(0.40, 0.11, 0.72), oklch(0.42, 0.10, 0.42), oklch(0.92, 0.01, 0.2)))
        ink = (0.03, 0.03, 0.06) if board[1] > 0.5 else (0.9, 0.9, 0.9)
        c.paint(c.box(0.08, 1.92, 1.9, 3.1), ink)
        c.paint(c.box(0.14, 1.86, 1.96, 3.04), board)
        c.glyphs(seed, style.script, (0.25, 1.75, 2.5, 2.95), ink)
        c.glyphs(seed + 1, style.script, (0.25, 1.45, 2.05, 2.4), ink)
        return c.data
    du, dv = c.u - 1, c.v - 2.45
    if style.yellow_centre and style.traits["sign"] < 0.7:  # a diamond
        edge = 0.62 - du.abs() - dv.abs()
        c.paint(c.inside(edge), (0.03, 0.03, 0.03))
        c.paint(c.inside(edge - 0.07), (0.85, 0.55, 0.02))
    elif style.traits["sign"] < 0:  # a red triangle
        edge = torch.minimum(0.5 - du.abs() - (dv + 0.1) * 0.5, dv + 0.45)
        c.paint(c.inside(edge), (0.65, 0.02, 0.03))
        c.paint(c.inside(edge - 0.12), (0.85, 0.85, 0.82))
    else:  # a red ring
        c.paint(c.disc(1, 2.45, 0.55), (0.65, 0.02, 0.03))
        c.paint(c.disc(1, 2.45, 0.42), (0.85, 0.85, 0.82))
    c.paint(c.box(0.93, 1.07, 2.2, 2.7), (0.03, 0.03, 0.03))
    return c.data


def paint_car(style: Style, size: int, variant: tuple[str, int]) -> Tensor:
    """A car or a van seen from the "rear" or the "front", 2.2 x 1.8 metres (a van is drawn taller)."""
    view, make = variant
    # Most cars anywhere are white, grey or black; some are dark red or blue.
    paint = (oklch(0.92, 0.01, 0.2), oklch(0.62, 0.01, 0.65), oklch(0.30, 0.01, 0.6), oklch(0.42, 0.09, 0.05))[make]
    if view == "front":  # oncoming cars, another four
        paint = (oklch(0.85, 0.01, 0.6), oklch(0.48, 0.01, 0.2), oklch(0.24, 0.01, 0.6), oklch(0.44, 0.08, 0.70))[make]
    if make == 3 and style.traits["cars"] > 0.8:
        paint = (0.80, 0.50, 0.03)  # taxis
    c = Canvas(size, 2.2, 1.8)
    c.paint(c.disc(1.1, 0.14, 1.05, 0.12), (0.01, 0.01, 0.01), opacity=0.7)  # its shadow on the road
    for u in (0.22, 1.62):
        c.paint(c.box(u, u + 0.36, 0.04, 0.6), (0.015, 0.015, 0.015))
    c.paint(c.box(0.14, 2.06, 0.36, 1.0), paint)
    c.paint(c.inside(0.74 - (c.v - 1.0) * 0.35 - (c.u - 1.1).abs()) * c.up(0.95, 1.66), paint)
    c.paint(c.inside(0.64 - (c.v - 1.0) * 0.35 - (c.u - 1.1).abs()) * c.up(1.04, 1.56), (0.04, 0.05, 0.06))
    c.paint(c.inside(0.64 - (c.v - 1.0) * 0.35 - (c.u - 1.1).abs()) * c.up(1.3, 1.56), (0.3, 0.36, 0.4), opacity=0.6)
    light = (0.6, 0.02, 0.02) if view == "rear" else (0.9, 0.9, 0.8)
    for u in (0.2, 1.7):
        c.paint(c.box(u, u + 0.3, 0.68, 0.9), light, glow=0.5 if view == "rear" else 1.0)
    c.paint(c.box(0.14, 2.06, 0.34, 0.48), scale(paint, 0.35))
    c.paint(c.box(0.85, 1.35, 0.52, 0.66), marking_color(style) if style.drives_left else (0.85, 0.85, 0.85))
    return c.data


def paint_person(style: Style, size: int, variant: int) -> Tensor:
    """A passer-by, 0.8 x 1.8 metres: seen from the front, from behind or from the side, standing or walking."""
    seed = noise.key("person", variant)
    coat = oklch(0.26 + 0.5 * draw(seed, "light"), 0.09 * draw(seed, "chroma"), draw(seed, "hue"))
    legs = oklch(0.2 + 0.35 * draw(seed, "legs"), 0.04 * draw(seed, "blue"), 0.68)
    skin = oklch((0.45, 0.72, 0.60, 0.78)[variant % 4], 0.06, 0.14)
    hair = oklch((0.18, 0.40, 0.22, 0.62)[variant // 2 % 4], 0.03, 0.15)
    view = ("front", "side", "back", "side")[variant % 4]
    c = Canvas(size, 0.8, 1.8)
    c.paint(c.disc(0.4, 0.05, 0.34, 0.2), (0.01, 0.01, 0.01), opacity=0.6)
    step = 0.13 + 0.05 * draw(seed, "step") if view == "side" else 0.07
    for side in (-1, 1):  # legs apart at the feet, and on the side that swings forward the arm stays behind
        middle = 0.4 + side * (step - (step - 0.05) * (c.v / 0.95).clamp(0, 1))
        lower = 0.10 if side > 0 and view != "side" else 0.05
        c.paint(c.inside(0.075 - (c.u - middle).abs()) * c.up(lower, 0.95), scale(legs, 0.75 + 0.25 * (side < 0)))
        c.paint(c.inside(0.085 - (c.u - middle - 0.03 * (view == "side")).abs()) * c.up(lower, lower + 0.08), hair)
    if variant in (2, 5):  # a skirt or a long coat
        c.paint(c.inside(0.15 + (1.0 - c.v) * 0.22 - (c.u - 0.4).abs()) * c.up(0.45, 1.0), coat)
    half = (0.19 if view != "side" else 0.14) * (0.92 + 0.2 * draw(seed, "stout"))
    shoulders = c.inside(half + 0.05 * ((c.v - 1.15) / 0.25).clamp(0, 1) - (c.u - 0.4).abs())
    c.paint(shoulders * c.up(0.82, 1.36) * c.inside(1.46 - c.v - 0.5 * (c.u - 0.4).abs()), coat)
    for side in (-1, 1):
        swing = side * (0.20 if view == "side" else half + 0.07 - 0.02 * side)
        middle = 0.4 + swing * ((1.4 - c.v) / 0.55).clamp(0, 1) * (1 if view == "side" else 0.25)
        middle = middle + (0 if view == "side" else side * half * 0.9)
        c.paint(c.inside(0.055 - (c.u - middle).abs()) * c.up(0.85, 1.36), scale(coat, 0.7))
        c.paint(c.inside(0.045 - (c.u - middle).abs()) * c.up(0.77, 0.85), skin)
    if variant % 4 == 2:  # a rucksack
        c.paint(c.box(0.28, 0.52, 0.95, 1.32), oklch(0.35, 0.05 * draw(seed, "sack"), draw(seed, "sack hue")))
    c.paint(c.box(0.36, 0.44, 1.34, 1.5), skin)
    c.paint(c.disc(0.4, 1.58, 0.11, 1.25), skin)
    if view == "front":
        c.paint(c.disc(0.4, 1.66, 0.115, 0.65), hair)
    else:  # the back of the head, or its back half
        c.paint(c.disc(0.4 if view == "back" else 0.36, 1.61, 0.115, 1.05), hair)
    return c.data


def paint_stall(style: Style, size: int) -> Tensor:
    """A market stall or a kiosk under a striped roof, 3 x 3 metres."""
    seed = noise.key(style.key, "stall")
    accent = accent_color(style, seed)
    c = Canvas(size, 3, 3)
    c.paint(c.box(0.3, 2.7, 0, 1.1), scale(accent, 0.6))
    c.paint(c.box(0.3, 2.7, 0.9, 1.3) * (c.grain(seed, 10) > 0.4), oklch(0.7, 0.13, 0.2))
    c.paint(c.box(0.35, 0.45, 1, 2.3) + c.box(2.55, 2.65, 1, 2.3), (0.2, 0.2, 0.2))
    c.paint(c.box(0.5, 2.5, 1.3, 2.2), (0.06, 0.05, 0.04), glow=0.7)
    roof = c.inside(1.45 - (c.v - 2.2) * 0.5 - (c.u - 1.5).abs()) * c.up(2.1, 2.8)
    c.paint(roof, accent)
    c.paint(roof * c.stripes_across(0.6, 0, 0.3), (0.85, 0.83, 0.8))
    return c.data


def paint_planter(style: Style, size: int) -> Tensor:
    """A tub of flowers or a shrub, 1.6 x 1.6 metres."""
    seed = noise.key(style.key, "planter")
    c = Canvas(size, 1.6, 1.6)
    green = grass_color(style)
    leaf = c.grain(seed, 8)
    c.paint(c.inside(0.62 - torch.sqrt((c.u - 0.8) ** 2 + (c.v - 0.9) ** 2) + (leaf - 0.5) * 0.5), scale(green, 0.7))
    c.paint(c.disc(0.8, 1.0, 0.5) * (leaf > 0.62), accent_color(style, seed))
    c.paint(c.box(0.4, 1.2, 0, 0.55), scale(wall_color(style, seed), 0.7))
    return c.data


def paint_mast(style: Style, size: int) -> Tensor:
    """A crane, a chimney or a pylon over the works, 12 x 30 metres."""
    c = Canvas(size, 12, 30)
    if style.traits["poles"] > 0:
        for low in range(0, 24, 4):
            c.paint(c.box(5.3, 6.7, low, low + 2), (0.6, 0.1, 0.06))
            c.paint(c.box(5.3, 6.7, low + 2, low + 4), (0.7, 0.68, 0.64))
    else:
        steel = (0.65, 0.38, 0.03)
        c.paint(c.box(5.6, 6.4, 0, 27), steel)
        c.paint(c.stripes_up(1.6, 0.4, 1.4) * c.box(5.75, 6.25, 0, 27), (0.5, 0.55, 0.6))
        c.paint(c.box(0.3, 11.5, 25.5, 26.2), steel)
        c.paint(c.box(10.2, 11.4, 24, 25.6), (0.3, 0.3, 0.3))
    return c.data


def paint_landmark(style: Style, size: int) -> Tensor:
    """What the city is known by, seen over the roofs; as wide as high, sized by the renderer."""
    seed = noise.key(style.key, "landmark")
    stone = oklch(style.u("wall_light", 0.6, 0.92), 0.05, style.u("wall_hue", 0.05, 0.28))
    metal = mix(accent_color(style, seed), stone, 0.3)
    c = Canvas(size, 1, 1)
    x, y = (c.u - 0.5).abs(), c.v
    kind = style.pick(
        "landmark", ("lattice", "spire", "dome", "arch", "pagoda", "column", "needle", "wheel", "twins", "wave")
    )
    if kind == "lattice":
        c.paint(c.inside(0.02 + 0.20 * (1 - y).clamp(0, 1) ** 2.2 - x), metal)
        c.paint(c.inside(0.10 * (1 - y * 3) - x), (0, 0, 0))
        c.data[3] *= 1 - c.inside(0.11 * (1 - y * 3.2) - x)
    elif kind == "spire":
        c.paint(c.box(0.40, 0.60, 0, 0.62), stone)
        c.paint(c.inside(0.10 * (1 - (y - 0.62) / 0.37) - x) * c.up(0.62, 1), metal)
        c.paint(c.disc(0.5, 0.50, 0.05), (0.85, 0.83, 0.75), glow=1)
        c.paint(c.box(0.2, 0.8, 0, 0.28), scale(stone, 0.85))
    elif kind == "dome":
        c.paint(c.box(0.18, 0.82, 0, 0.36), stone)
        c.paint(c.disc(0.5, 0.40, 0.27, 1.15) * c.up(0.36, 1), metal)
        c.paint(c.box(0.485, 0.515, 0.66, 0.84), metal)
        for u in (0.10, 0.86):
            c.paint(c.box(u, u + 0.045, 0, 0.86), stone)
            c.paint(c.inside(0.022 * (1 - (y - 0.86) / 0.1) - (c.u - u - 0.0225).abs()) * c.up(0.86, 0.96), metal)
    elif kind == "arch":
        c.paint(c.box(0.14, 0.86, 0, 0.72), stone)
        c.data[3] *= 1 - c.arch(0.5, 0.15, 0, 0.36)
        c.paint(c.box(0.10, 0.90, 0.70, 0.80), scale(stone, 0.8))
    elif kind == "pagoda":
        for i in range(6):
            low, half = i * 0.155, 0.30 - 0.04 * i
            c.paint(c.inside(half * 0.72 - x) * c.up(low, low + 0.12), stone, glow=0.15)
            c.paint(c.inside(half - (y - low - 0.09) * 1.6 - x) * c.up(low + 0.09, low + 0.155), metal)
    elif kind == "column":
        c.paint(c.box(0.36, 0.64, 0, 0.12), scale(stone, 0.8))
        c.paint(c.inside(0.045 - 0.012 * y - x) * c.up(0.1, 0.82), stone)
        c.paint(c.disc(0.5, 0.90, 0.05, 1.7), metal)
    elif kind == "needle":
        c.paint(c.inside(0.035 * (1.25 - y) - x) * c.up(0, 1), stone)
        for v, half in ((0.64, 0.045), (0.665, 0.06), (0.69, 0.05)):  # a slim cabin of three decks
            c.paint(c.box(0.5 - half, 0.5 + half, v, v + 0.022), mix(stone, metal, 0.4))
            c.paint(c.box(0.5 - half, 0.5 + half, v + 0.004, v + 0.012), (0.05, 0.06, 0.08), glow=0.3)
    elif kind == "wheel":
        r = torch.sqrt((c.u - 0.5) ** 2 + (y - 0.55) ** 2)
        c.paint(c.inside(0.016 - (r - 0.41).abs()), metal, glow=0.25)
        c.paint(c.inside(0.012 - (x - 0.28 * (1 - y / 0.55)).abs()) * c.up(0, 0.55), stone)
        for i in range(4):
            angle = torch.tensor(i * torch.pi / 4)
            spoke = ((c.u - 0.5) * torch.sin(angle) - (y - 0.55) * torch.cos(angle)).abs()
            c.paint(c.inside(0.006 - spoke) * c.inside(0.41 - r), stone)
    elif kind == "twins":
        for u in (0.30, 0.58):
            c.paint(c.box(u, u + 0.13, 0, 0.86), metal)
            c.paint(c.box(u, u + 0.13, 0, 0.86) * c.stripes_up(0.04, 0, 0.018), (0.05, 0.06, 0.08), glow=0.6)
            c.paint(c.inside(0.06 * (1 - (y - 0.86) / 0.12) - (c.u - u - 0.065).abs()) * c.up(0.86, 0.98), metal)
        c.paint(c.box(0.4, 0.6, 0.42, 0.47), metal)
    else:
        for i in range(4):
            shell = c.disc(0.22 + 0.17 * i, 0.0, 0.26, 1.5 + 0.5 * (i % 2)) * c.across(
                0.22 + 0.17 * i - 0.26, 0.30 + 0.17 * i
            )
            c.paint(shell, scale(stone, 0.8 + 0.08 * i))
    c.paint(c.data[3] * (c.u > 0.5), scale(trim_color(style), 0.3), opacity=0.25)  # its shaded side
    return c.data
