"""What is built on the plots of a street: the houses of the city, or what the scene of a plot puts in their place."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.plan import BEHIND, INDOOR, Scene, VideoPlan
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.atlas import Tile

TEXTURE = 16.0  # metres of street that a ground tile shows
_CROSSING = 6.2  # metres from the near end of its tile to the middle of a crossing
HALL_HEIGHT, PORTAL = 4.6, 3.0  # metres: of a covered street, and of the wall above its mouth
_STOREY = 3.0  # metres


def build(plan: VideoPlan, style: Style) -> dict[str, Tensor]:
    """The tables by plot of a `layout.Layout`: name -> float32 (2, plots), left side first."""
    site = _Site(plan, style)
    kinds = torch.tensor(plan.plots).expand(2, -1)
    for kind in set(plan.plots):
        where = kinds == kind
        if kind in INDOOR:
            _build_hall(site, where, kind)
        else:
            _SCENES[kind](site, where)
    if site.snowy:
        land = site.tables["land"]
        site.put((land == Tile.GRASS) | (land == Tile.SOIL) | (land == Tile.GARDEN), land=Tile.SNOW)
    _taper_woods(site)
    _align(site)
    return site.tables


class _Site:
    """The tables to fill, and what every scene may use: the houses of the city and random draws.

    Attributes:
        height, front, roof: of the houses of the city, (2, plots): metres, tiles of the fronts, rise of the roofs.
        open_side: where a scene may open to one side, bool (2, plots).
        bare: the tile of open ground, grass or soil.
        snowy: whether snow lies.
    """

    def __init__(self, plan: VideoPlan, style: Style) -> None:
        self.plan, self.style = plan, style
        self.side, self.plot = torch.arange(2)[:, None], torch.arange(len(plan.plots))[None]  # 0 left, 1 right
        mean = math.exp(style.u("height", math.log(6.5), math.log(30)))
        spread = style.u("height_spread", 0.08, 0.45)
        metres = mean * torch.exp(spread * 2.6 * (self.draw("h") - 0.5))
        height = 4 + _STOREY * torch.round((metres - 4) / _STOREY).clamp(min=0.0)
        towers = (self.draw("tower") < max(0.0, style.u("height", -0.25, 0.40))) & (mean > 12)
        self.height = torch.where(towers, height * 1.8 + 10, height) + 0.7
        front = Tile.FRONT + (self.draw("front") * 6).floor()
        self.front = torch.where(towers, Tile.TOWER + (self.draw("which") * 2).floor(), front)
        self.roof = torch.where(towers, 0.0, torch.full_like(height, max(0.0, style.u("gable", -2.8, 3.4))))
        self.open_side = plan.open_sides
        self.bare = Tile.SOIL if style.arid or style.traits["green"] < -0.3 else Tile.GRASS
        self.snowy = plan.is_snowy(style)
        zero = torch.zeros_like(height)
        self.tables = {
            "front": zero, "front_rise": zero, "front_tile": zero + Tile.HEDGE, "depth": zero + 0.4,
            "back_height": zero, "back_rise": zero, "back_tile": self.front, "land": zero + Tile.GRASS,
            "street": zero + Tile.ROAD, "gloss": zero, "phase": zero, "back_rough": zero, "back_depth": zero,
        }  # fmt: skip

    def draw(self, *what: object) -> Tensor:
        """A draw in [0, 1) for each side of each plot, (2, plots)."""
        return noise.uniform(noise.key(self.plan.key, *what), self.side, self.plot)

    def put(self, where: Tensor, **values: Tensor | float) -> None:
        """Fill in tables where a mask (2, plots) holds."""
        for name, value in values.items():
            self.tables[name] = torch.where(where, torch.as_tensor(value, dtype=torch.float32), self.tables[name])

    def put_houses(self, where: Tensor) -> None:
        """The city's houses as the first row."""
        self.put(where, front=self.height, front_tile=self.front, front_rise=self.roof, depth=11.0)

    def put_houses_behind(self, where: Tensor) -> None:
        """The city's houses as the second row."""
        self.put(where, back_height=self.height, back_tile=self.front, back_depth=11.0)

    def put_trees_behind(self, where: Tensor, height: Tensor) -> None:
        """Trees as the second row, up to a height (2, plots): a crown on every plot, so that no wall of leaves ends."""
        self.put(where, back_height=0.7 * height, back_rise=0.3 * height, back_tile=Tile.TREES)


def _build_hall(site: _Site, where: Tensor, kind: int) -> None:
    floor = Tile.COVERED if site.plan.walk else Tile.ROAD  # a car drives through on the road
    site.put(where, front=HALL_HEIGHT + PORTAL, front_tile=Tile.HALL + kind, depth=9.0, street=floor)
    site.put_houses_behind(where)


def _build_trade(site: _Site, where: Tensor) -> None:
    site.put_houses(where)
    site.put(where & (site.plot % 5 == 2), street=Tile.CROSSING)


def _build_water(site: _Site, where: Tensor) -> None:
    land, gloss = (Tile.SNOW, 0.15) if site.snowy else (Tile.WATER, 0.85)
    site.put(where & site.open_side, front=1.05, front_tile=Tile.RAILING, land=land, gloss=gloss)
    site.put_houses(where & ~site.open_side)


def _build_hills(site: _Site, where: Tensor) -> None:
    site.put(where, front=0.0, land=Tile.SOIL, back_height=0.0)
    rock = Tile.HEDGE if site.bare == Tile.GRASS else Tile.FENCE
    site.put(where & (site.draw("rocks") < 0.35), back_height=1.0 + 4 * site.draw("rock"), back_tile=rock)


def _build_forest(site: _Site, where: Tensor) -> None:
    site.put(where, land=Tile.GRASS)
    site.put_trees_behind(where, 7 + 6 * site.draw("wood"))


def _build_elements(site: _Site, where: Tensor) -> None:
    site.put(
        where, front=0.7, front_tile=Tile.FENCE, land=Tile.GARDEN,
        back_height=2.2 + site.draw("wall"), back_tile=Tile.HEDGE,
    )  # fmt: skip


def _build_roads(site: _Site, where: Tensor) -> None:
    site.put(where, front=0.85, front_tile=Tile.RAILING, land=Tile.PARKING, street=Tile.HIGHWAY)
    site.put(where & site.open_side, land=Tile.WATER if site.style.traits["water"] > 0 else site.bare)
    site.put_houses_behind(where & ~site.open_side)


def _build_monuments(site: _Site, where: Tensor) -> None:
    # On foot one crosses squares; what a car drives on is a road.
    site.put(
        where, front=12 + 6 * site.plan.draw_by_run("nave").round(), depth=12.0,
        street=Tile.PLAZA if site.plan.walk else Tile.ROAD,
        front_tile=Tile.HISTORIC + (site.plan.draw_by_run("m") * 2).floor(),
        front_rise=torch.where((site.plot % 5 == 2) & (site.draw("dome") < 0.6), 3.0, 0.0),
    )  # fmt: skip
    gap = where & (site.draw("gap") < 0.2)
    site.put(gap, front=0.0, front_rise=0.0, land=Tile.GARDEN)
    site.put_houses_behind(gap)


def _build_parks(site: _Site, where: Tensor) -> None:
    site.put(where, front=0.6, front_tile=Tile.FENCE, land=Tile.GRASS)
    site.put_trees_behind(where, 4 + 2 * site.draw("wood"))
    site.put(where & site.open_side, land=Tile.COURT, front=1.3)


def _build_works(site: _Site, where: Tensor) -> None:
    sheds = Tile.WORKS + (site.plan.draw_by_run("w") * 2).floor()
    site.put(where, front=7 + 4 * site.draw("shed").round(), front_tile=sheds, depth=14.0)
    yard = where & (site.draw("yard") < 0.35)
    site.put(
        yard, front=2.0, front_tile=Tile.FENCE, land=Tile.YARD, back_height=9.0, back_tile=Tile.WORKS, back_depth=11.0
    )


def _build_houses(site: _Site, where: Tensor) -> None:
    site.put(
        where, front=0.7 + 0.5 * site.plan.draw_by_run("f").round(), land=Tile.GARDEN,
        front_tile=Tile.HEDGE if site.style.traits["green"] > 0 else Tile.FENCE,
        back_height=3.3 + 3.0 * (site.draw("floors") < 0.55), back_tile=Tile.HOUSE + (site.draw("house") * 3).floor(),
        back_rise=2.0 + site.style.u("gable", 0.3, 2.2), back_depth=9.0,
    )  # fmt: skip


def _align(site: _Site) -> None:
    """Where ground tiles begin: the right side repeats the left one further on, so that the two are not twins.

    Further by whole dashes of the centre line, so that both halves of it agree (its length is `grounds.paint_street`'s
    pick of the same trait); and a crossing lies across the middle of its plot.
    """
    apart = float(site.style.pick("dashes", (TEXTURE / 2, TEXTURE / 2, TEXTURE / 2, TEXTURE / 3)))
    width = site.plan.plot_width
    middle = _CROSSING - ((site.plot + 0.5) * width - BEHIND)
    crossing = site.tables["street"] == Tile.CROSSING
    site.put(crossing | ~crossing, phase=site.side * apart + 0 * site.plot)
    site.put(crossing, phase=middle)


def _taper_woods(site: _Site) -> None:
    """Woods thin out where they end, and their tops are ragged: no wall of leaves that was cut with a knife."""
    tables = site.tables
    trees = tables["back_tile"] == Tile.TREES
    whole = tables["back_height"] + tables["back_rise"]
    ends = trees & ~(trees.roll(1, 1) & trees.roll(-1, 1))
    site.put(ends, back_height=0.3 * whole, back_rise=0.6 * whole)
    site.put(trees, back_rough=0.3 * whole)


_SCENES: dict[int, Callable[[_Site, Tensor], None]] = {
    Scene.WATER: _build_water,
    Scene.HILLS: _build_hills,
    Scene.FOREST: _build_forest,
    Scene.ELEMENTS: _build_elements,
    Scene.ROADS: _build_roads,
    Scene.MONUMENTS: _build_monuments,
    Scene.PARKS: _build_parks,
    Scene.WORKS: _build_works,
    Scene.HOUSES: _build_houses,
    Scene.TRADE: _build_trade,
}
