"""A small drawing board for texture tiles: anti-aliased boxes, stripes and discs in metres, and their rip-maps.

Tiles hold five channels: linear red, green, blue (albedo), coverage (alpha) and glow (how much of the light after
dark comes from there: lit windows, shop signs, lamps).
"""

import math

import torch
from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.tiles import letters
from cityguessr.miniworld.tiles.palette import Color

CHANNELS = 5


class Canvas:
    """A square tile of `size` texels that shows `width` x `height` metres; row 0 is the bottom.

    Masks are float tensors that broadcast to (size, size), 1 inside; they are made by the methods below from the
    coordinates `u` (1, size) across and `v` (size, 1) up, in metres, and laid down by `paint`.
    """

    def __init__(self, size: int, width: float, height: float, color: Color | None = None) -> None:
        self.size, self.width, self.height = size, width, height
        steps = (torch.arange(size, dtype=torch.float32) + 0.5) / size
        self.u, self.v = (steps * width)[None], (steps * height)[:, None]
        self.pu, self.pv = width / size, height / size  # size of a texel in metres
        self.data = torch.zeros(CHANNELS, size, size)
        if color is not None:
            self.data[:3] = torch.tensor(color)[:, None, None]
            self.data[3] = 1.0

    # ---- masks

    def across(self, low: float, high: float) -> Tensor:
        """Between two positions across, (1, size)."""
        return _band(self.u, low, high, self.pu)

    def up(self, low: float, high: float) -> Tensor:
        """Between two heights, (size, 1)."""
        return _band(self.v, low, high, self.pv)

    def box(self, left: float, right: float, bottom: float, top: float) -> Tensor:
        """A rectangle, (size, size)."""
        return self.across(left, right) * self.up(bottom, top)

    def stripes_across(self, period: float, low: float, high: float, start: float = 0.0) -> Tensor:
        """Upright stripes: between `low` and `high` metres of every period, (1, size)."""
        return _pulse(self.u - start, period, low, high, self.pu)

    def stripes_up(self, period: float, low: float, high: float, start: float = 0.0) -> Tensor:
        """Level stripes: between `low` and `high` metres of every period, (size, 1)."""
        return _pulse(self.v - start, period, low, high, self.pv)

    def disc(self, u: float, v: float, radius: float, squash: float = 1.0) -> Tensor:
        """A disc, or an ellipse whose half height is radius * squash."""
        return self.inside(radius - torch.sqrt((self.u - u) ** 2 + ((self.v - v) / squash) ** 2))

    def arch(self, u: float, half: float, bottom: float, spring: float) -> Tensor:
        """A doorway with a round head: `half` wide each side of u, round above the height `spring`."""
        rise = (self.v - spring).clamp(min=0)
        return self.inside(half - torch.sqrt((self.u - u) ** 2 + rise**2)) * self.up(bottom, 1e6)

    def inside(self, distance: Tensor) -> Tensor:
        """Where a signed distance in metres is positive, with a soft edge a texel wide."""
        return (distance / max(self.pu, self.pv) + 0.5).clamp(0, 1)

    def grain(self, seed: int, cells: int, octaves: int = 3) -> Tensor:
        """Seamless fractal noise in [0, 1]."""
        return noise.fractal(seed, self.size, cells, octaves)

    # ---- paint

    def paint(
        self, mask: Tensor, color: Color | Tensor | None = None, glow: float | Tensor | None = None, opacity: float = 1
    ) -> None:
        """Lay a colour (three numbers, or a tensor (3, size, size)) over the tile where the mask is 1."""
        mask = mask * opacity
        if color is not None:
            new = color if isinstance(color, Tensor) else torch.tensor(color)[:, None, None]
            self.data[:3] += (new - self.data[:3]) * mask
            self.data[3] += (1 - self.data[3]) * mask
        if glow is not None:
            self.data[4] += (glow - self.data[4]) * mask

    def shade(self, factor: Tensor) -> None:
        """Multiply the colours by a factor that broadcasts to (size, size)."""
        self.data[:3] *= factor

    def glyphs(
        self, seed: int, script: str, box: tuple[float, float, float, float], color: Color, glow: float = 0.0
    ) -> None:
        """A line of made-up letters in the manner of a script, filling box = (left, right, bottom, top)."""
        left, right, bottom, top = box
        height = top - bottom
        count = max(2, min(12, round((right - left) / height / 0.85)))
        pitch = (right - left) / count
        width = pitch * (1.0 if letters.is_joined(script) else 0.78)
        half = 0.075 * min(height, 1.3 * width)  # of the pen, in metres
        ink = torch.zeros(self.size, self.size)
        rows = slice(*self._texels(bottom - half, top + half, self.pv))
        for i, word in enumerate(letters.word(seed, script, count)):
            start = left + i * pitch
            columns = slice(*self._texels(start - half, start + width + half, self.pu))
            u, v = self.u[:, columns] - start, self.v[rows] - bottom
            for x0, y0, x1, y1 in word:
                x0, x1, y0, y1 = x0 * width, x1 * width, y0 * height, y1 * height
                dx, dy = x1 - x0, y1 - y0
                along = (((u - x0) * dx + (v - y0) * dy) / max(dx * dx + dy * dy, 1e-9)).clamp(0, 1)
                away = ((u - x0 - along * dx) ** 2 + (v - y0 - along * dy) ** 2).sqrt()
                # Where a texel is wider than the pen, it is as dark as its share of ink.
                texel = max(self.pu, self.pv)
                dark = ((half - away) / texel + 0.5).clamp(0, 1) * min(1.0, 2.5 * half / texel)
                ink[rows, columns] = torch.maximum(ink[rows, columns], dark)
        self.paint(ink, color, glow)

    def _texels(self, low: float, high: float, texel: float) -> tuple[int, int]:
        """The rows or columns that lie between two places in metres, one more at each end."""
        return max(0, math.floor(low / texel) - 1), min(self.size, math.ceil(high / texel) + 1)


def _band(x: Tensor, low: float, high: float, texel: float) -> Tensor:
    # The share of each texel that lies in the band: a box filter, exact for bands wider or narrower than a texel.
    half = texel / 2
    return ((torch.clamp(x + half, max=high) - torch.clamp(x - half, min=low)) / texel).clamp(0, 1)


def _pulse(x: Tensor, period: float, low: float, high: float, texel: float) -> Tensor:
    if texel >= period:
        return torch.full_like(x, (high - low) / period)
    f = x - period * torch.floor(x / period)
    return (
        _band(f, low, high, texel) + _band(f - period, low, high, texel) + _band(f + period, low, high, texel)
    ).clamp(0, 1)


def ripmap(tiles: Tensor, out: Tensor | None = None) -> Tensor:
    """Pre-filter tiles (..., R, R), R a power of two, separately in both directions: (..., 2R, 2R), in `out` if given.

    The level that is 2**i times coarser up and 2**j times coarser across starts at row 2R - 2R / 2**i and column
    2R - 2R / 2**j. A surface seen at a grazing angle needs far more filtering along its depth than across it: a
    plain mip-map would blur it or let it shimmer.
    """
    size = tiles.shape[-1]
    if out is None:
        out = torch.zeros(*tiles.shape[:-2], 2 * size, 2 * size)
    down = tiles
    row, rows = 0, size
    while rows:
        level = down
        column, columns = 0, size
        while columns:
            out[..., row : row + rows, column : column + columns] = level
            column += columns
            columns //= 2
            if columns:
                level = (level[..., 0::2] + level[..., 1::2]) / 2
        row += rows
        rows //= 2
        if rows:
            down = (down[..., 0::2, :] + down[..., 1::2, :]) / 2
    return out
