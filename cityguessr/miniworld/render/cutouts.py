"""Cut-outs that stand upright in the street: trees, lamps, signs, people, cars, and the landmark over the roofs."""

import math

import torch
from torch import Tensor

from cityguessr.miniworld import noise
from cityguessr.miniworld.plan import BEHIND, VideoPlan
from cityguessr.miniworld.render.camera import SWAY, Camera
from cityguessr.miniworld.render.pavement import CELL
from cityguessr.miniworld.render.view import Rays, View
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.atlas import Tile
from cityguessr.miniworld.tiles.sprites import MAKES

# Rays closer than _STEEP to the middle of the picture look into at most so many cells ahead, and keep so many things.
_STEEP, _CELLS, _LAYERS = 0.22, 24, 3
CAR_WIDTH, PASSING = 1.9, 1.2  # metres: of a moving car, and between its side and the camera at least
_MAST_SIGHT = 250.0  # metres: from how far cranes and chimneys are drawn


def draw_things(
    view: View, color: Tensor, depth: Tensor, ray: Rays, camera: Camera[Tensor], px: Tensor, py: Tensor
) -> None:
    """Upright cut-outs along the pavements, from far to near."""
    layout = view.layout
    # Rays that keep close to the street's direction pass by many things: go through the cells one by one and
    # remember, for each ray, the nearest few whose frame it hits.
    inner, behind = ray.select((px.abs() < _STEEP) & (py < 0.5), depth)
    if behind.numel():
        first = ((camera.s + BEHIND) * (1 / CELL)).floor()
        beside = layout.kerb + 0.7 - (2 * inner.right - 1) * camera.x
        met = [torch.zeros_like(behind) for _ in range(_LAYERS)]  # 0: the nearest; whole numbers, so lerp is exact
        # As far as a cell spans five pixels; what is farther is a speck.
        farthest = max(6, min(_CELLS, int(1 / (5 * view.pixel))))
        steps = torch.arange(farthest + 1, device=view.device)
        cells = first + steps  # (frames, cells), as all that follows but what a ray adds
        depths = cells * CELL - (BEHIND + camera.s)
        left = cells.clamp(0, layout.cells - 1).to(torch.int32)
        halves = layout.thing_width * 0.5
        half, high, off = (
            [view.take(table, left + side * layout.cells) for side in (0, 1)]
            for table in (halves, layout.thing_height, layout.thing_offset)
        )
        half = [torch.where(depths > 1.2, x, -1.0) for x in half]  # nothing so near
        steps = steps.float()
        for ahead in range(farthest, 0, -1):
            at = slice(ahead, ahead + 1)
            t = depths[:, at]
            half_t, high_t, off_t = (
                torch.lerp(sides[0][:, at], sides[1][:, at], inner.right) for sides in (half, high, off)
            )
            margin = half_t.sub_(torch.addcmul(off_t, inner.adx, t, value=-1).add_(beside).abs_())
            margin = torch.minimum(margin, high_t.sub_(torch.addcmul(camera.y, inner.dy, t)))
            # What lies under the ground is behind it.
            hit = (torch.minimum(margin, behind - t) > 0).float()
            for layer in range(_LAYERS - 1, 0, -1):
                met[layer].lerp_(met[layer - 1], hit)
            met[0].lerp_(steps[ahead], hit)
        for layer in reversed(met):
            margin, *rest = _find_thing(view, behind, inner, camera, first + layer)
            _lay(view, color, inner, torch.minimum(margin, layer), *rest)
    # The others cross the strip of pavement at a slant: the cells they may hit are those where they are this far
    # beside the line of things.
    outer, behind = ray.select(px.abs() >= _STEEP, depth)
    line = layout.kerb + 0.7 - (2 * outer.right - 1) * camera.x
    reach = 1 / outer.adx
    last = -1.0
    for beside in (2.1, 1.25, 0.4, -0.45, -1.3, -2.15):
        cell = (((line + beside) * reach).clamp(0, 400) + (camera.s + BEHIND)).mul_(1 / CELL).round_()
        margin, *rest = _find_thing(view, behind, outer, camera, cell)
        _lay(view, color, outer, torch.minimum(margin, (cell - last).abs()), *rest)
        last = cell


def _find_thing(
    view: View, depth: Tensor, ray: Rays, camera: Camera[Tensor], cell: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[Tensor, Tensor], Tensor]:
    """What stands in one cell for every ray: the margin inside its frame, its tile, u, v, size and depth."""
    layout = view.layout
    sign = 2 * ray.right - 1
    t = cell * CELL - (BEHIND + camera.s)
    i = (cell.clamp(0, layout.cells - 1) + ray.right * layout.cells).to(torch.int32)
    w, h = view.take(layout.thing_width, i), view.take(layout.thing_height, i)
    o = ray.adx * t - (layout.kerb + 0.7 - sign * camera.x) - view.take(layout.thing_offset, i)
    y = camera.y + t * ray.dy
    margin = torch.minimum(w * 0.5 - o.abs(), torch.minimum(y, h - y))
    margin = torch.minimum(margin, torch.minimum(t - 1.2, depth - t))
    return margin, view.take(layout.thing, i), sign * o / w + 0.5, y / h, (w, h), t


def draw_traffic(view: View, color: Tensor, depth: Tensor, ray: Rays, camera: Camera[Tensor], part: slice) -> None:
    """An oncoming car, and for a driver the car ahead."""
    plan, layout = view.plan, view.layout
    gap = 45 + 40 * (plan.key % 31) / 31
    near = gap - (view.time[part] * (plan.speed + 7.0) + plan.key % 50) % gap
    cars: list[tuple[Tensor, float, int]] = []
    if (lane := oncoming_lane(plan, view.style)) is not None:
        cars.append((near + 1.5, lane, Tile.CAR + MAKES + plan.key % MAKES))
    if not plan.walk and plan.key % 3:
        ahead = 13 + plan.key % 17 + 2.5 * torch.sin(0.4 * view.time[part])
        cars.insert(0, (ahead, plan.lateral, Tile.CAR + plan.key // 7 % MAKES))
    w, h = CAR_WIDTH, 2.05 if plan.key % 5 == 0 else 1.55
    for t, x, tile in cars:
        u, y = (ray.dx * t + camera.x - x) * (1 / w) + 0.5, camera.y + t * ray.dy
        margin = torch.minimum(0.5 - (u - 0.5).abs(), torch.minimum(y, h - y))
        margin = torch.minimum(margin, torch.minimum(depth - t, t - 1.8))
        if plan.walk:  # nobody drives across a square or under a roof where one walks
            street = view.take(layout.street, view.plot(camera.s + t, 0.0)[0])
            margin = margin - 1e4 * ((street == Tile.PLAZA) | (street == Tile.COVERED)).float()
        _lay(view, color, ray, margin, tile, u, y / h, (w, h), t)


def oncoming_lane(plan: VideoPlan, style: Style) -> float | None:
    """Metres right of the middle of the road where oncoming cars drive; None where they cannot pass the camera.

    They keep to their lane, or as far from it as leaves the camera, which sways, room at their side.
    """
    lane = style.road_half * (0.42 if style.drives_left else -0.42)
    away = CAR_WIDTH / 2 + PASSING + SWAY
    if abs(lane - plan.lateral) >= away:
        return lane
    most = style.road_half - CAR_WIDTH / 2
    free = [x for x in (plan.lateral - away, plan.lateral + away) if abs(x) <= most]
    return min(free, key=lambda x: abs(x - lane), default=None)


def draw_landmarks(view: View, color: Tensor, depth: Tensor, ray: Rays, camera: Camera[Tensor], part: slice) -> None:
    """What rises over the roofs: the city's landmark, in most videos, or known ones, and the masts of works nearby.

    Buildings hide them for some of the time.
    """
    plan, style = view.plan, view.style
    tall, seen_from = [], {}
    for tile, s, x, size, reach in view.layout.sights or ():
        tall.append((tile, s, x, size, size, 0.6))
        seen_from[tile] = reach
    if view.layout.sights is None and noise.key(plan.key, "landmark") % 100 < 50:
        size = style.u("landmark_height", 55, 130)
        # Beyond the way's end, near or far, and off to one side: mostly behind the roofs, seldom in the street's axis.
        away = float(plan.positions[-1]) + 70 + 380 * noise.draw(plan.key, "away")
        beside = noise.draw(plan.key, "beside") * 2 - 1
        beside = math.copysign(30 + 0.35 * size + 170 * beside * beside, beside)
        tall.append((Tile.LANDMARK, away, beside, size, size, 0.6))
    low, high = view.reach(part)
    for s, x in view.layout.masts:
        if low + 2 < s < high + _MAST_SIGHT:
            tall.append((Tile.MAST, s, x, 12.0, 30.0, 1.0))
    for tile, s, x, w, h, haze in sorted(tall, key=lambda thing: -thing[1]):
        t = s - camera.s
        u, v = (ray.dx * t + camera.x - x) * (1 / w) + 0.5, (camera.y + t * ray.dy) * (1 / h)
        margin = torch.minimum(0.5 - (u - 0.5).abs(), 0.5 - (v - 0.5).abs())
        margin = torch.minimum(margin, torch.minimum(depth - t, t - 2))
        if view.apart and tile == Tile.MAST:
            margin = torch.minimum(margin, _MAST_SIGHT - t)
        if tile in seen_from:
            margin = torch.minimum(margin, seen_from[tile] - torch.hypot(t, camera.x - x))
        _lay(view, color, ray, margin, tile, u, v, (w, h), t, haze=haze)


def _lay(
    view: View, color: Tensor, ray: Rays, margin: Tensor, tile: Tensor | int, u: Tensor, v: Tensor,
    size: tuple[Tensor | float, Tensor | float], t: Tensor, haze: float = 1.0,
) -> None:  # fmt: skip
    """Lay a cut-out over the picture where `margin` is positive: few rays, so they are worked on by themselves."""
    shown = (margin > 0).reshape(-1).nonzero()[:, 0]
    if not len(shown):
        return
    light = view.light

    def pick(x: Tensor | float) -> Tensor:
        if not isinstance(x, Tensor):
            return torch.full((len(shown),), float(x), device=view.device)
        return x.expand_as(margin).reshape(-1).index_select(0, shown)

    depth, foot = pick(t), pick(t) * view.pixel
    texel = view.look_up(pick(tile), pick(u), pick(v), foot / pick(size[0]), foot * view.tall / pick(size[1]))
    veil = 1 - torch.exp(depth * pick(ray.stretch) * (-light.haze * haze))
    flat, at = color.view(3, -1), shown if ray.at is None else ray.at.index_select(0, shown)
    for c in range(3):
        shine = 0.42 * light.direct[c] + 0.80 * light.ambient[c] + 0.12 * light.night * light.lamp[c]
        lit = texel[c] * shine + texel[4] * ((0.1 + 1.6 * light.night) * light.lamp[c])
        through_air = lit + veil * (texel[3] * light.horizon[c] - lit)
        flat[c].index_copy_(0, at, flat[c].index_select(0, at) * (1 - texel[3]) + through_air)
