"""The colours of a city: what its style makes of walls, roofs, ground and leaves, and the arithmetic of colours.

Colours are linear sRGB, three numbers in [0, 1]; only the colours of light may be brighter (`brighten`).
"""

import math
from collections.abc import Sequence

from cityguessr.miniworld.noise import draw
from cityguessr.miniworld.style import Style

Color = Sequence[float]


def oklch(light: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """A colour of OKLCH (light in [0, 1], chroma about [0, 0.3], hue in turns) as linear sRGB in [0, 1].

    OKLCH keeps lightness apart from hue, so palettes drawn at random stay of one value (Ottosson, 2020).
    """
    a, b = chroma * math.cos(2 * math.pi * hue), chroma * math.sin(2 * math.pi * hue)
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    rgb = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return tuple(min(max(c, 0.004), 1.0) for c in rgb)


def mix(a: Color, b: Color, t: float) -> tuple[float, ...]:
    """Linear blend of two colours: `a` at t = 0, `b` at t = 1."""
    return tuple(x + (y - x) * t for x, y in zip(a, b, strict=True))


def scale(a: Color, factor: float) -> tuple[float, ...]:
    """A colour made darker (factor below 1) or lighter, kept in [0, 1]."""
    return tuple(min(x * factor, 1.0) for x in a)


def brighten(color: Color, factor: float) -> tuple[float, ...]:
    """A colour times a factor, not clipped: light has no upper end."""
    return tuple(c * factor for c in color)


def wall_color(style: Style, seed: int) -> Color:
    """A wall of the city's palette: its hue and value, spread by as much as the city's fronts differ."""
    spread = style.u("wall_spread", 0.08, 0.18)
    hue = style.u("wall_hue", 0.02, 0.30) + spread * 1.2 * (draw(seed, "hue") - 0.5)
    chroma = style.u("wall_chroma", 0.01, 0.11) * (0.6 + 0.8 * draw(seed, "chroma"))
    if style.traits["wall_hue"] > 1.1:  # a few cities are painted in cool colours, pale ones
        hue, chroma = hue + 0.35, 0.5 * chroma
    light = style.u("wall_light", 0.50, 0.90) + spread * 1.6 * (draw(seed, "light") - 0.5)
    return oklch(light, chroma, hue)


def trim_color(style: Style) -> Color:
    """The colour of frames, bands and cornices."""
    light = style.u("trim", 0.30, 0.97)
    return oklch(light, 0.03, style.u("wall_hue", 0.05, 0.25))


def roof_color(style: Style, seed: int) -> Color:
    """Tiles, slate or sheet metal."""
    hue = style.u("roof_hue", 0.02, 0.16) if style.traits["roof_hue"] < 0.8 else 0.65
    return oklch(style.u("roof_light", 0.35, 0.62) + 0.06 * (draw(seed, "roof") - 0.5), 0.07, hue)


def accent_color(style: Style, seed: int) -> Color:
    """Awnings, doors, stalls and signs: some near the city's accent hue, most of any hue, as owners like it."""
    hue = style.u("accent") + 0.25 * (draw(seed, "b") - 0.5)
    if draw(seed, "own") < 0.7:
        hue = draw(seed, "free")
    return oklch(0.40 + 0.35 * draw(seed, "a"), 0.04 + 0.09 * draw(seed, "c"), hue)


def grass_color(style: Style) -> Color:
    """Grass and hedges: lush where it is cool or wet, straw where it is dry."""
    lush = style.u("green", 0.0, 1.0) * (0.45 if style.arid else 1.0)
    return oklch(
        0.50 + 0.12 * (1 - lush), 0.06 + 0.07 * lush, 0.38 - 0.13 * (1 - lush) + style.u("green_hue", -0.03, 0.03)
    )


def soil_color(style: Style) -> Color:
    """Bare ground: sand, red laterite, grey rock."""
    return oklch(style.u("soil_light", 0.50, 0.78), 0.06, style.u("soil_hue", 0.10, 0.24))


def paving_color(style: Style) -> Color:
    """The pavement's stone."""
    return oklch(style.u("paving_light", 0.48, 0.82), 0.035, style.u("paving_hue", 0.02, 0.35))


def marking_color(style: Style) -> Color:
    """The centre line: white or yellow, by country."""
    return (0.75, 0.45, 0.04) if style.yellow_centre else (0.80, 0.80, 0.76)


def leaf_hue(style: Style) -> float:
    """The hue of leaves, in turns: from olive to blue-green by region."""
    return style.u("green_hue", 0.29, 0.40)
