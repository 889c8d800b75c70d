"""The solid part of a picture: road, fronts, flanks, open ground, covered streets, and the light on them.

Every ray meets one of these first. A mask (frames, rays) of each is 1 for the rays that do, and t is its depth:

    road     the ground between the fronts               t_ground
    land     the ground beside the street                t_ground
    front    the first row of buildings                  first.t
    flank    the side of a building of the first row     t_flank
    back     the second row of buildings                 second.t
    roof     the ceiling of a covered street             t_roof
    mouth    the wall above its mouth                    t_mouth
    sky      nothing

Letters: s metres along the street, y metres up, t the depth in metres of s, u and v the place across and up a tile.
"""

import dataclasses
import math
from collections import namedtuple

import torch
from torch import Tensor

from cityguessr.miniworld.plan import BEHIND
from cityguessr.miniworld.render.camera import Camera
from cityguessr.miniworld.render.layout import OUTLINE
from cityguessr.miniworld.render.parcels import HALL_HEIGHT, PORTAL, TEXTURE
from cityguessr.miniworld.render.view import FAR, Rays, View
from cityguessr.miniworld.tiles.atlas import Tile, flank_of
from cityguessr.miniworld.tiles.grounds import BOARDS

_SHIFT = 0.37  # of a plot: by how much the second row is shifted along the street
Spans = list[tuple[Tensor, Tensor]]


# Where rays cross the plane of a row of buildings: depth, height, plot and place within it, height of the eaves, and 1
# below the roof, 0 above it.
_Row = namedtuple("_Row", "t y plot u eave solid")
# The point that every ray meets: depth, position, height, metres sideways from the middle, plot and place within it.
_Place = namedtuple("_Place", "t s y lateral plot u")
# How much light of the sun, the sky and the lamps arrives, how much windows glow, how much the ground mirrors.
_Lighting = namedtuple("_Lighting", "sun sky lamps glow gloss")


@dataclasses.dataclass
class _Hits:
    """What every ray meets first, as masks, and how far away each surface is.

    Attributes:
        wall: metres sideways from the camera to the fronts.
        inward: how far behind the front a ray meets a flank, in metres; `side`: the tile of the flank.
        walls, ground, floors, upright: masks of both rows, of road and land, of road and ceiling, and of what stands
            across the street.
        gables: the part of the rows above their eaves.
    """

    road: Tensor
    land: Tensor
    front: Tensor
    flank: Tensor
    back: Tensor
    roof: Tensor
    mouth: Tensor
    sky: Tensor
    first: _Row
    second: _Row
    t_ground: Tensor
    t_flank: Tensor
    t_roof: Tensor
    t_mouth: Tensor
    wall: Tensor
    inward: Tensor
    side: Tensor

    def __post_init__(self) -> None:
        self.walls, self.ground = self.front + self.back, self.road + self.land
        self.floors, self.upright = self.road + self.roof, self.flank + self.mouth
        first, second = self.first, self.second
        self.gables = self.front * (first.y > first.eave).float() + self.back * (second.y > second.eave).float()


def draw_surfaces(view: View, ray: Rays, camera: Camera[Tensor], part: slice) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest surface on every ray, lit and seen through the air: colours, depth and a mask of the sky."""
    spans = view.spans(part)
    hits = _meet(view, ray, camera, spans)
    place = _locate(view, ray, camera, hits)
    texel = _texture(view, ray, camera, hits, place)
    if view.layout.tint is not None:
        texel = torch.cat([texel[:3] * _tint(view, hits, place), texel[3:]])
    lighting = _light(view, ray, hits, place, spans)
    light, glow = view.light, texel[4] * lighting.glow
    veil = 1 - torch.exp(place.t * ray.stretch * -light.haze)
    color = torch.empty(3, *veil.shape, device=view.device)
    for c in range(3):
        shine = lighting.sun * light.direct[c] + lighting.sky * light.ambient[c] + lighting.lamps * light.lamp[c]
        surface = texel[c] * shine + glow * (texel[c] * 0.75 + 0.25) * light.lamp[c]
        surface = surface + lighting.gloss * (0.8 * light.horizon[c] + 0.2 * light.zenith[c] - surface)
        color[c] = surface + veil * (light.horizon[c] - surface)
    return color, place.t + hits.sky * FAR, hits.sky


def _meet(view: View, ray: Rays, camera: Camera[Tensor], spans: Spans) -> _Hits:
    """The first surface on every ray, from near to far: `rest` are the rays that have met nothing yet."""
    layout = view.layout
    wall = layout.half - (2 * ray.right - 1) * camera.x
    t_ground = (camera.y / (-ray.dy).clamp(min=1e-6)).clamp(max=FAR)
    first = _meet_row(view, ray, camera, wall, layout.front, layout.front_rise, steep=2.2)
    second = _meet_row(
        view, ray, camera, wall + layout.back, layout.back_height, layout.back_rise, steep=1.6, shift=_SHIFT,
        rough=layout.back_rough if layout.has_woods else None,
    )  # fmt: skip
    road = (t_ground < first.t).float()
    front = (1 - road) * first.solid
    rest = 1 - road - front
    flank, t_flank, inward, side, rest = _meet_flanks(
        view, ray, camera, first, wall, rest, layout.front, layout.depth, layout.front_tile, ahead=(1, 2)
    )
    land = rest * (t_ground < second.t).float()
    rest = rest - land
    back = rest * second.solid
    flank_2, t_2, inward_2, side_2, rest = _meet_flanks(
        view, ray, camera, second, wall + layout.back, rest - back, layout.back_height, layout.back_depth,
        layout.back_tile, ahead=(1,), shift=_SHIFT,
    )  # fmt: skip
    flank, t_flank, inward = flank + flank_2, t_flank + t_2, inward + inward_2
    side = side + flank_2 * (side_2 - side)
    far_land = rest * (t_ground < FAR).float()
    sky = rest - far_land
    land = land + far_land
    roof, mouth, t_roof, t_mouth = _meet_cover(ray, camera, first.t, wall, spans)
    if spans:  # what covers a street is nearer than anything else
        keep = 1 - torch.maximum(roof, mouth)
        road, front, flank, land, back, sky = (mask * keep for mask in (road, front, flank, land, back, sky))
    return _Hits(
        road, land, front, flank, back, roof, mouth, sky, first, second, t_ground, t_flank, t_roof, t_mouth, wall,
        inward, side,
    )  # fmt: skip


def _meet_row(
    view: View, ray: Rays, camera: Camera[Tensor], beside: Tensor, heights: Tensor, rises: Tensor, *,
    steep: float, shift: float = 0.0, rough: Tensor | None = None,
) -> _Row:  # fmt: skip
    """A row of buildings `beside` metres from the camera, shifted along the street by a share of a plot."""
    t = (beside / ray.adx).clamp(max=FAR)
    s, y = camera.s + t, camera.y + t * ray.dy
    plot, u = view.plot(s + shift * view.plan.plot_width if shift else s, ray.right)
    eave = view.take(heights, plot)
    slope = (1 - (2 * u - 1).abs()).mul_(steep).clamp_(max=1)
    top = eave + view.take(rises, plot) * slope
    if rough is not None:
        step = (s + BEHIND).mul_(OUTLINE).clamp_(min=0).to(torch.int32) % len(view.layout.outline)
        top = top + view.take(rough, plot) * view.take(view.layout.outline, step)
    solid = (y < top).float()
    return _Row(t, y, plot, u, eave, solid)


def _meet_flanks(
    view: View, ray: Rays, camera: Camera[Tensor], row: _Row, wall: Tensor, rest: Tensor, heights: Tensor,
    depths: Tensor, tiles: Tensor, *, ahead: tuple[int, ...], shift: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The flanks of the next buildings of a row, over a lower one or open ground: mask, t, inward, tile, rest."""
    width = view.plan.plot_width
    behind = camera.s + BEHIND + shift * width
    flank, t_flank, depth, side = (torch.zeros_like(rest) for _ in range(4))
    for step in ahead:
        t = (row.t + (behind + width * step)).div(width).floor().mul_(width).sub_(behind)
        inward, y = ray.adx * t - wall, camera.y + t * ray.dy
        plot = (row.plot + step).clamp(max=len(heights) - 1)
        # Below its top, above the ground, no deeper than it is, not endlessly far: the least of the margins.
        margin = torch.minimum(view.take(heights, plot) - y, view.take(depths, plot) - inward)
        margin = torch.minimum(torch.minimum(margin, y), FAR - t)
        hit = rest * (margin > 0).float()
        t_flank, depth = t_flank + hit * t, depth + hit * inward
        side = side + hit * view.take(tiles, plot)
        flank, rest = flank + hit, rest - hit
    return flank, t_flank, depth, flank_of(side), rest


def _meet_cover(
    ray: Rays, camera: Camera[Tensor], t_front: Tensor, wall: Tensor, spans: Spans
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Covered stretches: the ceiling inside, the wall above the mouth outside. Masks and depths of both."""
    roof, mouth, t_mouth = (torch.zeros_like(t_front) for _ in range(3))
    t_roof = ((HALL_HEIGHT - camera.y) / ray.dy.clamp(min=1e-6)).clamp(max=FAR)
    s_roof = camera.s + t_roof
    for start, end in spans:
        margin = torch.minimum(t_front - t_roof, torch.minimum(s_roof - start, end - s_roof))
        roof = torch.maximum(roof, (margin > 0).float())
        t = (start - camera.s).clamp(-1, FAR)
        y = camera.y + t * ray.dy
        margin = torch.minimum(wall - ray.adx * t, torch.minimum(y - HALL_HEIGHT, HALL_HEIGHT + PORTAL - y))
        hit = (t > 0).float() * (margin > 0).float() * (1 - roof) * (1 - mouth)
        t_mouth, mouth = t_mouth + hit * t, mouth + hit
    return roof, mouth, t_roof, t_mouth


def _locate(view: View, ray: Rays, camera: Camera[Tensor], hits: _Hits) -> _Place:
    t = hits.front * hits.first.t + hits.flank * hits.t_flank + hits.ground * hits.t_ground
    t = t + hits.back * hits.second.t + hits.roof * hits.t_roof + hits.mouth * hits.t_mouth
    y, s = camera.y + t * ray.dy, camera.s + t
    lateral = ray.adx * t + (2 * ray.right - 1) * camera.x
    return _Place(t, s, y, lateral, *view.plot(s, ray.right))


def _texture(view: View, ray: Rays, camera: Camera[Tensor], hits: _Hits, place: _Place) -> Tensor:
    """The texel that every ray meets: which tile, where in it, and how large the pixel's footprint is there."""
    layout, width = view.layout, view.plan.plot_width
    t, s, y, lateral, plot, _ = place
    sign = 2 * ray.right - 1
    floor_u = lateral.abs() * (1 / layout.half)
    beside = (lateral - layout.half) * (1 / 16)
    beside = beside - beside.floor()
    ahead = (s + view.take(layout.phase, plot)) * (1 / TEXTURE)
    ahead = ahead - ahead.floor()
    storey = (y - 4) * (1 / 12)
    storey = (storey - storey.clamp(min=0).floor()) * 0.75 + 0.25
    mirrored = ray.right - sign * (hits.front * place.u + hits.back * hits.second.u)
    u = hits.walls * mirrored + hits.floors * floor_u + hits.land * beside
    corner = 1 - ray.right + sign * (hits.inward * (1 / 11)).clamp(0, 1)  # the front stands on the street's side
    u = u + hits.flank * corner + hits.mouth * (0.5 + 0.5 * sign * lateral * (1 / layout.half))
    v = (hits.walls + hits.flank) * storey + (hits.floors + hits.land) * ahead
    v = v + hits.mouth * ((y - HALL_HEIGHT) * (1 / PORTAL))
    near, flat = view.pixel * t, view.pixel * t * t  # of a plane that faces the camera, and along one beside the ray
    du = hits.walls * flat / (hits.wall + hits.back * layout.back) * (1 / width)
    du = du + near * (hits.floors * (1 / layout.half) + hits.land * (1 / 16) + hits.upright * (1 / 11))
    dv = near * ((hits.walls + hits.upright) * (1 / 16))
    dv = dv + (hits.floors + hits.land) * flat / (camera.y + hits.roof * (HALL_HEIGHT - 2 * camera.y)) * (1 / 16)
    tile = hits.front * view.take(layout.front_tile, hits.first.plot)
    tile = tile + hits.back * view.take(layout.back_tile, hits.second.plot)
    tile = tile + hits.gables * (tile != Tile.TREES) * (Tile.ROOF - tile)  # crowns of trees rise like roofs
    tile = tile + hits.flank * hits.side + hits.mouth * (Tile.MOUTH + view.plan.key % BOARDS) + hits.roof * Tile.CEILING
    tile = tile + hits.road * view.take(layout.street, plot) + hits.land * view.take(layout.land, plot)
    return view.look_up(tile, u, v, du, dv * view.tall)


def _tint(view: View, hits: _Hits, place: _Place) -> Tensor:
    """The factors on the colours of what every ray meets: those of the road, of its verges or of the walls."""
    assert view.layout.tint is not None
    road, verge, walls = torch.stack([view.take(row, place.plot) for row in view.layout.tint]).split(3)
    floor = torch.where(place.lateral.abs() < view.layout.kerb, road, verge)
    return torch.where(hits.ground > 0, floor, walls)


def _light(view: View, ray: Rays, hits: _Hits, place: _Place, spans: Spans) -> _Lighting:
    """The sun where nothing on its side stands in the way, the sky elsewhere, lamps after dark and under a roof."""
    layout, light = view.layout, view.light
    _, s, y, lateral, plot, _ = place
    sign = 2 * ray.right - 1
    sun_x, sun_y, sun_s = light.sun
    toward = math.copysign(1.0, sun_x)
    gap = (layout.half - toward * sign * lateral).clamp(min=0) * (1 / max(abs(sun_x), 0.05))
    opposite, _ = view.plot(s + gap * sun_s, 1.0 if toward > 0 else 0.0)
    shadow = (view.take(layout.front, opposite) - y - gap * sun_y).mul_(1.2).add_(0.5).clamp_(0, 1)
    facing = hits.walls * (-sign * sun_x).clamp(min=0) + hits.ground * sun_y + hits.upright * max(-sun_s, 0.0)
    facing = facing + hits.gables * (0.5 * sun_y)
    inside = torch.zeros_like(y)
    for start, end in spans:
        inside = torch.maximum(inside, (torch.minimum(s - start, end - s) > 0).float())
    if spans:
        inside = inside * (hits.road + hits.front + hits.roof) * (y < HALL_HEIGHT + 0.1).float()
    outside = 1 - inside
    cornice = 1 - 0.35 * hits.front * (1 - (hits.first.y - hits.first.eave).abs() * 2.2).clamp(0, 1)
    canyon = (hits.ground + 0.8 * hits.walls + 0.75 * hits.upright) * (0.72 + (y * 0.028).clamp(0, 0.28))
    lamps = inside * 0.8
    glow = outside * (0.15 + 1.6 * light.night) + lamps
    if light.night > 0:  # pools of light under the lamps
        post = (s * (1 / 27)) - (s * (1 / 27)).round()
        lamps = lamps + outside * (light.night * 0.55) / (1 + lateral * lateral * 0.02 + post * post * 8.7 + y * 0.25)
    gloss = hits.land * view.take(layout.gloss, plot) + (hits.ground * (0.45 * light.wet) if light.wet else 0)
    gloss = gloss * outside * (1 + ray.dy * 2.2).clamp(0, 1) ** 2
    return _Lighting(facing * (1 - shadow) * outside, canyon * cornice * outside, lamps, glow, gloss)
