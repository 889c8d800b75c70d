"""What lies underfoot and overhead: roads, plazas, gardens, water, halls and clouds, as texture tiles.

A street tile spans from the middle of the road (left edge) to the front of the houses (right edge) and 16 metres
along the street; the renderer mirrors it. A ground tile shows 16 x 16 metres of open land.
"""

import torch
from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.noise import draw
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.canvas import Canvas
from cityguessr.miniworld.tiles.facades import show_goods
from cityguessr.miniworld.tiles.palette import (
    Color,
    accent_color,
    grass_color,
    marking_color,
    mix,
    oklch,
    paving_color,
    scale,
    soil_color,
    trim_color,
    wall_color,
)

SPAN = 16.0
STREETS = ("road", "crossing", "plaza", "highway", "hall")
LANDS = ("grass", "soil", "water", "snow", "garden", "court", "yard", "parking")
BOARDS = 3  # name boards over covered streets; a video shows one of them
LOW_WALLS = ("hedge", "fence", "railing", "trees")


def _paving(c: Canvas, style: Style, mask: Tensor, seed: int) -> None:
    stone = paving_color(style)
    c.paint(mask, stone)
    joint = scale(stone, 0.6)
    pattern = style.pick("paving_pattern", ("slabs", "setts", "boards", "checks", "bands", "plain"))
    if pattern == "slabs":
        c.paint(mask * c.stripes_up(1.0, 0, 0.09), joint)
        c.paint(mask * c.stripes_across(1.0, 0, 0.09), joint)
    elif pattern == "setts":
        c.paint(mask * c.stripes_up(0.34, 0, 0.1), joint, opacity=0.7)
        c.paint(mask * c.stripes_across(0.34, 0, 0.1), joint, opacity=0.7)
    elif pattern == "boards":
        c.paint(mask * c.stripes_up(0.5, 0, 0.08), joint)
    elif pattern == "checks":
        a, b = c.stripes_across(1.6, 0, 0.8), c.stripes_up(1.6, 0, 0.8)
        c.paint(mask * (a * b + (1 - a) * (1 - b)), scale(stone, 0.55))
    elif pattern == "bands":
        c.paint(mask * c.stripes_up(4.0, 0, 1.0), scale(stone, 0.55))
    c.shade(1 + 0.22 * mask * (c.grain(seed, 10) - 0.5))


def paint_street(style: Style, size: int, kind: str) -> Tensor:
    """Road, kerb and pavement; kind: "road", "crossing", "plaza", "highway" or "hall" (a covered one)."""
    kerb, wall = style.road_half, style.street_half
    seed = noise.key(style.key, "street", kind)
    tar = oklch(style.u("asphalt", 0.30, 0.54), style.u("asphalt_warm", 0.0, 0.03), 0.15)
    c = Canvas(size, wall, SPAN, tar)
    if kind == "hall":
        stone = oklch(0.62 + 0.2 * draw(seed, "l"), 0.02, style.u("paving_hue", 0.05, 0.3))
        c.paint(c.up(0, SPAN), stone)
        c.paint(c.stripes_up(2.0, 0, 0.1), scale(stone, 0.6))
        c.paint(c.stripes_across(1.0, 0, 0.08), scale(stone, 0.6))
        c.paint(c.across(wall - 1.0, wall), scale(stone, 0.55))
        return c.data
    if kind == "plaza":
        _paving(c, style, c.up(0, SPAN), seed)
        c.paint(c.across(0, 0.5), scale(paving_color(style), 0.7))
        c.paint(c.across(kerb - 0.2, kerb + 0.2), scale(paving_color(style), 1.3))
        return c.data
    c.shade(0.85 + 0.3 * c.grain(seed, 16))
    c.paint(c.across(kerb * 0.25, kerb * 0.42), scale(tar, 0.75), opacity=0.5)  # the darker wheel tracks
    c.paint(c.across(kerb * 0.62, kerb * 0.78), scale(tar, 0.75), opacity=0.5)
    patch = 3 + 9 * draw(seed, "patch")
    c.paint(c.box(kerb * 0.2, kerb * 0.7, patch, patch + 2.5), scale(tar, 0.7), opacity=0.6)
    white, centre = (0.80, 0.80, 0.76), marking_color(style)
    dash = style.pick("dashes", ((16, 16), (4, 1.6), (8, 3.0), (5.34, 3.6)))
    along = c.stripes_up(dash[0], 0, dash[1])
    if kind == "highway":
        c.paint(c.across(0.10, 0.26), centre)
        c.paint(c.across(kerb * 0.5 - 0.08, kerb * 0.5 + 0.08) * c.stripes_up(8, 0, 3), white)
        c.paint(c.across(kerb - 0.5, kerb - 0.34), white)
    else:
        if style.yellow_centre and dash[0] == 16:
            c.paint(c.across(0.09, 0.24), centre)
        else:
            c.paint(c.across(0, 0.10) * along, centre)
        if kerb > 5.2:
            c.paint(c.across(kerb * 0.5 - 0.07, kerb * 0.5 + 0.07) * c.stripes_up(8, 0, 3), white)
        if style.traits["edge_line"] > 0.3:
            c.paint(
                c.across(kerb - 0.45, kerb - 0.32), white if style.traits["edge_line"] < 1.2 else (0.75, 0.45, 0.04)
            )
    if kind == "crossing":
        c.paint(c.across(0, kerb) * c.up(4, 10), tar)
        c.paint(c.stripes_across(1.1, 0.3, 0.85) * c.across(0.0, kerb - 0.2) * c.up(5, 8.6), white)
        c.paint(c.across(0.2, kerb - 0.3) * c.up(3.2, 3.7), white)
    kerbstone = scale(paving_color(style), 1.2)
    c.paint(c.across(kerb - 0.28, kerb), scale(tar, 0.6), opacity=0.7)
    if kind == "highway":
        c.paint(c.across(kerb, wall), mix(tar, paving_color(style), 0.35))
    else:
        _paving(c, style, c.across(kerb, wall + 1), seed)
    c.paint(c.across(kerb, kerb + 0.22), kerbstone)
    c.shade(1 - 0.45 * ((c.u - (wall - 0.9)) / 0.9).clamp(0, 1))  # occlusion at the foot of the fronts
    return c.data


def paint_land(style: Style, size: int, kind: str) -> Tensor:
    """Open ground beside the street; kind is one of LANDS."""
    seed = noise.key(style.key, "land", kind)
    grass, soil = grass_color(style), soil_color(style)
    c = Canvas(size, SPAN, SPAN, grass)
    grain = c.grain(seed, 6, 4)
    if kind == "grass":
        c.paint((grain - 0.45).clamp(0, 1) * 3, scale(soil, 0.9), opacity=0.5)
    elif kind == "soil":
        c.paint(c.up(0, SPAN), soil)
        c.paint(((grain - 0.55) * 6).clamp(0, 1), scale(soil, 0.55))
        c.paint(((c.grain(seed + 7, 12) - 0.72) * 8).clamp(0, 1), grass, opacity=0.8)
    elif kind == "water":
        deep = oklch(style.u("water", 0.34, 0.52), 0.06, style.u("water", 0.68, 0.52))
        c.paint(c.up(0, SPAN), deep)
        waves = noise.smooth(seed, size, size, (min(24, size // 2), 5))
        c.paint(((waves - 0.5) * 3).clamp(0, 1), oklch(0.72, 0.04, 0.62), opacity=0.55)
    elif kind == "snow":
        c.paint(c.up(0, SPAN), oklch(0.95, 0.01, 0.65))
        c.paint(((grain - 0.5) * 4).clamp(0, 1), oklch(0.82, 0.03, 0.68), opacity=0.6)
    elif kind == "garden":
        c.paint(c.stripes_across(8, 3, 4.2), paving_color(style))
        c.paint(c.disc(1.5, 4, 1.1) + c.disc(6, 11, 1.3) + c.disc(11, 5, 1.2), scale(grass, 0.5))
        for i in range(8):
            c.paint(c.disc(16 * draw(seed, i), 16 * draw(seed, i, "v"), 0.35), accent_color(style, noise.key(seed, i)))
    elif kind == "court":
        court = mix(accent_color(style, style.key), oklch(0.5, 0.09, 0.38), 0.6)
        c.paint(c.box(0.8, 15.2, 0.8, 15.2), court)
        for line in (1.2, 8.0, 14.6):
            c.paint(c.across(line, line + 0.22) * c.up(1.2, 14.8), (0.85, 0.85, 0.82))
            c.paint(c.up(line, line + 0.22) * c.across(1.2, 14.8), (0.85, 0.85, 0.82))
    elif kind == "yard":
        c.paint(c.up(0, SPAN), mix(soil, oklch(0.5, 0.01, 0.2), 0.6))
        c.paint(((grain - 0.5) * 5).clamp(0, 1), scale(soil, 0.5), opacity=0.7)
    elif kind == "parking":
        c.paint(c.up(0, SPAN), oklch(style.u("asphalt", 0.34, 0.52), 0.01, 0.15))
        c.paint(c.stripes_up(2.6, 0, 0.15) * c.across(1, 6), (0.8, 0.8, 0.76))
        c.paint(c.stripes_up(2.6, 0, 0.15) * c.across(9, 14), (0.8, 0.8, 0.76))
    c.shade(0.8 + 0.4 * grain)
    return c.data


def paint_low_wall(style: Style, size: int, kind: str) -> Tensor:
    """What fences off open ground, in the lowest metre or two of a wall tile: "hedge", "fence", "railing", "trees"."""
    seed = noise.key(style.key, kind)
    grass = grass_color(style)
    c = Canvas(size, style.plot_width, SPAN, scale(grass, 0.8))
    if kind == "hedge":
        leaf = c.grain(seed, 20, 3)
        c.shade(0.75 + 0.5 * leaf)
        c.paint(c.stripes_up(1.0, 0, 0.12), scale(grass, 0.55), opacity=0.4)
    elif kind == "trees":
        _paint_woods(c, seed, scale(grass, 0.85))
    elif kind == "fence":
        wall = mix(wall_color(style, seed), trim_color(style), 0.5)
        c.paint(c.up(0, SPAN), wall)
        c.paint(c.stripes_across(0.5, 0, 0.12), scale(wall, 0.35))
        c.paint(c.up(0, 0.35), scale(wall, 0.7))
    else:
        metal = oklch(0.45, 0.02, 0.6) if style.traits["ornament"] < 0 else trim_color(style)
        c.paint(c.up(0, SPAN), scale(metal, 0.35))
        c.paint(c.stripes_up(0.5, 0.28, 0.5), metal)
        c.paint(c.stripes_across(2.0, 0, 0.25), metal)
    return c.data


def _paint_woods(c: Canvas, seed: int, leaf: Color) -> None:
    """The edge of a wood: crown before crown, each lit from above, over trunks in the shade."""
    c.paint(c.up(0, SPAN), scale(leaf, 0.32))
    bark = oklch(0.33, 0.03, 0.15)
    for trunk in range(int(c.width / 1.6)):
        u = c.width * draw(seed, "trunk", trunk)
        c.paint(c.box(u, u + 0.22, 0, 3), scale(bark, 0.7 + 0.6 * draw(seed, "bark", trunk)))
    count = int(c.width * 2.2)
    leaves = c.grain(seed, 24, 3)
    for crown in range(count):  # from the top, which is the back, down to the bushes in front
        v = 17.5 - 16.3 * crown / count + 1.2 * (draw(seed, crown, "v") - 0.5)
        u, radius = c.width * draw(seed, crown, "u"), (0.55 + 0.25 * min(v, 4)) * (0.8 + 0.5 * draw(seed, crown, "r"))
        tone = 0.75 + 0.5 * draw(seed, crown, "tone")
        for shift in (-c.width, 0.0, c.width):
            if not -radius < u + shift < c.width + radius:
                continue
            du, dv = c.u - u - shift, (c.v - v) * 1.15
            mask = c.inside(radius - (du**2 + dv**2).sqrt() + (leaves - 0.5) * 0.7)
            light = (0.72 + 0.38 * (dv / radius) - 0.1 * (du / radius)).clamp(0.3, 1.2) * (0.8 + 0.4 * leaves)
            c.paint(mask, torch.tensor(leaf)[:, None, None] * (light * tone))


def paint_hall(style: Style, size: int, scene: int) -> Tensor:
    """The inner wall of a covered street: mall, offices, hotel, station, sports hall or gallery (scenes 0 to 5)."""
    seed = noise.key(style.key, "hall", scene)
    wall = mix(wall_color(style, seed), oklch(0.75, 0.02, 0.2), 0.5)
    accent = accent_color(style, seed)
    c = Canvas(size, width := style.plot_width, SPAN, wall)
    glass = oklch(0.45, 0.03, 0.6)
    if scene == 0:  # shopping and dining
        c.paint(c.stripes_across(width / 2, 0.4, width / 2 - 0.4) * c.up(0, 3), oklch(0.80, 0.06, 0.2), glow=1.0)
        for left in (0.4, width / 2 + 0.4):
            show_goods(c, noise.key(seed, left), (left, left + width / 2 - 0.8, 0.3, 2.9))
        c.paint(c.up(3.0, 3.9), accent, glow=0.6)
        c.glyphs(seed, style.script, (0.6, width / 2 - 0.6, 3.1, 3.8), (0.9, 0.9, 0.9), 1.0)
        c.glyphs(seed + 1, style.script, (width / 2 + 0.6, width - 0.6, 3.1, 3.8), (0.9, 0.9, 0.9), 1.0)
    elif scene == 1:  # workplace
        c.paint(c.up(0.2, 3.6) * c.stripes_across(width / 4, 0.15, width / 4), glass, glow=0.5)
        c.paint(c.up(0.9, 1.1), scale(wall, 0.5))
        c.paint(c.stripes_across(width / 4, 0.5, 1.6) * c.up(0.4, 1.7), oklch(0.65, 0.02, 0.6))
    elif scene == 2:  # home or hotel
        warm = oklch(0.62, 0.07, 0.15)
        c.paint(c.up(0, SPAN), warm)
        c.paint(c.stripes_across(width / 3, 0.6, 1.7) * c.up(0, 2.3), oklch(0.36, 0.06, 0.12))
        c.paint(c.stripes_across(width / 3, 2.2, 2.5) * c.up(2.0, 2.5), (1, 0.9, 0.7), glow=1)
        c.paint(c.up(0, 0.9), scale(warm, 0.6), opacity=0.6)
    elif scene == 3:  # transportation: a tiled tunnel with posters and a coloured line
        c.paint(c.stripes_up(0.4, 0, 0.06) + c.stripes_across(0.4, 0, 0.06), scale(wall, 0.7), opacity=0.6)
        c.paint(c.up(2.9, 3.4), accent, glow=0.3)
        c.paint(c.box(width * 0.15, width * 0.5, 0.8, 2.6), accent_color(style, seed + 3), glow=0.7)
        c.glyphs(seed, style.script, (width * 0.55, width * 0.95, 1.7, 2.5), (0.05, 0.05, 0.1))
    elif scene == 4:  # sports and leisure
        c.paint(c.up(0, 1.6) * c.stripes_across(2.4, 0, 1.2), accent)
        c.paint(c.stripes_up(0.7, 0, 0.35) * c.up(1.6, SPAN), accent_color(style, seed + 1))
    else:  # cultural
        c.paint(c.stripes_across(width / 3, 0, 0.7), scale(wall, 1.25))
        c.paint(c.stripes_across(width / 3, 0.7, 0.85), scale(wall, 0.5))
        for i in range(3):
            u = width * (i + 0.6) / 3
            c.paint(c.box(u - 0.9, u + 0.9, 1.1, 2.9), oklch(0.6, 0.1, 0.2))
            c.paint(c.box(u - 0.7, u + 0.7, 1.3, 2.7), accent_color(style, seed + i), glow=0.4)
    c.paint(c.up(0, 0.25), scale(wall, 0.4))
    c.shade(0.9 + 0.2 * c.grain(seed, 4))
    return c.data


def paint_ceiling(style: Style, size: int) -> Tensor:
    """The underside of a roof over the street, with strips of light."""
    c = Canvas(size, style.street_half, SPAN, oklch(0.70, 0.015, 0.2))
    c.paint(c.stripes_up(4, 0, 0.3), oklch(0.45, 0.01, 0.2))
    c.paint(
        c.across(style.street_half * 0.30, style.street_half * 0.42) * c.stripes_up(4, 0.8, 3.6), (1, 1, 0.95), glow=1
    )
    return c.data


def paint_mouth(style: Style, size: int, board: int) -> Tensor:
    """The wall over the mouth of a covered street, as wide as the street and 3 m high, with its name on a board.

    Boards and names are the same wherever a script is read: they name a chain of shops and not a city.
    """
    seed = noise.key("mouth", style.script, board)
    wall = wall_color(style, noise.key(style.key, "mouth", board))
    width = 2 * style.street_half
    c = Canvas(size, width, 3, wall)
    c.shade(0.85 + 0.3 * c.grain(seed, 5))
    c.paint(c.up(0, 0.35) + c.up(2.7, 3), trim_color(style))
    c.paint(c.stripes_across(width / 9, 0, 0.3) * c.up(0.35, 2.7), scale(wall, 0.75))
    sign = oklch(0.32 + 0.25 * draw(seed, "light"), 0.05 + 0.06 * draw(seed, "chroma"), draw(seed, "hue"))
    half = width * (0.16 + 0.1 * draw(seed, "width"))
    c.paint(c.box(width / 2 - half, width / 2 + half, 0.8, 2.3), sign, glow=0.4)
    c.glyphs(seed, style.script, (width / 2 - half * 0.88, width / 2 + half * 0.88, 1.15, 1.95), (0.9, 0.9, 0.86), 0.9)
    return c.data


def paint_clouds(size: int) -> Tensor:
    """Cloud density in the first channel, the same for every city."""
    c = Canvas(size, 1, 1, (0, 0, 0))
    c.data[0] = ((c.grain(noise.key("clouds"), 3, 5) - 0.42) * 2.6).clamp(0, 1)
    return c.data
