"""What stands along the street: fronts of buildings, drawn from a city's style as texture tiles.

Every wall tile shows the width of a plot and 16 metres of height: the lowest 4 are the ground floor, the rest are
upper storeys that a taller building repeats.
"""

from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.noise import draw
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.canvas import Canvas
from cityguessr.miniworld.tiles.palette import (
    Color,
    accent_color,
    mix,
    oklch,
    roof_color,
    scale,
    trim_color,
    wall_color,
)

GROUND, TOP = 4.0, 16.0
# Whose flanks there are: of each town house, each house, and one for all halls.
SIDES = (*(("front", i) for i in range(6)), *(("house", i) for i in range(3)), ("hall", 0))


def _texture(c: Canvas, style: Style, color: Color, seed: int) -> None:
    """The grain of the wall's material."""
    joint = scale(color, 0.62)
    material = style.pick("material", ("stucco", "brick", "stone", "panel", "siding", "tile"))
    if material == "brick":
        c.paint(c.stripes_up(0.25, 0, 0.06), joint, opacity=0.7)
        c.paint(c.stripes_across(0.5, 0, 0.06), joint, opacity=0.35)
    elif material == "stone":
        c.paint(c.stripes_up(0.6, 0, 0.07), joint, opacity=0.8)
        c.paint(c.stripes_across(1.2, 0, 0.07), joint, opacity=0.5)
    elif material == "panel":
        c.paint(c.stripes_up(3.0, 0, 0.12), joint, opacity=0.9)
        c.paint(c.stripes_across(c.width / 3, 0, 0.10), joint, opacity=0.9)
    elif material == "siding":
        c.paint(c.stripes_up(0.3, 0, 0.10), joint, opacity=0.6)
    elif material == "tile":
        c.paint(c.stripes_up(0.4, 0, 0.05), scale(color, 1.4), opacity=0.6)
        c.paint(c.stripes_across(0.4, 0, 0.05), scale(color, 1.4), opacity=0.6)
    c.shade(0.86 + 0.28 * c.grain(noise.key(seed, "grain"), 6))


def _windows(
    c: Canvas,
    seed: int,
    *,
    columns: int,
    floors: tuple[float, float, int],
    size: tuple[float, float],
    frame: Color,
    glass: Color,
    arches: bool = False,
    lit: float = 0.4,
) -> tuple[float, float]:
    """Rows of windows: floors = (bottom, top, how many), size = share of a cell.

    Returns half the width and half the height of a window in metres.
    """
    bottom, top, count = floors
    cell_w, cell_h = c.width / columns, (top - bottom) / count
    u, v = c.u / cell_w, (c.v - bottom) / cell_h
    column, row = u.floor(), v.floor()
    du, dv = (u - column - 0.5) * cell_w, (v - row - 0.46) * cell_h  # metres from the middle of the window
    half_w, half_h = size[0] * cell_w / 2, size[1] * cell_h / 2
    region = c.up(bottom, top)
    if arches:
        rise = (dv - (half_h - half_w)).clamp(min=0)
        edge = half_w - (du**2 + rise**2).sqrt()
        opening = c.inside(edge) * c.inside(half_h + dv) * region
        pane = c.inside(edge - 0.12) * c.inside(half_h - 0.12 + dv) * region
    else:
        edge_u, edge_v = half_w - du.abs(), half_h - dv.abs()
        opening = c.inside(edge_u) * c.inside(edge_v) * region
        pane = c.inside(edge_u - 0.10) * c.inside(edge_v - 0.10) * region
    die = noise.uniform(noise.key(seed, "panes"), row.long(), column.long())
    c.paint(opening, frame)
    c.paint(pane, glass)
    # Glass mirrors a brighter sky towards its top; curtains stand behind some panes.
    c.paint(pane * (dv / half_h * 0.5 + 0.5).clamp(0, 1), oklch(0.75, 0.03, 0.65), opacity=0.35)
    c.paint(pane * ((die * 7) % 1 < 0.3), oklch(0.80, 0.03, 0.2), opacity=0.45)
    if half_w > 0.45:
        c.paint(pane * c.inside(0.05 - du.abs()), frame)
    c.paint(c.inside(half_w + 0.1 - du.abs()) * c.inside(0.09 - (dv + half_h + 0.09).abs()) * region, scale(frame, 0.9))
    c.paint(pane, glow=(die < lit) * (0.45 + 0.55 * ((die * 31) % 1)))
    return half_w, half_h


def paint_front(style: Style, size: int, variant: int) -> Tensor:
    """A town house or an apartment block over a shop, a doorway or an arcade, by the variant."""
    seed = noise.key(style.key, "front", variant)
    wall, trim = wall_color(style, seed), trim_color(style)
    glass = oklch(style.u("glass", 0.22, 0.42), 0.03, 0.6)
    c = Canvas(size, width := style.plot_width, TOP, wall)
    _texture(c, style, wall, seed)
    storeys = style.pick("storeys", (3, 3, 4, 4, 5))
    columns = max(2, round(style.u("columns", 1.6, 5.4) * width / 11 + 0.8 * (draw(seed, "columns") - 0.5)))
    window = (style.u("window_width", 0.30, 0.78), style.u("window_height", 0.42, 0.74))
    cell = (TOP - GROUND) / storeys
    if style.traits["ornament"] > 0:
        for u in (0.0, width - 0.35):
            c.paint(c.box(u, u + 0.35, 0, TOP), trim, opacity=0.7)
    c.paint(c.stripes_up(cell, 0, 0.16 + 0.2 * style.u("ornament"), GROUND) * c.up(GROUND, TOP), trim, opacity=0.8)
    half_w, half_h = _windows(
        c, seed, columns=columns, floors=(GROUND, TOP, storeys), size=window, frame=trim, glass=glass,
        arches=style.traits["arches"] > 0.8, lit=0.42,
    )  # fmt: skip
    cell_w = width / columns
    middle_u, middle_v = cell_w / 2, GROUND + 0.46 * cell
    if style.traits["shutters"] > 0.35:
        shutter = mix(accent_color(style, style.key), trim, 0.25)
        w = min(half_w * 0.7, cell_w / 2 - half_w)
        rows = c.stripes_up(cell, 0.46 * cell - half_h, 0.46 * cell + half_h, GROUND) * c.up(GROUND, TOP)
        for left in (middle_u - half_w - w, middle_u + half_w):
            c.paint(c.stripes_across(cell_w, left, left + w) * rows, shutter)
    if style.traits["balconies"] > 0.3:
        rail = oklch(0.3, 0.01, 0.2) if style.traits["balconies"] < 1.1 else scale(trim, 0.85)
        low = middle_v - half_h - GROUND
        across = c.stripes_across(cell_w, middle_u - half_w * 1.3, middle_u + half_w * 1.3)
        c.paint(across * c.stripes_up(cell, low - 0.05, low + 0.85, GROUND) * c.up(GROUND, TOP), rail, opacity=0.75)
        c.paint(across * c.stripes_up(cell, low - 0.35, low - 0.05, GROUND) * c.up(GROUND, TOP), scale(wall, 0.45))
    _ground_floor(c, style, seed, variant, wall, trim, glass)
    # Contact shading: dirt and occlusion where the wall meets the pavement and under the first cornice.
    c.shade(1 - 0.35 * (1 - c.v / 0.8).clamp(0, 1))
    return c.data


def show_goods(c: Canvas, seed: int, window: tuple[float, float, float, float]) -> None:
    """Goods behind a shop window = (left, right, bottom, top): a shelf or two of muted things, and a reflection."""
    left, right, bottom, top = window
    rows = 1 + int(2 * draw(seed, "shelves"))
    step = (top - bottom) * 0.8 / rows
    for row in range(rows):
        low, u, i = bottom + 0.1 + row * step, left + 0.1, 0
        c.paint(c.box(left, right, low - 0.06, low), oklch(0.45, 0.03, 0.15))
        while u < right - 0.3:
            wide, tall = 0.25 + 0.5 * draw(seed, row, i), step * (0.3 + 0.45 * draw(seed, row, i, "tall"))
            if draw(seed, row, i, "gap") < 0.75:
                tone = oklch(
                    0.35 + 0.45 * draw(seed, row, i, "l"), 0.05 * draw(seed, row, i, "c"), draw(seed, row, i, "h")
                )
                c.paint(c.box(u, min(u + wide, right - 0.05), low, low + tall), tone, opacity=0.7)
            u, i = u + wide + 0.1, i + 1
    pane = c.box(left, right, bottom, top)
    c.paint(pane * ((c.v - bottom) / (top - bottom)).clamp(0, 1) ** 2, oklch(0.72, 0.02, 0.65), opacity=0.35)


def _ground_floor(c: Canvas, style: Style, seed: int, variant: int, wall: Color, trim: Color, glass: Color) -> None:
    width, accent = c.width, accent_color(style, seed)
    kind = variant % 3 if style.traits["awnings"] > -0.6 else 1 + variant % 2
    if kind == 0 or (kind == 2 and style.traits["arches"] < 0.3):  # a shop with a sign, perhaps an awning
        c.paint(c.box(0.3, width - 0.3, 0, 3.7), scale(accent, 0.5))
        c.paint(c.box(0.6, width - 0.6, 0.5, 2.9), glass, glow=0.9)
        show_goods(c, seed, (0.6, width - 0.6, 0.5, 2.9))
        c.paint(c.stripes_across(width / 4, 0, 0.12) * c.up(0.4, 3.0), trim)
        door = width * (0.2 + 0.6 * draw(seed, "door"))
        c.paint(c.box(door - 0.55, door + 0.55, 0, 2.5), scale(accent, 0.7))
        c.paint(c.box(0.3, width - 0.3, 2.95, 3.75), accent, glow=0.35)
        ink = (0.9, 0.9, 0.85) if sum(accent) < 1.2 else (0.03, 0.03, 0.05)
        c.glyphs(seed, style.script, (width * 0.15, width * 0.85, 3.05, 3.65), ink, 0.9)
        if draw(seed, "awning") < style.u("awnings", 0, 1):
            c.paint(c.box(0.2, width - 0.2, 2.2, 2.95), accent)
            c.paint(c.box(0.2, width - 0.2, 2.2, 2.95) * c.stripes_across(0.8, 0, 0.4), (0.85, 0.83, 0.78))
            c.paint(c.box(0.2, width - 0.2, 1.75, 2.2), (0.02, 0.02, 0.02), opacity=0.5)
    elif kind == 1:  # a doorway between windows
        c.paint(c.up(0, GROUND), mix(wall, scale(trim, 0.7), 0.35), opacity=0.7)
        c.paint(c.up(0, 0.7), scale(wall, 0.55))
        columns = max(3, round(width / 3))
        _windows(
            c, noise.key(seed, "low"), columns=columns, floors=(0.6, 3.6, 1), size=(0.5, 0.6), frame=trim, glass=glass
        )
        door = (int(draw(seed, "door") * columns) + 0.5) * width / columns
        c.paint(c.box(door - 0.9, door + 0.9, 0, 2.9), trim)
        c.paint(c.box(door - 0.65, door + 0.65, 0, 2.6), scale(accent, 0.55))
    else:  # an arcade
        c.paint(c.up(0, GROUND), mix(wall, trim, 0.4))
        bays = max(2, round(width / 3.2))
        for bay in range(bays):
            u, half = (bay + 0.5) * width / bays, width / bays * 0.38
            c.paint(c.arch(u, half, 0, 3.5 - half), scale(glass, 0.5), glow=0.35)
    c.paint(c.up(3.75, 4.05), trim, opacity=0.9)


def paint_tower(style: Style, size: int, variant: int) -> Tensor:
    """A tall slab: curtain wall or ribbon windows in the city's glass."""
    seed = noise.key(style.key, "tower", variant)
    glass = oklch(style.u("glass", 0.35, 0.62), 0.05, 0.5 + 0.2 * draw(style.key, "glass hue"))
    wall = mix(wall_color(style, seed), (0.4, 0.4, 0.42), 0.5)
    c = Canvas(size, width := style.plot_width, TOP, wall)
    ribbon = (style.traits["material"] > 0) == (variant == 0)
    _windows(
        c, seed, columns=1 if ribbon else 6, floors=(GROUND, TOP, 4), size=(0.99 if ribbon else 0.86, 0.6),
        frame=scale(wall, 0.8), glass=glass, lit=0.55,
    )  # fmt: skip
    c.paint(c.stripes_across(width / 6, 0, 0.18), scale(wall, 0.75), opacity=0.8)
    c.paint(c.box(0.4, width - 0.4, 0.1, 3.4), scale(glass, 0.6), glow=0.7)
    c.paint(c.stripes_across(width / 5, 0, 0.25) * c.up(0, 3.4), scale(wall, 0.7))
    c.shade(0.9 + 0.2 * c.grain(seed, 4))
    return c.data


def paint_historic(style: Style, size: int, variant: int) -> Tensor:
    """A monument: columns and round arches in dressed stone of the city's hue."""
    seed = noise.key(style.key, "historic", variant)
    stone = oklch(style.u("wall_light", 0.66, 0.90), 0.045, style.u("wall_hue", 0.08, 0.24))
    c = Canvas(size, width := style.plot_width, TOP, stone)
    c.paint(c.stripes_up(0.8, 0, 0.06), scale(stone, 0.6), opacity=0.6)
    dark = oklch(0.25, 0.02, 0.1)
    bays = 3 + (variant + int(style.u("columns", 0, 2.99))) % 3
    for bay in range(bays):
        u, half = (bay + 0.5) * width / bays, width / bays * 0.27
        c.paint(c.arch(u, half + 0.25, 0.8, 7.2 - half), scale(stone, 1.15))
        c.paint(c.arch(u, half, 0.8, 7.0 - half), dark, glow=0.4)
        c.paint(c.arch(u, half * 0.8 + 0.2, 9.3, 13.0 - half), scale(stone, 1.15))
        c.paint(c.arch(u, half * 0.8, 9.5, 13.0 - half), dark, glow=0.25)
    for bay in range(bays + 1):
        u = min(max(bay * width / bays, 0.3), width - 0.3)
        c.paint(c.box(u - 0.35, u + 0.35, 0.8, 14.4), scale(stone, 1.2))
        c.paint(c.box(u + 0.15, u + 0.35, 0.8, 14.4), scale(stone, 0.6))
    for low, high in ((0, 0.8), (7.8, 8.6), (14.4, 15.2)):
        c.paint(c.up(low, high), scale(stone, 1.1))
        c.paint(c.up(low - 0.2, low), scale(stone, 0.5))
    c.shade(0.84 + 0.3 * c.grain(seed, 8))
    return c.data


def paint_house(style: Style, size: int, variant: int) -> Tensor:
    """A house front for one or two floors (its roof is another tile)."""
    seed = noise.key(style.key, "house", variant)
    wall, trim = wall_color(style, seed), trim_color(style)
    c = Canvas(size, width := style.plot_width, TOP, wall)
    _texture(c, style, wall, seed)
    glass = oklch(0.3, 0.03, 0.6)
    columns = max(2, round(width / 3.5))
    _windows(
        c, seed, columns=columns, floors=(0.5, 3.6, 1), size=(style.u("window_width", 0.35, 0.6), 0.55), frame=trim,
        glass=glass, lit=0.6,
    )  # fmt: skip
    _windows(
        c, seed + 1, columns=columns, floors=(3.9, 15.9, 4), size=(style.u("window_width", 0.32, 0.55), 0.5),
        frame=trim, glass=glass, lit=0.5,
    )  # fmt: skip
    door = (int(draw(seed, "door") * columns) + 0.5) * width / columns
    c.paint(c.box(door - 0.8, door + 0.8, 0, 2.6), trim)
    c.paint(c.box(door - 0.55, door + 0.55, 0, 2.35), accent_color(style, seed))
    c.paint(c.up(0, 0.45), scale(wall, 0.5))
    return c.data


def paint_works(style: Style, size: int, variant: int) -> Tensor:
    """A warehouse of corrugated sheet with a roller door, or a building site behind scaffolding."""
    seed = noise.key(style.key, "works", variant)
    sheet = mix(wall_color(style, seed), oklch(0.6, 0.02, 0.6), 0.55)
    c = Canvas(size, width := style.plot_width, TOP, sheet)
    if variant == 0:
        c.paint(c.stripes_across(0.5, 0, 0.22), scale(sheet, 0.7))
        c.paint(c.box(width * 0.2, width * 0.62, 0, 4.2), accent_color(style, seed), opacity=0.8)
        c.paint(c.stripes_up(0.35, 0, 0.1) * c.box(width * 0.2, width * 0.62, 0, 4.2), (0.05, 0.05, 0.05), opacity=0.5)
        c.paint(c.box(0.5, width - 0.5, 5.2, 6.2), oklch(0.4, 0.03, 0.6), glow=0.5)
        c.glyphs(seed, style.script, (width * 0.66, width * 0.96, 2.6, 3.4), (0.8, 0.8, 0.75))
    else:
        concrete = oklch(0.62, 0.015, 0.2)
        c.paint(c.up(0, TOP), concrete)
        c.paint(c.stripes_up(3, 0.35, 2.9) * c.stripes_across(width / 3, 0.3, width / 3), (0.03, 0.03, 0.035))
        c.paint(c.stripes_across(2.0, 0, 0.14), oklch(0.6, 0.1, 0.22))
        c.paint(c.stripes_up(1.5, 0, 0.12), oklch(0.6, 0.1, 0.22))
        c.paint(c.up(0, 2.2), accent_color(style, seed))
        c.paint(c.stripes_across(1.6, 0, 0.8) * c.up(1.9, 2.2), (0.8, 0.7, 0.1))
    c.shade(0.75 + 0.45 * c.grain(seed, 5, 4))
    return c.data


def paint_roof(style: Style, size: int) -> Tensor:
    """Courses of roofing with a dormer; 16 m high like every wall tile."""
    color = roof_color(style, noise.key(style.key, "roof", 0))
    c = Canvas(size, style.plot_width, TOP, color)
    c.paint(c.stripes_up(0.5, 0, 0.14), scale(color, 0.65), opacity=0.8)
    c.shade(0.75 + 0.5 * c.grain(noise.key(style.key, "roof grain", 0), 10))
    return c.data


def paint_side_wall(style: Style, size: int, variant: tuple[str, int]) -> Tensor:
    """The blind flank of a building, in the wall of its front: a paler or a darker coat, few windows."""
    kind, number = variant
    seed = noise.key(style.key, kind, number)
    wall = wall_color(style, seed)
    own = noise.key(seed, "side")
    if kind == "hall":
        wall = mix(wall, oklch(0.6, 0.015, 0.2), 0.6)
    wall = scale(mix(wall, oklch(0.62, 0.015, 0.18), 0.3 * draw(own, "bare")), 0.8 + 0.25 * draw(own, "tone"))
    c = Canvas(size, style.plot_width, TOP, wall)
    _texture(c, style, wall, seed)
    c.shade(0.8 + 0.35 * c.grain(own, 3))
    if kind != "hall" and draw(own, "windows") < 0.7:
        _windows(
            c, own, columns=2 + int(3 * draw(own, "columns")), floors=(GROUND, TOP, 4), size=(0.3, 0.45),
            frame=trim_color(style), glass=oklch(0.3, 0.03, 0.6), lit=0.3,
        )  # fmt: skip
    return c.data
