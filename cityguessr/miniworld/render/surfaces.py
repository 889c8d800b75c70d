"""The solid part of a picture: road, fronts, flanks, open ground, covered streets, and the light on them."""

import math

import torch
from torch import Tensor

from cityguessr.miniworld.plan import BEHIND
from cityguessr.miniworld.render.plots import HALL_HEIGHT, PORTAL
from cityguessr.miniworld.render.view import FAR, Rays, View
from cityguessr.miniworld.tiles.atlas import CEILING, MOUTH, ROOF, SIDE


def surfaces(view: View, ray: Rays, cam: dict[str, Tensor], part: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Colours, depth and a mask of the sky: the nearest surface on every ray, lit and seen through the air."""
    lay, plan, k = view.layout, view.plan, view.pixel
    dy, right, adx = ray.dy, ray.right, ray.adx
    s0, x0, y0 = cam["s"], cam["x"], cam["y"]
    sign = 2 * right - 1
    pw = plan.plot_width
    wall = lay.half - sign * x0  # metres sideways to the fronts
    t_f = (wall / adx).clamp(max=FAR)
    t_b = ((wall + lay.back) / adx).clamp(max=FAR)
    t_g = (y0 / (-dy).clamp(min=1e-6)).clamp(max=FAR)

    # The fronts.
    s_f, y_f = s0 + t_f, y0 + t_f * dy
    i_f, u_f = view.plot(s_f, right)
    eave = view.take(lay.front, i_f)
    slope = (1 - (2 * u_f - 1).abs()).mul_(2.2).clamp_(max=1)
    on_road = (t_g < t_f).float()
    hit_f = (1 - on_road) * (y_f < eave + view.take(lay.front_rise, i_f) * slope).float()
    rest = 1 - on_road - hit_f
    # The flanks of the next two buildings, seen over a lower neighbour or across open ground.
    flank = torch.zeros_like(t_f)
    t_s, d_s = torch.zeros_like(t_f), torch.zeros_like(t_f)
    for ahead in (1, 2):
        t = (s_f + BEHIND + pw * ahead).div(pw).floor().mul_(pw).sub_(s0 + BEHIND)
        inward, y = adx * t - wall, y0 + t * dy
        i = (i_f + ahead).clamp(max=2 * lay.plots - 1)
        # Below its top, above the ground, no deeper than it is, not endlessly far: the least of the margins.
        margin = torch.minimum(view.take(lay.front, i) - y, view.take(lay.depth, i) - inward)
        margin = torch.minimum(torch.minimum(margin, y), FAR - t)
        hit = rest * (margin > 0).float()
        t_s, d_s = t_s + hit * t, d_s + hit * inward
        flank, rest = flank + hit, rest - hit
    # Open ground beside the street, the second row, the land beyond.
    on_land = rest * (t_g < t_b).float()
    rest = rest - on_land
    s_b, y_b = s0 + t_b, y0 + t_b * dy
    i_b, u_b = view.plot(s_b + 0.37 * pw, right)
    eave_b = view.take(lay.back_height, i_b)
    slope_b = (1 - (2 * u_b - 1).abs()).mul_(1.6).clamp_(max=1)
    hit_b = rest * (y_b < eave_b + view.take(lay.back_rise, i_b) * slope_b).float()
    rest = rest - hit_b
    far_land = rest * (t_g < FAR).float()
    open_sky = rest - far_land
    on_land = on_land + far_land

    # Covered stretches: a ceiling inside, a wall over the mouth outside. Both lie nearer than what was found.
    roof_hit, mouth_hit = torch.zeros_like(t_f), torch.zeros_like(t_f)
    t_c = ((HALL_HEIGHT - y0) / dy.clamp(min=1e-6)).clamp(max=FAR)
    s_c, t_m = s0 + t_c, torch.zeros_like(t_f)
    spans = view.spans(part)
    for a, b in spans:
        margin = torch.minimum(t_f - t_c, torch.minimum(s_c - a, b - s_c))
        roof_hit = torch.maximum(roof_hit, (margin > 0).float())
        t = (a - s0).clamp(-1, FAR)
        y = y0 + t * dy
        margin = torch.minimum(wall - adx * t, torch.minimum(y - HALL_HEIGHT, HALL_HEIGHT + PORTAL - y))
        hit = (t > 0).float() * (margin > 0).float() * (1 - roof_hit) * (1 - mouth_hit)
        t_m, mouth_hit = t_m + hit * t, mouth_hit + hit
    if spans:
        keep = 1 - torch.maximum(roof_hit, mouth_hit)
        on_road, hit_f, flank, on_land, hit_b, open_sky = (
            m * keep for m in (on_road, hit_f, flank, on_land, hit_b, open_sky)
        )

    # One place per ray: depth, height, sideways distance from the middle of the road, position along the street.
    walls, floors, ground = hit_f + hit_b, on_road + roof_hit, on_road + on_land
    t = hit_f * t_f + flank * t_s + ground * t_g + hit_b * t_b + roof_hit * t_c + mouth_hit * t_m
    y, s = y0 + t * dy, s0 + t
    lateral = adx * t + sign * x0
    i, u_along = view.plot(s, right)
    # Texture coordinates and the footprint of the pixel in them.
    floor_u = lateral.abs() * (1 / lay.half)
    beside = (lateral - lay.half) * (1 / 16)
    beside = beside - beside.floor()
    ahead = s * (1 / 16) + 0.5 * right
    ahead = ahead - ahead.floor()
    storey = (y - 4) * (1 / 12)
    storey = (storey - storey.clamp(min=0).floor()) * 0.75 + 0.25
    mirrored = right - sign * (hit_f * u_along + hit_b * u_b)
    u = walls * mirrored + floors * floor_u + on_land * beside
    u = u + flank * (d_s * (1 / 11)).clamp(0, 1) + mouth_hit * (0.5 + 0.5 * sign * floor_u)
    v = (walls + flank) * storey + (floors + on_land) * ahead + mouth_hit * ((y - HALL_HEIGHT) * (1 / PORTAL))
    near, flat = k * t, k * t * t  # of a plane that faces the camera, and along one a metre beside the ray
    upright = flank + mouth_hit
    du = walls * flat / (wall + hit_b * lay.back) * (1 / pw)
    du = du + near * (floors * (1 / lay.half) + on_land * (1 / 16) + upright * (1 / 11))
    dv = near * ((walls + upright) * (1 / 16))
    dv = dv + (floors + on_land) * flat / (y0 + roof_hit * (HALL_HEIGHT - 2 * y0)) * (1 / 16)
    # Which tile, and what the roofs cover.
    over = hit_f * (y_f > eave).float() + hit_b * (y_b > eave_b).float()
    tile = hit_f * view.take(lay.front_tile, i_f) + hit_b * view.take(lay.back_tile, i_b)
    tile = tile + over * (ROOF - tile) + flank * SIDE + mouth_hit * MOUTH + roof_hit * CEILING
    tile = tile + on_road * view.take(lay.street, i) + on_land * view.take(lay.land, i)
    texel = view.texture(tile, u, v, du, dv)

    # Light: the sun where nothing on its side stands in the way, the sky elsewhere, lamps after dark.
    li = view.light
    sun_x, sun_y, sun_s = li.sun
    toward = math.copysign(1.0, sun_x)
    gap = (lay.half - toward * sign * lateral).clamp(min=0) * (1 / max(abs(sun_x), 0.05))
    i_sun, _ = view.plot(s + gap * sun_s, 1.0 if toward > 0 else 0.0)
    shadow = (view.take(lay.front, i_sun) - y - gap * sun_y).mul_(1.2).add_(0.5).clamp_(0, 1)
    facing = walls * (-sign * sun_x).clamp(min=0) + ground * sun_y + upright * max(-sun_s, 0.0)
    facing = facing + over * (0.5 * sun_y)
    inside = torch.zeros_like(t)
    for start, end in spans:
        inside = torch.maximum(inside, (torch.minimum(s - start, end - s) > 0).float())
    if spans:
        inside = inside * (on_road + hit_f + roof_hit) * (y < HALL_HEIGHT + 0.1).float()
    outside = 1 - inside
    facing = facing * (1 - shadow) * outside
    cornice = 1 - 0.35 * hit_f * (1 - (y_f - eave).abs() * 2.2).clamp(0, 1)
    canyon = (ground + 0.8 * walls + 0.75 * upright) * (0.72 + (y * 0.028).clamp(0, 0.28)) * cornice * outside
    gleam = inside * 0.8
    glow = texel[4] * (outside * (0.15 + 1.6 * li.night) + gleam)
    if li.night > 0:  # pools of light under the lamps
        post = (s * (1 / 27)) - (s * (1 / 27)).round()
        gleam = gleam + outside * (li.night * 0.55) / (1 + lateral * lateral * 0.02 + post * post * 8.7 + y * 0.25)
    gloss = on_land * view.take(lay.gloss, i) + (ground * (0.45 * li.wet) if li.wet else 0)
    gloss = gloss * outside * (1 + dy * 2.2).clamp(0, 1) ** 2
    veil = 1 - torch.exp(t * ray.stretch * -li.haze)
    color = torch.empty(3, *t.shape, device=view.device)
    for c in range(3):
        shine = facing * li.direct[c] + canyon * li.ambient[c] + gleam * li.lamp[c]
        surface = texel[c] * shine + glow * (texel[c] * 0.75 + 0.25) * li.lamp[c]
        surface = surface + gloss * (0.8 * li.horizon[c] + 0.2 * li.zenith[c] - surface)
        color[c] = surface + veil * (li.horizon[c] - surface)
    return color, t + open_sky * FAR, open_sky
