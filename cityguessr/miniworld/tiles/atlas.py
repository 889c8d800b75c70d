"""All texture tiles of one city on one rip-mapped page, so that a whole frame is shaded by a few look-ups."""

import dataclasses

import torch
from torch import Tensor

from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles import canvas, facades, grounds, sprites

GRID = 8  # tiles a side of the page
FRONT, TOWER, HISTORIC, HOUSE, WORKS, ROOF = 0, 6, 8, 10, 13, 15
SIDE, HEDGE, FENCE, RAILING, TREES, HALL = 16, 17, 18, 19, 20, 21
CEILING, CLOUDS, ROAD, LAND = 27, 28, 29, 34
STREETS = ("road", "crossing", "plaza", "highway", "hall")
TREE, LAMP, SIGN, CAR, PERSON, STALL, PLANTER, MAST, LANDMARK, MOUTH = 42, 46, 47, 49, 53, 57, 58, 59, 60, 61


@dataclasses.dataclass(frozen=True, eq=False)
class Atlas:
    """The page (1, 5, 16 size, 16 size) of a city, on the device that renders; `size` texels a tile."""

    style: Style
    size: int
    page: Tensor


def bake(style: Style, size: int, device: str | torch.device = "cpu") -> Atlas:
    """Draw the tiles of a city at size x size texels each (a power of two) and pre-filter them."""
    width = style.plot_width
    tiles: dict[int, Tensor] = {}
    tiles |= {FRONT + i: facades.front(style, size, width, i) for i in range(6)}
    tiles |= {TOWER + i: facades.tower(style, size, width, i) for i in range(2)}
    tiles |= {HISTORIC + i: facades.historic(style, size, width, i) for i in range(2)}
    tiles |= {HOUSE + i: facades.house(style, size, width, i) for i in range(3)}
    tiles |= {WORKS + i: facades.works(style, size, width, i) for i in range(2)}
    tiles[ROOF] = facades.roof(style, size, width, 0)
    tiles[SIDE] = facades.side_wall(style, size, width)
    for index, kind in ((HEDGE, "hedge"), (FENCE, "fence"), (RAILING, "railing"), (TREES, "trees")):
        tiles[index] = grounds.low_wall(style, size, width, kind)
    tiles |= {HALL + i: grounds.hall(style, size, width, i) for i in range(6)}
    tiles[CEILING], tiles[CLOUDS] = grounds.ceiling(style, size), grounds.clouds(size)
    tiles |= {ROAD + i: grounds.street(style, size, kind) for i, kind in enumerate(STREETS)}
    tiles |= {LAND + i: grounds.land(style, size, kind) for i, kind in enumerate(grounds.LAND)}
    tiles |= {TREE + i: sprites.tree(style, size, i) for i in range(4)}
    tiles[LAMP] = sprites.lamp(style, size)
    tiles |= {SIGN + i: sprites.sign(style, size, i) for i in range(2)}
    tiles |= {CAR + i: sprites.car(style, size, ("rear", "front")[i // 2], i % 2) for i in range(4)}
    tiles |= {PERSON + i: sprites.person(style, size, i) for i in range(4)}
    tiles[STALL], tiles[PLANTER] = sprites.stall(style, size), sprites.planter(style, size)
    tiles[MAST], tiles[LANDMARK] = sprites.mast(style, size), sprites.landmark(style, size)
    tiles[MOUTH] = grounds.mouth(style, size)
    stack = torch.zeros(GRID * GRID, canvas.CHANNELS, size, size)
    for index, tile in tiles.items():
        stack[index] = tile
    stack[:, :3] *= stack[:, 3:4]  # premultiplied, so that filtering keeps outlines clean
    stack[:, 4:] *= stack[:, 3:4]
    page = torch.zeros(1, canvas.CHANNELS, 2 * GRID * size, 2 * GRID * size)
    cells = page.view(canvas.CHANNELS, GRID, 2 * size, GRID, 2 * size).permute(1, 3, 0, 2, 4)
    canvas.ripmap(stack.view(GRID, GRID, canvas.CHANNELS, size, size), cells)
    return Atlas(style, size, page.to(device))
