"""The textures of a city with districts: one atlas, in which each kind of house, road and tree has its own tiles.

Tracks never lead under a roof. The tiles of covered streets are free, therefore, and hold further roads and landmarks.
"""

import torch

from cityguessr.miniworld.tiles import facades, grounds, sprites
from cityguessr.miniworld.tiles.atlas import Atlas, Tile, pack, paint
from cityguessr.miniworld.tracks.districts import Districts

ROADS = (Tile.ROAD, Tile.CEILING, Tile.MOUTH, Tile.MOUTH + 1, Tile.MOUTH + 2)  # by kind
LANDMARK = Tile.HALL  # of the first of up to six


def bake(districts: Districts, size: int, device: str | torch.device = "cpu") -> Atlas:
    """Draw the tiles of a city and of its districts at size x size texels each (a power of two)."""
    tiles = paint(districts.style, size)
    for number, style in enumerate(districts.kinds["front"]):
        tiles[Tile.FRONT + number] = facades.paint_front(style, size, number)
        tiles[Tile.SIDE + Tile.FRONT + number] = facades.paint_side_wall(style, size, ("front", number))
    for number, style in enumerate(districts.kinds["house"]):
        tiles[Tile.HOUSE + number] = facades.paint_house(style, size, number)
        tiles[Tile.SIDE + Tile.HOUSE + number] = facades.paint_side_wall(style, size, ("house", number))
    for number, style in enumerate(districts.kinds["tree"]):
        tiles[Tile.TREE + number] = sprites.paint_tree(style, size, number)
    for tile, style in zip(ROADS, districts.kinds["road"], strict=True):
        tiles[tile] = grounds.paint_street(style, size, "road")
    for landmark in districts.landmarks:
        style = districts.landmark_style(landmark)
        tiles[LANDMARK + landmark.number] = sprites.paint_landmark(style, size)
    return pack(tiles, size, device)
