"""From a plan to the street that is built: tables of heights, tiles and things, by plot and side."""

import dataclasses
import itertools
import math

import torch
from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.plan import BEHIND, INDOOR, VideoPlan
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles import atlas as a
from cityguessr.miniworld.tiles import grounds

CELL = 4.5  # metres between things on the pavement
HALL_HEIGHT, PORTAL = 4.6, 3.0  # of a covered street, and of the wall above its mouth
_WATER, _HILLS, _FOREST, _ELEMENTS, _ROADS, _MONUMENTS, _PARKS, _WORKS, _HOUSES, _TRADE = range(6, 16)
_GRASS, _SOIL, _SEA, _SNOW, _GARDEN, _COURT, _YARD, _PARKING = (a.LAND + i for i in range(8))


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Tables of a street; those by plot are (2 * plots,), left side first, those by cell (2 * cells,).

    Attributes:
        half, kerb: metres from the middle of the road to the fronts, and to the kerb; `back`: from the fronts to
            the second row.
        front, back_height: heights of the first and the second row in metres; `front_rise`, `back_rise`: of the
            roofs above; `front_tile`, `back_tile`, `land`, `street`: tile numbers; `depth`: of the first row; `gloss`:
            how much the open ground mirrors the sky.
        thing, thing_width, thing_height, thing_offset: what stands in a cell (tile number, 0 for nothing), its size
            in metres, and how far it stands from the furniture line, outwards.
        spans: the covered stretches as (start, end) in metres along the street.
        masts: where cranes and chimneys stand: metres along the street, and right of its middle.
        hills, skyline: heights of the horizon as tangents of elevation, by bearing.
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
    thing: Tensor
    thing_width: Tensor
    thing_height: Tensor
    thing_offset: Tensor
    spans: tuple[tuple[float, float], ...]
    masts: tuple[tuple[float, float], ...]
    hills: Tensor
    skyline: Tensor

    def to(self, device: str | torch.device) -> "Layout":
        """The same tables on another device."""
        tables = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **tables)


def build(plan: VideoPlan, style: Style) -> Layout:
    """Lay out the street of a plan."""
    count = len(plan.plots)
    kinds = torch.tensor(plan.plots)
    side = torch.arange(2)[:, None]  # 0 left, 1 right
    plot = torch.arange(count)[None]
    seed = plan.key

    def die(*what: object) -> Tensor:
        return noise.uniform(noise.key(seed, *what), side, plot)  # (2, plots)

    def run_die(what: str) -> Tensor:
        return by_run(plan, what)

    mean = math.exp(style.u("height", math.log(6.5), math.log(30)))
    spread = style.u("height_spread", 0.08, 0.45)
    storey = 12.0 / 4
    height = 4 + storey * torch.round((mean * torch.exp(spread * 2.6 * (die("h") - 0.5)) - 4) / storey).clamp(min=0.0)
    towers = (die("tower") < max(0.0, style.u("height", -0.25, 0.40))) & (mean > 12)
    height = torch.where(towers, height * 1.8 + 10, height) + 0.7
    fronts = a.FRONT + (die("front") * 6).floor()
    fronts = torch.where(towers, a.TOWER + (die("which") * 2).floor(), fronts)
    rise = style.u("gable", -4.5, 5.5)
    roofs = torch.where(towers, 0.0, torch.full_like(height, max(0.0, rise)))
    cold = snowy(plan, style)

    t = {
        "front": height * 0, "front_rise": height * 0, "front_tile": fronts * 0 + a.HEDGE, "depth": height * 0 + 0.4,
        "back_height": height * 0, "back_rise": height * 0, "back_tile": fronts, "land": fronts * 0 + _GRASS,
        "street": height * 0 + a.ROAD, "gloss": height * 0,
    }  # fmt: skip

    def put(where: Tensor, **values: Tensor | float) -> None:
        for name, value in values.items():
            t[name] = torch.where(where, torch.as_tensor(value, dtype=torch.float32), t[name])

    is_ = [(kinds == k)[None].expand(2, -1) for k in range(16)]
    soil = _SOIL if style.arid or style.traits["green"] < -0.3 else _GRASS
    open_side = open_sides(plan)
    for scene in INDOOR:
        put(
            is_[scene], front=HALL_HEIGHT + PORTAL, front_tile=a.HALL + scene, depth=9.0, street=a.ROAD + 4,
            back_height=height, back_tile=fronts,
        )  # fmt: skip
    built = {"front": height, "front_tile": fronts, "front_rise": roofs, "depth": 11.0}
    put(is_[_TRADE], **built)
    put(is_[_TRADE] & (plot % 5 == 2), street=a.ROAD + 1)
    water = is_[_WATER]
    put(water & open_side, front=1.05, front_tile=a.RAILING, land=_SNOW if cold else _SEA, gloss=0.15 if cold else 0.85)
    put(water & ~open_side, **built)
    put(is_[_HILLS], front=0.0, land=soil if soil == _SOIL else _SOIL, back_height=0.0)
    put(
        is_[_HILLS] & (die("rocks") < 0.35),
        back_height=1.0 + 4 * die("rock"),
        back_tile=a.HEDGE if soil == _GRASS else a.FENCE,
    )
    put(is_[_FOREST], land=_GRASS, back_height=7 + 6 * die("wood"), back_tile=a.TREES)
    put(is_[_ELEMENTS], front=0.7, front_tile=a.FENCE, land=_GARDEN, back_height=2.2 + die("wall"), back_tile=a.HEDGE)
    put(is_[_ROADS], front=0.85, front_tile=a.RAILING, land=_PARKING, street=a.ROAD + 3)
    put(is_[_ROADS] & open_side, land=_SEA if style.traits["water"] > 0 else soil)
    put(is_[_ROADS] & ~open_side, back_height=height, back_tile=fronts)
    monument = is_[_MONUMENTS]
    put(
        monument, front=12 + 6 * run_die("nave").round(), front_tile=a.HISTORIC + (run_die("m") * 2).floor(),
        street=a.ROAD + 2, depth=12.0, front_rise=torch.where(die("dome") < 0.3, 6.0, 0.0),
    )  # fmt: skip
    put(monument & (die("gap") < 0.2), front=0.0, front_rise=0.0, land=_GARDEN, back_height=height, back_tile=fronts)
    put(is_[_PARKS], front=0.6, front_tile=a.FENCE, land=_GRASS, back_height=4 + 2 * die("wood"), back_tile=a.TREES)
    put(is_[_PARKS] & open_side, land=_COURT, front=1.3)
    put(is_[_WORKS], front=7 + 4 * die("shed").round(), front_tile=a.WORKS + (run_die("w") * 2).floor(), depth=14.0)
    put(
        is_[_WORKS] & (die("yard") < 0.35),
        front=2.0,
        front_tile=a.FENCE,
        land=_YARD,
        back_height=9.0,
        back_tile=a.WORKS,
    )
    put(
        is_[_HOUSES], front=0.7 + 0.5 * run_die("f").round(), land=_GARDEN,
        front_tile=a.HEDGE if style.traits["green"] > 0 else a.FENCE,
        back_height=3.3 + 3.0 * (die("floors") < 0.55), back_tile=a.HOUSE + (die("house") * 3).floor(),
        back_rise=2.0 + style.u("gable", 0.3, 2.2),
    )  # fmt: skip
    if cold:
        put((t["land"] == _GRASS) | (t["land"] == _SOIL) | (t["land"] == _GARDEN), land=_SNOW)

    things = _things(plan, style, kinds, t)
    indoor = [False, *(kind in INDOOR for kind in plan.plots), False]
    edges = [i for i, (before, here) in enumerate(itertools.pairwise(indoor)) if before != here]
    spans = [
        (first * plan.plot_width - BEHIND, last * plan.plot_width - BEHIND)
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]
    middle = [i for i in range(1, count) if plan.plots[i] == _WORKS != plan.plots[i - 1]]
    masts = [
        (
            (i + 0.7) * plan.plot_width - BEHIND,
            (grounds.street_half(style) + 13) * (1 if noise.key(seed, i) % 2 else -1),
        )
        for i in middle
        if has_mast(plan, i)
    ]
    hills, skyline = _horizon(style, plan)
    return Layout(
        half=grounds.street_half(style), kerb=grounds.road_half(style), back=8.0 + noise.key(seed, "back") % 7,
        plots=count, cells=things[0].shape[1],
        **{name: table.expand(2, -1).reshape(-1).contiguous() for name, table in t.items()},
        thing=things[0].reshape(-1), thing_width=things[1].reshape(-1), thing_height=things[2].reshape(-1),
        thing_offset=things[3].reshape(-1),
        spans=tuple(spans), masts=tuple(masts), hills=hills, skyline=skyline,
    )  # fmt: skip


def by_run(plan: VideoPlan, what: str) -> Tensor:
    """A draw in [0, 1) for each side of each run of one scene kind, as (2, plots), left side first."""
    kinds = torch.tensor(plan.plots)
    run = torch.cat([torch.zeros(1, dtype=torch.int64), (kinds[1:] != kinds[:-1]).long().cumsum(0)])
    return noise.uniform(noise.key(plan.key, what), torch.arange(2)[:, None], run[None])


def open_sides(plan: VideoPlan) -> Tensor:
    """Which sides lie open where a scene may open to one side: bool (2, plots), one of the two at least."""
    is_open = by_run(plan, "open") < 0.5
    neither = ~is_open & ~is_open.flip(0)
    return is_open | (neither & (torch.arange(2)[:, None] == 1))


def snowy(plan: VideoPlan, style: Style) -> bool:
    """Whether snow lies in a video, as it may where it is cold."""
    return style.warmth < 0.45 and noise.key(plan.key, "snow") % 100 < 45


def has_mast(plan: VideoPlan, plot: int) -> bool:
    """Whether a crane stands where a run of industry begins at that plot."""
    return noise.key(plan.key, "mast", plot) % 10 < 6


def _things(plan: VideoPlan, style: Style, kinds: Tensor, t: dict[str, Tensor]) -> list[Tensor]:
    """Trees, lamps, signs, cars and people along both pavements: tile, width, height, offset, each (2, cells)."""
    cells = int(len(plan.plots) * plan.plot_width / CELL)
    at = ((torch.arange(cells) + 0.5) * CELL / plan.plot_width).long().clamp(max=len(plan.plots) - 1)
    kind = kinds[at][None].expand(2, -1)
    side, cell = torch.arange(2)[:, None], torch.arange(cells)[None]

    def die(what: str) -> Tensor:
        return noise.uniform(noise.key(plan.key, what), side, cell)

    tile, width, height = torch.zeros(2, cells), torch.zeros(2, cells), torch.ones(2, cells)  # no width: nothing
    offset = torch.zeros(2, cells)
    left, vary = die("what"), 0.82 + 0.3 * die("size")

    def put(where: Tensor, number: Tensor | int, w: float, h: float, out: Tensor | float = 0.0) -> None:
        tile[where] = torch.as_tensor(number, dtype=torch.float32).expand(2, cells)[where]
        width[where], height[where] = (w * vary)[where], (h * vary)[where]
        offset[where] = torch.as_tensor(out, dtype=torch.float32).expand(2, cells)[where]

    density = style.u("trees", 0.02, 0.42)
    wooded = torch.full((16,), density)
    wooded[torch.tensor([8, 9, 12])] = torch.tensor([0.85, 0.5, 0.6])
    wooded[torch.tensor([10, 13, 7])] = torch.tensor([0.05, 0.04, 0.08])
    wooded[:6] = 0.0
    tall = 4.0 + 1.0 * style.u("trees")
    tree = a.TREE + (die("tree") * 4).floor()
    put(left < wooded[kind], tree, tall, tall * 1.25, die("out") * 0.6 + (kind == 8) * 2.0 * die("deep"))
    rest = left >= wooded[kind]
    second = die("second")
    urban = (kind >= 9) & rest
    own = 0 if style.drives_left else 1  # parked cars face the way their side drives
    parked = a.CAR + (die("car") * 2).floor() + 2 * (side != own)
    put(urban & (second < style.u("traffic", 0.05, 0.45)), parked, 1.85, 1.5, -1.15)
    people = rest & (second > 0.86) & (kind != 10)
    put(people, a.PERSON + (die("who") * 4).floor(), 0.75, 1.72, die("where") * 0.9)
    put(urban & (second > 0.62) & (second < 0.68), a.SIGN, 0.9, 2.7)
    put((kind == 10) & rest & (second > 0.8), a.SIGN + 1, 2.1, 3.6, 0.5)
    put((kind == 15) & rest & (second > 0.70) & (second < 0.78), a.STALL, 2.6, 2.7, 0.2)
    put(rest & (second > 0.50) & (second < 0.56) & ((kind == 11) | (kind == 2) | (kind == 9)), a.PLANTER, 1.3, 1.3)
    every = int(style.pick("poles", (4, 5, 7, 9)))
    lamps = ((cell + side * (every // 2)) % every == 0) & (kind >= 6)
    put(lamps, a.LAMP, 2.6, 6.4)
    # A cut-out must not reach across the line of sight: what stands beside the camera's way is trimmed to the gap.
    gap = grounds.road_half(style) + 0.7 - (2 * side - 1) * plan.lateral - 0.45
    width = torch.minimum(width, 2 * (gap + offset).clamp(min=0.0))
    return [tile, width, height, offset]


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


def page_size(height: int) -> int:
    """Texels a tile for a picture of that height: the nearest pavement should not look coarse."""
    return 64 if height <= 100 else 128 if height <= 200 else 256
