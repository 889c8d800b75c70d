"""What stands on the pavements: trees, lamps, signs, parked cars and people, at most one of them in each cell."""

import torch
from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.plan import INDOOR, Scene, VideoPlan
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.atlas import Tile
from cityguessr.miniworld.tiles.sprites import MAKES, PEOPLE

CELL = 4.5  # metres of pavement
CLEARANCE = 0.45  # metres beside the camera's mean line that nothing reaches into
# How likely a tree is in a cell, where the city does not decide.
_WOODED = dict.fromkeys(INDOOR, 0.0) | {
    Scene.FOREST: 0.85, Scene.ELEMENTS: 0.5, Scene.PARKS: 0.6, Scene.ROADS: 0.05, Scene.WORKS: 0.04, Scene.HILLS: 0.08,
}  # fmt: skip


def furnish(plan: VideoPlan, style: Style) -> dict[str, Tensor]:
    """The tables by cell of a `layout.Layout`: name -> float32 (2, cells), left side first."""
    cells = int(len(plan.plots) * plan.plot_width / CELL)
    plot = ((torch.arange(cells) + 0.5) * CELL / plan.plot_width).long().clamp(max=len(plan.plots) - 1)
    kind = torch.tensor(plan.plots)[plot].expand(2, -1)
    side, cell = torch.arange(2)[:, None], torch.arange(cells)[None]

    def draw(what: str) -> Tensor:
        return noise.uniform(noise.key(plan.key, what), side, cell)

    tile, width, height = torch.zeros(2, cells), torch.zeros(2, cells), torch.ones(2, cells)  # no width: nothing
    offset = torch.zeros(2, cells)
    size = 0.82 + 0.3 * draw("size")

    def put(where: Tensor, number: Tensor | int, w: float, h: float, out: Tensor | float = 0.0) -> None:
        tile[where] = torch.as_tensor(number, dtype=torch.float32).expand(2, cells)[where]
        width[where], height[where] = (w * size)[where], (h * size)[where]
        offset[where] = torch.as_tensor(out, dtype=torch.float32).expand(2, cells)[where]

    density = style.u("trees", 0.02, 0.42)
    wooded = draw("what") < torch.tensor([_WOODED.get(scene, density) for scene in range(16)])[kind]
    tall = 4.0 + 1.0 * style.u("trees")
    deep = draw("out") * 0.6 + (kind == Scene.FOREST) * 2.0 * draw("deep")
    put(wooded, Tile.TREE + (draw("tree") * 4).floor(), tall, tall * 1.25, deep)
    second = draw("second")

    def between(low: float, high: float = 1.0) -> Tensor:
        return ~wooded & (second > low) & (second < high)

    urban = kind >= Scene.ELEMENTS
    traffic_side = 0 if style.drives_left else 1  # parked cars face the way their side drives
    parked = Tile.CAR + (draw("car") * MAKES).floor() + MAKES * (side != traffic_side)
    driven = urban & ~((kind == Scene.MONUMENTS) & plan.walk)  # on foot, monuments stand on a square
    put(driven & between(-1.0, style.u("traffic", 0.05, 0.45)), parked, 1.85, 1.5, -1.15)
    who = Tile.PERSON + (draw("who") * PEOPLE).floor()
    put((kind != Scene.ROADS) & between(0.86), who, 0.75, 1.72, draw("where") * 0.9)
    put(urban & between(0.62, 0.68), Tile.SIGN, 0.9, 2.7)
    # Name boards: at most one in 40 metres of a side, those of the other side half way between them.
    turn = (cell + 5 * side + plan.key % 9) % 9 == 0
    put((kind == Scene.ROADS) & turn & between(0.2), Tile.SIGN + 1, 2.1, 3.6, 0.5)
    put((kind == Scene.TRADE) & between(0.70, 0.78), Tile.STALL, 2.6, 2.7, 0.2)
    tubs = (kind == Scene.MONUMENTS) | (kind == Scene.HOTEL) | (kind == Scene.ELEMENTS)
    put(tubs & between(0.50, 0.56), Tile.PLANTER, 1.3, 1.3)
    every = int(style.pick("poles", (4, 5, 7, 9)))
    put(((cell + side * (every // 2)) % every == 0) & (kind >= Scene.WATER), Tile.LAMP, 2.6, 6.4)
    # Nothing may reach across the line of sight. A car in the camera's way stands further out, as far as the pavement
    # goes, and other things are smaller; what does not fit is left out.
    gap = style.road_half + 0.7 - (2 * side - 1) * plan.lateral - CLEARANCE
    cars = (tile >= Tile.CAR) & (tile < Tile.PERSON)
    outermost = style.street_half - style.road_half - 0.7 - width / 2
    moved = torch.maximum(offset, torch.minimum(width / 2 - gap, outermost))
    offset = torch.where(cars, moved, offset)
    room = (2 * (gap + offset) / width.clamp(min=0.1)).clamp(0.0, 1.0)
    room[(room < 0.65) | (cars & (room < 0.999))] = 0.0
    return {"thing": tile, "thing_width": width * room, "thing_height": height * room, "thing_offset": offset}
