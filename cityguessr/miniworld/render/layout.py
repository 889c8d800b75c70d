"""From a plan to the street that is built: tables of heights, tiles and things, by plot and side."""

from __future__ import annotations

import dataclasses
import itertools

import torch
from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.plan import BEHIND, INDOOR, Scene, VideoPlan
from cityguessr.miniworld.render import parcels, pavement
from cityguessr.miniworld.style import Style

OUTLINE = 4  # steps per metre


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Tables of a street; those by plot are (2 * plots,), left side first, those by cell (2 * cells,).

    Attributes:
        half, kerb: metres from the middle of the road to the fronts, and to the kerb; `back`: from the fronts to
            the second row.
        front, back_height: heights of the first and the second row in metres; `front_rise`, `back_rise`: of the
            roofs above; `front_tile`, `back_tile`, `land`, `street`: tile numbers; `depth`: of the first row; `gloss`:
            how much the open ground mirrors the sky.
        phase: metres along the street from the beginning of a ground tile to s = 0; back_rough: how far the top of the
            second row rises and falls in metres; back_depth: how deep its flanks are.
        outline: how ragged tops run along the street, in [-1, 1], `OUTLINE` steps per metre, repeated.
        thing, thing_width, thing_height, thing_offset: what stands in a cell (tile number, 0 for nothing), its size
            in metres, and how far it stands from the furniture line, outwards.
        spans: the covered stretches as (start, end) in metres along the street.
        masts: where cranes and chimneys stand: metres along the street, and right of its middle.
        hills, skyline: heights of the horizon as tangents of elevation, by bearing.
        sights: what rises over the roofs where that is known: tile, metres along the street and right of its middle,
            size in metres, and from how many metres it is seen. None: the city's landmark, somewhere, in half of the
            videos.
        tint: factors on red, green and blue of the road (three rows), of its verges and of the walls (three each) by
            plot, (9, 2 * plots); None for none.
    """

    half: float
    kerb: float
    back: float
    plots: int
    cells: int
    front: Tensor
    front_rise: Tensor
    front_tile: Tensor
    depth: Tensor
    back_height: Tensor
    back_rise: Tensor
    back_tile: Tensor
    land: Tensor
    street: Tensor
    gloss: Tensor
    phase: Tensor
    back_rough: Tensor
    back_depth: Tensor
    outline: Tensor
    has_woods: bool
    thing: Tensor
    thing_width: Tensor
    thing_height: Tensor
    thing_offset: Tensor
    spans: tuple[tuple[float, float], ...]
    masts: tuple[tuple[float, float], ...]
    hills: Tensor
    skyline: Tensor
    sights: tuple[tuple[int, float, float, float, float], ...] | None = None
    tint: Tensor | None = None

    def to(self, device: str | torch.device) -> Layout:
        """The same tables on another device."""
        tables = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **tables)


def build(plan: VideoPlan, style: Style) -> Layout:
    """Lay out the street of a plan."""
    hills, skyline = _horizon(style, plan)
    tables = parcels.build(plan, style) | pavement.furnish(plan, style)
    return Layout(
        half=style.street_half,
        kerb=style.road_half,
        back=8.0 + noise.key(plan.key, "back") % 7,
        plots=len(plan.plots),
        cells=tables["thing"].shape[1],
        **{name: table.reshape(-1) for name, table in tables.items()},
        outline=_outline(plan),
        has_woods=bool((tables["back_rough"] > 0).any()),
        spans=_covered(plan),
        masts=_masts(plan, style),
        hills=hills,
        skyline=skyline,
    )


def _outline(plan: VideoPlan) -> Tensor:
    """The ragged outline of tree tops: crowns of some metres, boughs and twigs."""
    key, n = noise.key(plan.key, "outline"), 256 * OUTLINE
    octaves = ((40, 0.40), (100, 0.35), (240, 0.25))
    return sum(share * (2 * noise.smooth(key + cells, 1, n, (1, cells))[0] - 1) for cells, share in octaves)


def _covered(plan: VideoPlan) -> tuple[tuple[float, float], ...]:
    """The covered stretches as (start, end) in metres along the street."""
    indoor = [False, *(kind in INDOOR for kind in plan.plots), False]
    edges = [i for i, (before, after) in enumerate(itertools.pairwise(indoor)) if before != after]
    metres = [edge * plan.plot_width - BEHIND for edge in edges]
    return tuple(zip(metres[::2], metres[1::2], strict=True))


def _masts(plan: VideoPlan, style: Style) -> tuple[tuple[float, float], ...]:
    """Where cranes and chimneys stand: metres along the street, and right of its middle."""
    beside = style.street_half + 13
    return tuple(
        ((i + 0.7) * plan.plot_width - BEHIND, beside * (1 if noise.key(plan.key, i) % 2 else -1))
        for i, (before, kind) in enumerate(itertools.pairwise(plan.plots), 1)
        if kind == Scene.WORKS != before and plan.has_mast(i)
    )


def _horizon(style: Style, plan: VideoPlan) -> tuple[Tensor, Tensor]:
    """The outline of hills and of the city far away, 2048 steps of bearing each."""
    n = 2048
    relief = style.u("relief", -0.02, 0.22) if style.traits["relief"] > -0.6 else 0.01
    x = torch.zeros(n)
    amount, total, cells = 1.0, 0.0, 5 + int(style.u("rough", 0, 5))
    for octave in range(6):
        x += amount * noise.smooth(noise.key(plan.key, "hills", octave), 1, n, (1, cells))[0]
        total += amount
        amount, cells = amount * style.u("rough", 0.35, 0.60), cells * 2
    hills = max(relief, 0.0) * (x / total * 1.8 - 0.35).clamp(min=0)
    step = torch.arange(n) // 12
    block = noise.uniform(noise.key(plan.key, "skyline"), step)
    near = torch.exp(-(((torch.arange(n) - n / 2) / (n * 0.2)) ** 2))
    skyline = style.u("skyline", 0.01, 0.10) * (0.25 + block**2 * 1.6) * (0.35 + 0.65 * near) * (block > 0.25)
    return hills, skyline


def tile_size(height: int) -> int:
    """Texels a tile for a picture of that height: the nearest pavement should not look coarse."""
    return 64 if height <= 100 else 128 if height <= 200 else 256
