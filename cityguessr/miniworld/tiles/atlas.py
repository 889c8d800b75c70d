"""All texture tiles of one city in one rip-mapped image, so that a whole frame is shaded by a few look-ups."""

import dataclasses
import enum

import torch
from torch import Tensor

from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles import canvas, facades, grounds, sprites

GRID = 9  # tiles along each side of the image


class Tile(enum.IntEnum):
    """The number of a tile in the atlas; where there are several of a kind, of the first one."""

    FRONT, HOUSE, TOWER, HISTORIC, WORKS, ROOF, SIDE = 0, 6, 9, 11, 13, 15, 16
    HEDGE, FENCE, RAILING, TREES, HALL, CEILING, CLOUDS = 26, 27, 28, 29, 30, 36, 37
    ROAD, CROSSING, PLAZA, HIGHWAY, COVERED = range(38, 43)
    GRASS, SOIL, WATER, SNOW, GARDEN, COURT, YARD, PARKING = range(43, 51)
    TREE, LAMP, SIGN, CAR, PERSON, STALL, PLANTER, MAST, LANDMARK, MOUTH = 51, 55, 56, 58, 66, 74, 75, 76, 77, 78


def flank_of(tile: Tensor) -> Tensor:
    """The tile of the side of a building by that of its front.

    A town house or a house has a blind wall of its own colour; a hall has a plain wall; towers, monuments, works,
    hedges and fences go on round the corner.
    """
    hall = (tile >= Tile.HALL) & (tile < Tile.CEILING)
    own = torch.where(tile < Tile.TOWER, tile + Tile.SIDE, tile)
    return torch.where(hall, Tile.SIDE + Tile.TOWER, own)


@dataclasses.dataclass(frozen=True, eq=False)
class Atlas:
    """The tiles of a city, on the device that renders.

    Attributes:
        size: texels along each side of a tile.
        image: float32 (1, 5, 2 GRID size, 2 GRID size): in each cell the rip-map of a tile, see `canvas.ripmap`.
    """

    size: int
    image: Tensor


def bake(style: Style, size: int, device: str | torch.device = "cpu") -> Atlas:
    """Draw the tiles of a city at size x size texels each (a power of two) and pre-filter them."""
    return pack(paint(style, size), size, device)


def pack(painted: dict[int, Tensor], size: int, device: str | torch.device = "cpu") -> Atlas:
    """Pre-filter tiles, given by their numbers, each (5, size, size), and lay them out."""
    tiles = torch.zeros(GRID * GRID, canvas.CHANNELS, size, size)
    for number, tile in painted.items():
        tiles[number] = tile
    tiles = tiles.to(device)
    tiles[:, :3] *= tiles[:, 3:4]  # premultiplied, so that filtering keeps outlines clean
    tiles[:, 4:] *= tiles[:, 3:4]
    image = torch.zeros(1, canvas.CHANNELS, 2 * GRID * size, 2 * GRID * size, device=device)
    cells = image.view(canvas.CHANNELS, GRID, 2 * size, GRID, 2 * size).permute(1, 3, 0, 2, 4)
    canvas.ripmap(tiles.view(GRID, GRID, canvas.CHANNELS, size, size), cells)
    return Atlas(size, image)


def paint(style: Style, size: int) -> dict[int, Tensor]:
    """Every tile of a city by its number, (5, size, size)."""
    several = (
        (Tile.FRONT, facades.paint_front, range(6)),
        (Tile.TOWER, facades.paint_tower, range(2)),
        (Tile.HISTORIC, facades.paint_historic, range(2)),
        (Tile.HOUSE, facades.paint_house, range(3)),
        (Tile.WORKS, facades.paint_works, range(2)),
        (Tile.SIDE, facades.paint_side_wall, facades.SIDES),
        (Tile.HEDGE, grounds.paint_low_wall, grounds.LOW_WALLS),
        (Tile.HALL, grounds.paint_hall, range(6)),
        (Tile.ROAD, grounds.paint_street, grounds.STREETS),
        (Tile.GRASS, grounds.paint_land, grounds.LANDS),
        (Tile.TREE, sprites.paint_tree, range(4)),
        (Tile.SIGN, sprites.paint_sign, range(2)),
        (Tile.CAR, sprites.paint_car, sprites.CARS),
        (Tile.PERSON, sprites.paint_person, range(sprites.PEOPLE)),
        (Tile.MOUTH, grounds.paint_mouth, range(grounds.BOARDS)),
    )
    single = (
        (Tile.ROOF, facades.paint_roof),
        (Tile.CEILING, grounds.paint_ceiling),
        (Tile.LAMP, sprites.paint_lamp),
        (Tile.STALL, sprites.paint_stall),
        (Tile.PLANTER, sprites.paint_planter),
        (Tile.MAST, sprites.paint_mast),
        (Tile.LANDMARK, sprites.paint_landmark),
    )
    tiles = {Tile.CLOUDS: grounds.paint_clouds(size)} | {number: draw(style, size) for number, draw in single}
    for first, draw, variants in several:
        tiles |= {first + i: draw(style, size, variant) for i, variant in enumerate(variants)}
    return tiles
