"""The sky: its colours, the sun's glow, clouds, far hills, the outline of the town."""

import torch
from torch import Tensor

from cityguessr.miniworld.render.view import Rays, View
from cityguessr.miniworld.tiles.atlas import Tile


def draw_sky(view: View, color: Tensor, ray: Rays, open_sky: Tensor, part: slice) -> None:
    """Fill in the sky where it shows: its colours, the sun's glow, clouds, far hills and the town's outline."""
    light, layout = view.light, view.layout
    shown = (open_sky > 0).reshape(-1).nonzero()[:, 0]
    if not len(shown):
        return
    dx, dy, stretch = (x.reshape(-1).index_select(0, shown) for x in (ray.dx, ray.dy, ray.stretch))
    time = view.time[part].expand_as(open_sky).reshape(-1).index_select(0, shown)
    rise = 1 - (1 - (dy / stretch).clamp(0, 1)) ** 3
    cos = ((dx * light.sun[0] + dy * light.sun[1] + light.sun[2]) / stretch).clamp(0, 1)
    halo = cos**4
    disc = halo**4
    glare = (disc**16 * 1.5 + disc * 0.35 + halo * 0.12) * light.disc
    overhead = 1 / (dy.clamp(min=0) + 0.10)
    u = dx * overhead * 0.16 + time * 0.004 + (view.plan.key % 97) / 97
    v = overhead * 0.16 + time * 0.006
    spread = overhead * overhead * (0.16 * view.pixel)
    texel = view.look_up(
        torch.full_like(u, float(Tile.CLOUDS)), u - u.floor(), v - v.floor(), spread, spread * view.tall
    )
    cloud = (texel[0] - (1 - light.cover)).mul_(2.2).clamp_(0, 0.85) * (dy * 9).clamp(0, 1)
    index = ((dx * 0.22 + 0.5) * 2047).clamp(0, 2047).to(torch.int32)
    soft = 1 / (1.5 * view.pixel * view.tall)
    hill = ((view.take(layout.hills, index) - dy) * soft).clamp(0, 1)
    town = ((view.take(layout.skyline, index) - dy) * soft).clamp(0, 1)
    veil = 0.85 if view.plan.weather == "fog" else 0.45
    land = view.style.u("green", 0.2, 0.55)
    flat = color.view(3, -1)
    for c in range(3):
        bright = light.ambient[c] + 0.5 * light.direct[c]
        value = light.horizon[c] + rise * (light.zenith[c] - light.horizon[c]) + glare * light.direct[c]
        value = value + cloud * ((1 - 0.4 * light.wet) * (0.75 * light.direct[c] + 0.9 * light.ambient[c]) - value)
        far = (0.26 - 0.10 * land, 0.17 + 0.06 * land, 0.15)[c] * bright
        value = value + hill * (far + (light.horizon[c] - far) * veil - value)
        far = 0.22 * bright + 0.05 * light.night * light.lamp[c]
        value = value + town * (far + (light.horizon[c] - far) * (veil + 0.1) - value)
        flat[c].index_copy_(0, shown, value)
