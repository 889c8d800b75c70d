"""From a track to the street that is built: every plot in the style of its place, landmarks where they stand."""

import dataclasses
import math

import torch
from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.plan import BEHIND
from cityguessr.miniworld.render import layout, parcels, pavement
from cityguessr.miniworld.render.layout import Layout
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.atlas import Tile
from cityguessr.miniworld.tracks.districts import SIGHT, Districts, choose
from cityguessr.miniworld.tracks.plan import TrackPlan
from cityguessr.miniworld.tracks.textures import LANDMARK, ROADS

_PIECE = 80.0  # metres of street in one style: over so short a way a field hardly changes
_SQUARE = 16.0  # metres of open ground on either side of a landmark beside the street


def pieces(track: TrackPlan, districts: Districts) -> list[tuple[range, Style]]:
    """The plots of a track's street, some at a time, and the style in which they are built: that of their middle."""
    count, step = len(track.plots), max(1, round(_PIECE / track.plot_width))
    plots = [range(first, min(first + step, count)) for first in range(0, count, step)]
    middles = torch.tensor([(part.start + part.stop) // 2 for part in plots])
    return list(zip(plots, districts.styles(track.plot_km()[middles]), strict=True))


def build(track: TrackPlan, districts: Districts) -> Layout:
    """Lay out the whole street of a track, without its landmarks."""
    km, width = track.plot_km(), track.plot_width
    street = layout.build(track, districts.style)
    by_plot: dict[str, Tensor] = {}
    by_cell: dict[str, Tensor] = {}
    for plots, style in pieces(track, districts):
        cells = slice(*(math.ceil(plot * width / pavement.CELL) for plot in (plots.start, plots.stop)))
        _copy(parcels.build(track, style), by_plot, slice(plots.start, plots.stop))
        _copy(pavement.furnish(track, style), by_cell, cells)
    _choose_kinds(track, districts, by_plot, by_cell)
    tables = {name: table.reshape(-1) for name, table in (by_plot | by_cell).items()}
    tint = districts.tints(km).float().repeat(1, 2)
    return dataclasses.replace(street, **tables, tint=tint, has_woods=bool((by_plot["back_rough"] > 0).any()))


def stretch(street: Layout, track: TrackPlan, number: int, districts: Districts) -> Layout:
    """What stands along one street of a track's way: its landmarks, and the hills as seen in its direction.

    Args:
        street: of the whole track, on the CPU.
        number: of the street along the way.
    """
    way = track.way
    start, direction = way.corners[number], way.directions[number]
    begin, end = way.ends[number], way.ends[number + 1]
    sights, square = [], torch.zeros(2, street.plots, dtype=torch.bool)
    middle = (torch.arange(street.plots) + 0.5) * track.plot_width - BEHIND
    for landmark in districts.landmarks:
        east, north = landmark.place[0] - start[0], landmark.place[1] - start[1]
        ahead = float(begin + 1000 * (east * direction[0] + north * direction[1]))
        right = float(1000 * (east * direction[1] - north * direction[0]))
        sights.append((LANDMARK + landmark.number, ahead, right, landmark.size, SIGHT))
        if begin < ahead < end and abs(right) < street.half + landmark.size:
            square[int(right > 0)] |= (middle - ahead).abs() < landmark.size / 2 + _SQUARE
    turn = round(math.atan2(direction[0], direction[1]) / (2 * math.pi) * len(street.hills))
    changes: dict[str, object] = {"hills": street.hills.roll(-turn), "sights": tuple(sights)}
    if square.any():
        changes |= _open(street, square, track.plot_width)
    return dataclasses.replace(street, **changes)


def _copy(tables: dict[str, Tensor], into: dict[str, Tensor], part: slice) -> None:
    for name, table in tables.items():
        into.setdefault(name, table.clone())[:, part] = table[:, part]


def _choose_kinds(
    track: TrackPlan, districts: Districts, by_plot: dict[str, Tensor], by_cell: dict[str, Tensor]
) -> None:
    """Give every house, tree and stretch of road its kind, by what is frequent at its place."""
    km, side = track.plot_km(), torch.arange(2)[:, None]

    def draws(what: str, count: int) -> Tensor:
        return noise.uniform(noise.key(track.key, "kind", what), side, torch.arange(count)[None])

    for what, first, count in (("front", Tile.FRONT, 6), ("house", Tile.HOUSE, 3)):
        kinds = first + choose(districts.shares(what, km), draws(what, len(km))).float()
        for name in ("front_tile", "back_tile"):
            there = (by_plot[name] >= first) & (by_plot[name] < first + count)
            by_plot[name] = torch.where(there, kinds, by_plot[name])
    roads = torch.tensor([float(tile) for tile in ROADS])[districts.shares("road", km).argmax(1)]
    by_plot["street"] = torch.where(by_plot["street"] == Tile.ROAD, roads, by_plot["street"])
    thing = by_cell["thing"]
    cells = thing.shape[1]
    plot = ((torch.arange(cells) + 0.5) * pavement.CELL / track.plot_width).long().clamp(max=len(km) - 1)
    trees = Tile.TREE + choose(districts.shares("tree", km)[plot], draws("tree", cells)).float()
    by_cell["thing"] = torch.where((thing >= Tile.TREE) & (thing < Tile.TREE + 4), trees, thing)


def _open(street: Layout, square: Tensor, plot_width: float) -> dict[str, Tensor]:
    """The tables of a street where nothing is built on some plots, a mask (2, plots)."""
    plots = square.reshape(-1)
    cell = ((torch.arange(street.cells) + 0.5) * pavement.CELL / plot_width).long().clamp(max=street.plots - 1)
    cells = square[:, cell].reshape(-1)
    nothing = {
        name: torch.where(plots, 0.0, getattr(street, name))
        for name in ("front", "front_rise", "back_height", "back_rise", "back_rough", "gloss")
    }
    return nothing | {
        "land": torch.where(plots, float(Tile.PLAZA), street.land),
        "thing_width": torch.where(cells, 0.0, street.thing_width),
    }
