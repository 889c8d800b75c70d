"""Made-up letters in the manner of a script, as strokes: enough for a reader to tell which script a sign is in."""

from cityguessr.miniworld.noise import draw, key

# From (x0, y0) to (x1, y1) in the unit square of a letter, y upwards; a stroke of no length is a dot.
Stroke = tuple[float, float, float, float]

_BARS: tuple[Stroke, ...] = ((0.12, 0.92, 0.85, 0.92), (0.12, 0.5, 0.75, 0.5), (0.12, 0.08, 0.85, 0.08))
_JOINED = ("arabic", "indic")  # scripts whose letters hang together along a line


def strokes(seed: int, script: str) -> list[Stroke]:
    """One made-up letter of a script of `country_facts.script`."""

    def one(what: str, *choices: list[Stroke]) -> list[Stroke]:
        return choices[int(draw(seed, what) * len(choices))]

    def at(what: str, low: float = 0.15, high: float = 0.85) -> float:
        return low + (high - low) * draw(seed, what)

    if script == "han":
        x = at("x", 0.35, 0.65)
        return [
            (0.08, 0.9, 0.92, 0.9), (0.12, at("y", 0.45, 0.65), 0.88, at("y", 0.45, 0.65)), (x, 1.0, x, 0.05),
            *one("foot", [(x, 0.5, 0.1, 0.05), (x, 0.5, 0.9, 0.05)], [(0.12, 0.9, 0.12, 0.1), (0.88, 0.9, 0.88, 0.1)]),
            *one("more", [(0.1, 0.08, 0.9, 0.08)], [(0.25, 0.3, 0.75, 0.3)], [(0.3, 0.75, 0.7, 0.75)]),
        ]  # fmt: skip
    if script == "hangul":
        head = one(
            "head", _ring(0.3, 0.68, 0.22), [(0.1, 0.9, 0.55, 0.9), (0.55, 0.9, 0.5, 0.5)], _box(0.1, 0.5, 0.52, 0.92)
        )
        return [*head, (0.82, 0.98, 0.82, 0.35), *one("foot", [(0.15, 0.2, 0.85, 0.2)], _box(0.3, 0.02, 0.8, 0.24))]
    if script == "arabic":
        x = at("x", 0.3, 0.7)
        rise = one("rise", [(x, 0.35, x, 0.95)], [(0.2, 0.35, 0.2, 0.6), (0.5, 0.35, 0.5, 0.6)], _ring(x, 0.5, 0.17))
        return [
            (0.0, 0.35, 1.0, 0.35),
            *rise,
            *one("dot", [(x, 0.08, x, 0.08)], [(x, 0.85, x, 0.85)], [(x, 0.35, 0.1, 0.05)]),
        ]
    if script == "indic":
        x = at("x", 0.55, 0.85)
        return [
            (0.0, 0.9, 1.0, 0.9),
            (x, 0.9, x, 0.05),
            *one("bow", _ring(0.33, 0.45, 0.22), [(0.1, 0.65, x, 0.4)], _bow(0.3, 0.45, 0.25)),
        ]
    if script == "southeast":
        return [
            *_ring(at("x", 0.25, 0.4), 0.75, 0.14),
            *_bow(0.5, 0.45, 0.36),
            *one("tail", [(0.86, 0.45, 0.86, 0.95)], [(0.5, 0.1, 0.8, 0.3)]),
        ]
    if script == "hebrew":
        return [
            (0.12, 0.9, 0.85, 0.9),
            (0.85, 0.9, 0.82, 0.08),
            *one("left", [(0.2, 0.6, 0.2, 0.08)], [(0.15, 0.08, 0.85, 0.08)], []),
        ]
    if script == "ethiopic":
        return [
            (0.2, 0.95, 0.2, 0.05),
            (0.8, 0.95, 0.8, 0.05),
            *one("head", _bow(0.5, 0.6, 0.3), [(0.2, 0.9, 0.8, 0.9)], _ring(0.5, 0.5, 0.28)),
        ]
    # latin, cyrillic, greek: a stem, bars, a second stem or a slope
    parts = one(
        "form", [_BARS[0], _BARS[1], _BARS[2]], [_BARS[0], _BARS[1]], [_BARS[2]], [(0.82, 1, 0.82, 0), _BARS[1]],
        [(0.12, 1, 0.82, 0), (0.82, 1, 0.82, 0)], [(0.12, 0.5, 0.85, 1), (0.12, 0.5, 0.85, 0)], _bow(0.45, 0.72, 0.27),
    )  # fmt: skip
    if script == "latin" and draw(seed, "round") < 0.3:
        return one("o", _ring(0.48, 0.5, 0.42), [(0.05, 0, 0.48, 1), (0.48, 1, 0.92, 0), (0.25, 0.35, 0.7, 0.35)])
    if script == "cyrillic" and draw(seed, "wide") < 0.35:
        parts = [(0.5, 1, 0.5, 0), (0.88, 1, 0.88, 0), *one("bar", [_BARS[2]], [_BARS[1]])]
    if script == "greek" and draw(seed, "wedge") < 0.35:
        return [(0.08, 0.04, 0.48, 0.96), (0.48, 0.96, 0.9, 0.04), *one("base", [_BARS[2]], [])]
    return [(0.12, 1, 0.12, 0), *parts]


def is_joined(script: str) -> bool:
    """Whether the letters of a script hang together."""
    return script in _JOINED


def word(seed: int, script: str, length: int) -> list[list[Stroke]]:
    """The strokes of each letter of a made-up word."""
    return [strokes(key(seed, i), script) for i in range(length)]


def _ring(x: float, y: float, r: float) -> list[Stroke]:
    corners = [
        (x + r * a, y + r * b)
        for a, b in ((1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7), (0, -1), (0.7, -0.7))
    ]
    return [(*p, *q) for p, q in zip(corners, corners[1:] + corners[:1], strict=True)]


def _bow(x: float, y: float, r: float) -> list[Stroke]:
    return [s for s in _ring(x, y, r) if min(s[0], s[2]) > x - 0.8 * r or s[1] > y]


def _box(left: float, bottom: float, right: float, top: float) -> list[Stroke]:
    return [
        (left, bottom, right, bottom),
        (right, bottom, right, top),
        (right, top, left, top),
        (left, top, left, bottom),
    ]
