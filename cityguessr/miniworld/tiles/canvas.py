"""A small drawing board for texture tiles: anti-aliased boxes, stripes and discs in metres, and their rip-maps.

Tiles hold five channels: linear red, green, blue (albedo), coverage (alpha) and glow (how much of the light after
dark comes from there: lit windows, shop signs, lamps).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from cityguessr.miniworld import noise
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
        count = max(2, min(9, round((right - left) / (top - bottom) / 1.1)))
        letters = torch.cat([_letter(noise.key(seed, i), script) for i in range(count)], 1)  # (7, 7 * count)
        rows = ((self.v - bottom) / (top - bottom) * 7).floor().long().clamp(0, 6)
        columns = ((self.u - left) / (right - left) * letters.shape[1]).floor().long().clamp(0, letters.shape[1] - 1)
        self.paint(letters.flip(0)[rows, columns] * self.box(left, right, bottom, top), color, glow)


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


def _letter(seed: int, script: str) -> Tensor:
    """One made-up letter, (7, 7) of 0 and 1, row 0 on top: five rows and columns of ink, spaces around."""
    ink = noise.uniform(seed, torch.arange(5)[:, None], torch.arange(5)[None])
    on = ink < {"han": 0.55, "hangul": 0.2, "arabic": 0.16, "southeast": 0.25}.get(script, 0.3)
    turn = noise.key(seed, "turn") % 4
    if script in ("latin", "cyrillic", "greek"):
        on[:, 0] = True
        on[(0, 2, 4, 0)[turn]] = True
        on[:, 4] |= script == "cyrillic" and turn < 2
    elif script == "han":
        on[turn] = True
        on[:, 2] = True
    elif script == "hangul":
        on[:, 4] = True
        on[:3, 0] = on[0, :3] = on[2, :3] = turn < 3
        on[4] |= turn > 1
    elif script == "arabic":
        on[3] = True
        on[1:4, turn + 1] = True
    elif script == "indic":
        on[0] = True
        on[:, turn] = True
    elif script == "southeast":
        on[1:4, 0] = on[1:4, 4] = on[0, 1:4] = True
        on[2, 2] = True
    elif script == "hebrew":
        on[0, :4] = True
        on[:, 4] = turn < 3
    elif script == "ethiopic":
        on[0] = True
        on[:, 0] = on[:, 4] = True
    return F.pad(on.float(), (1, 1, 1, 1))


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
