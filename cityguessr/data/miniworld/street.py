"""The renderer: a closed-form ray caster for a straight street, batched over pixels and frames in plain tensor ops.

Street coordinates in metres: x to the right of the middle of the road, y up, s along the street. A pixel's ray is
scaled to advance one metre of s per unit of t, so t is depth. Whatever a ray can meet lies in a plane of constant x,
y or s, hence every surface is one division away; tables by plot say what stands there, and the texture page of the
city gives its colours, filtered by the footprint of the pixel (see `canvas.ripmap`). Masks are float tensors and
choices are sums, because a select costs an order of magnitude more than a multiply-add here.
"""

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from cityguessr.data.miniworld import light, noise
from cityguessr.data.miniworld.atlas import CAR, CEILING, CLOUDS, GRID, LANDMARK, MOUTH, ROOF, SIDE, Atlas
from cityguessr.data.miniworld.effects import Style
from cityguessr.data.miniworld.layout import CELL, HALL_HEIGHT, PORTAL, Layout
from cityguessr.data.miniworld.plan import BEHIND, VideoPlan

_FAR = 2000.0
_BLOCK = 98_304  # rays at a time: 400 kilobytes a tensor, so that the working set stays near the processor
_EXPONENT = 0x7F800000
# Rays closer than _STEEP to the middle of the picture look into so many cells ahead, and keep so many things.
_STEEP, _CELLS, _LAYERS = 0.25, 20, 4


def render(
    plan: VideoPlan,
    style: Style,
    layout: Layout,
    textures: Atlas,
    frames: Tensor,
    height: int,
    width: int,
    samples: int,
) -> Tensor:
    """Pictures of some frames of a plan: uint8 (len(frames), height, width, 3), sRGB-like.

    Args:
        layout, textures: of this plan and its city, on the device that renders.
        frames: LongTensor of frame numbers of the video.
        samples: rays a pixel along each side (2 gives four rays a pixel).
    """
    scene = _Street(plan, style, layout, textures, frames, width * samples)
    high, wide = height * samples, width * samples
    device = textures.page.device
    focal = wide / 2 / math.tan(math.radians(plan.fov / 2))
    px = ((torch.arange(wide, device=device) + 0.5 - wide / 2) / focal).expand(high, wide)
    py = ((high / 2 - 0.5 - torch.arange(high, device=device)) / focal)[:, None].expand(high, wide)
    out = torch.empty(len(frames), height, width, 3, dtype=torch.uint8, device=device)
    rows = max(samples, min(high, _BLOCK // wide // samples * samples))
    step = max(1, _BLOCK // (rows * wide))
    for first in range(0, len(frames), step):
        part = slice(first, min(first + step, len(frames)))
        for top in range(0, high, rows):
            band = slice(top, min(top + rows, high))
            color = scene.shade(part, px[band].reshape(1, -1), py[band].reshape(1, -1))  # (3, frames, rays)
            color = color.view(-1, 1, band.stop - band.start, wide)
            if samples > 1:
                color = F.avg_pool2d(color, samples)
            color = color.view(3, part.stop - part.start, -1, width).permute(1, 2, 3, 0)
            out[part, top // samples : band.stop // samples] = (color * 255 + 0.5).to(torch.uint8)
    return out


class _Street:
    """What a block of rays needs: tables on the device, the camera of every frame, the light."""

    def __init__(
        self, plan: VideoPlan, style: Style, layout: Layout, textures: Atlas, frames: Tensor, wide: int
    ) -> None:
        self.plan, self.style, self.layout, self.textures = plan, style, layout, textures
        self.light = light.make(plan, style)
        device = self.device = textures.page.device
        s = plan.positions[frames]
        time = frames.double() / plan.fps
        jolt = 1.0 if plan.walk else 0.35
        step = 2 * math.pi * (1.8 if plan.walk else 0.9) * time + plan.key % 7
        sway = torch.sin(0.31 * time + plan.key % 11)
        self.camera = {
            "s": s,
            "x": plan.lateral + 0.12 * jolt * torch.sin(step / 2) + 0.25 * sway,
            "y": plan.eye + 0.035 * jolt * torch.sin(step),
            "yaw": 0.05 * jolt * torch.sin(0.23 * time + 1) + 0.02 * sway,
            "pitch": plan.pitch + 0.008 * jolt * torch.sin(step + 1),
            "roll": 0.012 * jolt * torch.sin(0.6 * step),
        }
        self.camera = {k: v.float().to(device)[:, None] for k, v in self.camera.items()}
        self.time = time.float().to(device)[:, None]
        self.pixel = 2 * math.tan(math.radians(plan.fov / 2)) / wide  # the width of a pixel at one metre
        starts = torch.tensor([a for a, _ in layout.spans] or [1e6], dtype=torch.float64)
        ends = torch.tensor([b for _, b in layout.spans] or [1e6], dtype=torch.float64)
        # Only the covered stretch that is next (or around the camera), and the one after it, can be seen.
        first = torch.searchsorted(ends, s).clamp(max=len(starts) - 1)
        after = (first + 1).clamp(max=len(starts) - 1)
        self.spans = [
            (starts[i].float().to(device)[:, None], ends[i].float().to(device)[:, None]) for i in (first, after)
        ]

    # ---- look-ups

    def plot(self, s: Tensor, side: Tensor | float) -> tuple[Tensor, Tensor]:
        """Index into the tables by plot (int32), and the place within the plot in [0, 1)."""
        where = (s + BEHIND) / self.plan.plot_width
        cell = where.floor()
        index = cell.clamp(0, self.layout.plots - 1) + side * self.layout.plots
        return index.to(torch.int32), where - cell

    def take(self, table: Tensor, index: Tensor) -> Tensor:
        return table.index_select(0, index.reshape(-1)).reshape(index.shape)

    def texture(self, tile: Tensor, u: Tensor, v: Tensor, across: Tensor, up: Tensor) -> Tensor:
        """Look up the page: (5, *shape of u). u, v in [0, 1]; across, up: the pixel's footprint in the same unit."""
        size = self.textures.size
        row = ((tile + 0.5) / GRID).floor()
        column = tile - row * GRID
        grid = torch.empty(*u.shape, 2, device=self.device)
        for axis, (x, footprint, corner) in enumerate(((u, across, column), (v, up, row))):
            # The largest power of two below the footprint in texels, by keeping the exponent of the float alone.
            level = (footprint * (1.3 * size)).clamp(1, size)
            coarse = (level.view(torch.int32) & _EXPONENT).view(torch.float32)
            margin = coarse * (0.5 / size)
            x = torch.minimum(torch.maximum(x, margin), 1 - margin)
            grid[..., axis] = (2 * corner + 2 - (2 - x) / coarse) * (1 / GRID) - 1
        grid = grid.view(1, 1, -1, 2)
        texel = F.grid_sample(self.textures.page, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return texel.view(-1, *u.shape)

    # ---- a block of rays

    def shade(self, part: slice, px: Tensor, py: Tensor) -> Tensor:
        """Colours in [0, 1] of every ray: (3, frames, rays)."""
        cam = {k: v[part] for k, v in self.camera.items()}
        roll, pitch, yaw = cam["roll"], cam["pitch"], cam["yaw"]
        x1, y1 = px * torch.cos(roll) - py * torch.sin(roll), px * torch.sin(roll) + py * torch.cos(roll)
        y2, z2 = y1 * torch.cos(pitch) + torch.sin(pitch), torch.cos(pitch) - y1 * torch.sin(pitch)
        x3, z3 = x1 * torch.cos(yaw) + z2 * torch.sin(yaw), z2 * torch.cos(yaw) - x1 * torch.sin(yaw)
        dx, dy = x3 / z3, y2 / z3
        # The last one: metres of way per unit of t.
        ray = _Rays(dx, dy, (dx > 0).float(), dx.abs().clamp(min=1e-4), torch.sqrt(1 + dx * dx + dy * dy))
        color, depth, open_sky = self._surfaces(ray, cam, part)
        self._sky(color, ray, open_sky, part)
        self._landmark(color, ray, cam, open_sky)
        self._things(color, depth, ray, cam, px[0], py[0])
        self._traffic(color, depth, ray, cam, part)
        return self._expose(color, px, py)

    def _surfaces(self, ray: "_Rays", cam: dict[str, Tensor], part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Colours, depth and a mask of the sky: the nearest surface on every ray, lit and seen through the air."""
        lay, plan, k = self.layout, self.plan, self.pixel
        dy, right, adx = ray.dy, ray.right, ray.adx
        s0, x0, y0 = cam["s"], cam["x"], cam["y"]
        sign = 2 * right - 1
        pw = plan.plot_width
        wall = lay.half - sign * x0  # metres sideways to the fronts
        t_f = (wall / adx).clamp(max=_FAR)
        t_b = ((wall + lay.back) / adx).clamp(max=_FAR)
        t_g = (y0 / (-dy).clamp(min=1e-6)).clamp(max=_FAR)

        # The fronts.
        s_f, y_f = s0 + t_f, y0 + t_f * dy
        i_f, u_f = self.plot(s_f, right)
        eave = self.take(lay.front, i_f)
        slope = (1 - (2 * u_f - 1).abs()).mul_(2.2).clamp_(max=1)
        on_road = (t_g < t_f).float()
        hit_f = (1 - on_road) * (y_f < eave + self.take(lay.front_rise, i_f) * slope).float()
        rest = 1 - on_road - hit_f
        # The flanks of the next two buildings, seen over a lower neighbour or across open ground.
        flank = torch.zeros_like(t_f)
        t_s, d_s = torch.zeros_like(t_f), torch.zeros_like(t_f)
        for ahead in (1, 2):
            t = (s_f + BEHIND + pw * ahead).div(pw).floor().mul_(pw).sub_(s0 + BEHIND)
            inward, y = adx * t - wall, y0 + t * dy
            i = (i_f + ahead).clamp(max=2 * lay.plots - 1)
            # Below its top, above the ground, no deeper than it is, not endlessly far: the least of the margins.
            margin = torch.minimum(self.take(lay.front, i) - y, self.take(lay.depth, i) - inward)
            margin = torch.minimum(torch.minimum(margin, y), _FAR - t)
            hit = rest * (margin > 0).float()
            t_s, d_s = t_s + hit * t, d_s + hit * inward
            flank, rest = flank + hit, rest - hit
        # Open ground beside the street, the second row, the land beyond.
        on_land = rest * (t_g < t_b).float()
        rest = rest - on_land
        s_b, y_b = s0 + t_b, y0 + t_b * dy
        i_b, u_b = self.plot(s_b + 0.37 * pw, right)
        eave_b = self.take(lay.back_height, i_b)
        slope_b = (1 - (2 * u_b - 1).abs()).mul_(1.6).clamp_(max=1)
        hit_b = rest * (y_b < eave_b + self.take(lay.back_rise, i_b) * slope_b).float()
        rest = rest - hit_b
        far_land = rest * (t_g < _FAR).float()
        open_sky = rest - far_land
        on_land = on_land + far_land

        # Covered stretches: a ceiling inside, a wall over the mouth outside. Both lie nearer than what was found.
        roof_hit, mouth_hit = torch.zeros_like(t_f), torch.zeros_like(t_f)
        t_c = ((HALL_HEIGHT - y0) / dy.clamp(min=1e-6)).clamp(max=_FAR)
        s_c, t_m = s0 + t_c, torch.zeros_like(t_f)
        for start, end in self.spans:
            a, b = start[part], end[part]
            margin = torch.minimum(t_f - t_c, torch.minimum(s_c - a, b - s_c))
            roof_hit = torch.maximum(roof_hit, (margin > 0).float())
            t = (a - s0).clamp(-1, _FAR)
            y = y0 + t * dy
            margin = torch.minimum(wall - adx * t, torch.minimum(y - HALL_HEIGHT, HALL_HEIGHT + PORTAL - y))
            hit = (t > 0).float() * (margin > 0).float() * (1 - roof_hit) * (1 - mouth_hit)
            t_m, mouth_hit = t_m + hit * t, mouth_hit + hit
        keep = 1 - torch.maximum(roof_hit, mouth_hit)
        on_road, hit_f, flank, on_land, hit_b, open_sky = (
            m * keep for m in (on_road, hit_f, flank, on_land, hit_b, open_sky)
        )

        # One place per ray: depth, height, sideways distance from the middle of the road, position along the street.
        walls, floors, ground = hit_f + hit_b, on_road + roof_hit, on_road + on_land
        t = hit_f * t_f + flank * t_s + ground * t_g + hit_b * t_b + roof_hit * t_c + mouth_hit * t_m
        y, s = y0 + t * dy, s0 + t
        lateral = adx * t + sign * x0
        i, u_along = self.plot(s, right)
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
        tile = hit_f * self.take(lay.front_tile, i_f) + hit_b * self.take(lay.back_tile, i_b)
        tile = tile + over * (ROOF - tile) + flank * SIDE + mouth_hit * MOUTH + roof_hit * CEILING
        tile = tile + on_road * self.take(lay.street, i) + on_land * self.take(lay.land, i)
        texel = self.texture(tile, u, v, du, dv)

        # Light: the sun where nothing on its side stands in the way, the sky elsewhere, lamps after dark.
        li = self.light
        sun_x, sun_y, sun_s = li.sun
        toward = math.copysign(1.0, sun_x)
        gap = (lay.half - toward * sign * lateral).clamp(min=0) * (1 / max(abs(sun_x), 0.05))
        i_sun, _ = self.plot(s + gap * sun_s, 1.0 if toward > 0 else 0.0)
        shadow = (self.take(lay.front, i_sun) - y - gap * sun_y).mul_(1.2).add_(0.5).clamp_(0, 1)
        facing = walls * (-sign * sun_x).clamp(min=0) + ground * sun_y + upright * max(-sun_s, 0.0)
        facing = facing + over * (0.5 * sun_y)
        inside = torch.zeros_like(t)
        for start, end in self.spans:
            inside = torch.maximum(inside, (torch.minimum(s - start[part], end[part] - s) > 0).float())
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
        gloss = on_land * self.take(lay.gloss, i) + (ground * (0.45 * li.wet) if li.wet else 0)
        gloss = gloss * outside * (1 + dy * 2.2).clamp(0, 1) ** 2
        veil = 1 - torch.exp(t * ray.stretch * -li.haze)
        color = torch.empty(3, *t.shape, device=self.device)
        for c in range(3):
            shine = facing * li.direct[c] + canyon * li.ambient[c] + gleam * li.lamp[c]
            surface = texel[c] * shine + glow * (texel[c] * 0.75 + 0.25) * li.lamp[c]
            surface = surface + gloss * (0.8 * li.horizon[c] + 0.2 * li.zenith[c] - surface)
            color[c] = surface + veil * (li.horizon[c] - surface)
        return color, t + open_sky * _FAR, open_sky

    def _sky(self, color: Tensor, ray: "_Rays", open_sky: Tensor, part: slice) -> None:
        """Fill in the sky where it shows: its colours, the sun's glow, clouds, far hills and the town's outline."""
        li, lay = self.light, self.layout
        here = (open_sky > 0).reshape(-1).nonzero()[:, 0]
        if not len(here):
            return
        dx, dy, stretch = (x.reshape(-1).index_select(0, here) for x in (ray.dx, ray.dy, ray.stretch))
        time = self.time[part].expand_as(open_sky).reshape(-1).index_select(0, here)
        rise = 1 - (1 - (dy / stretch).clamp(0, 1)) ** 3
        cos = ((dx * li.sun[0] + dy * li.sun[1] + li.sun[2]) / stretch).clamp(0, 1)
        halo = cos**4
        disc = halo**4
        glare = (disc**16 * 1.5 + disc * 0.35 + halo * 0.12) * li.disc
        overhead = 1 / (dy.clamp(min=0) + 0.10)
        u = dx * overhead * 0.16 + time * 0.004 + (self.plan.key % 97) / 97
        v = overhead * 0.16 + time * 0.006
        spread = overhead * overhead * (0.16 * self.pixel)
        texel = self.texture(torch.full_like(u, float(CLOUDS)), u - u.floor(), v - v.floor(), spread, spread)
        cloud = (texel[0] - (1 - li.cover)).mul_(2.2).clamp_(0, 0.85) * (dy * 9).clamp(0, 1)
        index = ((dx * 0.22 + 0.5) * 2047).clamp(0, 2047).to(torch.int32)
        soft = 1 / (1.5 * self.pixel)
        hill = ((self.take(lay.hills, index) - dy) * soft).clamp(0, 1)
        town = ((self.take(lay.skyline, index) - dy) * soft).clamp(0, 1)
        veil = 0.85 if self.plan.weather == "fog" else 0.45
        land = self.style.u("green", 0.2, 0.55)
        flat = color.view(3, -1)
        for c in range(3):
            bright = li.ambient[c] + 0.5 * li.direct[c]
            value = li.horizon[c] + rise * (li.zenith[c] - li.horizon[c]) + glare * li.direct[c]
            value = value + cloud * ((1 - 0.4 * li.wet) * (0.75 * li.direct[c] + 0.9 * li.ambient[c]) - value)
            far = (0.26 - 0.10 * land, 0.17 + 0.06 * land, 0.15)[c] * bright
            value = value + hill * (far + (li.horizon[c] - far) * veil - value)
            far = 0.22 * bright + 0.05 * li.night * li.lamp[c]
            value = value + town * (far + (li.horizon[c] - far) * (veil + 0.1) - value)
            flat[c].index_copy_(0, here, value)

    def _lay(
        self, color: Tensor, ray: "_Rays", margin: Tensor, tile: Tensor | int, u: Tensor, v: Tensor,
        size: tuple[Tensor | float, Tensor | float], t: Tensor, haze: float = 1.0,
    ) -> None:  # fmt: skip
        """Lay a cut-out over the picture where `margin` is positive: few rays, so they are worked on by themselves."""
        here = (margin > 0).reshape(-1).nonzero()[:, 0]
        if not len(here):
            return
        li = self.light

        def pick(x: Tensor | float) -> Tensor:
            if not isinstance(x, Tensor):
                return torch.full((len(here),), float(x), device=self.device)
            return x.expand_as(margin).reshape(-1).index_select(0, here)

        depth, foot = pick(t), pick(t) * self.pixel
        texel = self.texture(pick(tile), pick(u), pick(v), foot / pick(size[0]), foot / pick(size[1]))
        veil = 1 - torch.exp(depth * pick(ray.stretch) * (-li.haze * haze))
        flat, at = color.view(3, -1), here if ray.at is None else ray.at.index_select(0, here)
        for c in range(3):
            shine = 0.42 * li.direct[c] + 0.80 * li.ambient[c] + 0.12 * li.night * li.lamp[c]
            lit = texel[c] * shine + texel[4] * ((0.1 + 1.6 * li.night) * li.lamp[c])
            seen = lit + veil * (texel[3] * li.horizon[c] - lit)
            flat[c].index_copy_(0, at, flat[c].index_select(0, at) * (1 - texel[3]) + seen)

    def _things(
        self, color: Tensor, depth: Tensor, ray: "_Rays", cam: dict[str, Tensor], px: Tensor, py: Tensor
    ) -> None:
        """Upright cut-outs along the pavements, from far to near."""
        lay = self.layout
        # Rays that keep close to the street's direction pass by many things: go through the cells one by one and
        # remember, for each ray, the nearest few whose frame it hits.
        inner, behind = ray.some((px.abs() < _STEEP) & (py < 0.5), depth)
        if behind.numel():
            first = ((cam["s"] + BEHIND) * (1 / CELL)).floor()
            beside = lay.kerb + 0.7 - (2 * inner.right - 1) * cam["x"]
            met = [torch.zeros_like(behind) for _ in range(_LAYERS)]
            for ahead in range(_CELLS, 0, -1):
                cell = first + ahead
                t = cell * CELL - (BEHIND + cam["s"])
                left = cell.clamp(0, lay.cells - 1).to(torch.int32)  # (frames, 1), like t: one cell a side and frame
                half, high, off = (
                    torch.lerp(self.take(table, left), self.take(table, left + lay.cells), inner.right)
                    for table in (lay.thing_width * 0.5, lay.thing_height, lay.thing_offset)
                )
                y = cam["y"] + t * inner.dy
                margin = half - (inner.adx * t - beside - off).abs()
                margin = torch.minimum(torch.minimum(margin, y), torch.minimum(high - y, behind - t))
                hit = (torch.minimum(margin, t - 1.2) > 0).float()
                for layer in range(_LAYERS - 1, 0, -1):
                    met[layer] += hit * (met[layer - 1] - met[layer])
                met[0] += hit * (ahead - met[0])
            for layer in reversed(met):
                margin, *rest = self._thing(behind, inner, cam, first + layer)
                self._lay(color, inner, torch.minimum(margin, layer), *rest)
        # The others cross the strip of pavement at a slant: the cells they may hit are those where they are this far
        # beside the line of things.
        outer, behind = ray.some(px.abs() >= _STEEP, depth)
        line = lay.kerb + 0.7 - (2 * outer.right - 1) * cam["x"]
        reach = 1 / outer.adx
        last = -1.0
        for beside in (2.1, 1.25, 0.4, -0.45, -1.3, -2.15):
            cell = (((line + beside) * reach).clamp(0, 400) + (cam["s"] + BEHIND)).mul_(1 / CELL).round_()
            margin, *rest = self._thing(behind, outer, cam, cell)
            self._lay(color, outer, torch.minimum(margin, (cell - last).abs()), *rest)
            last = cell

    def _thing(
        self, depth: Tensor, ray: "_Rays", cam: dict[str, Tensor], cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[Tensor, Tensor], Tensor]:
        """What stands in one cell for every ray: the margin inside its frame, its tile, u, v, size and depth."""
        lay = self.layout
        sign = 2 * ray.right - 1
        t = cell * CELL - (BEHIND + cam["s"])
        i = (cell.clamp(0, lay.cells - 1) + ray.right * lay.cells).to(torch.int32)
        w, h = self.take(lay.thing_width, i), self.take(lay.thing_height, i)
        o = ray.adx * t - (lay.kerb + 0.7 - sign * cam["x"]) - self.take(lay.thing_offset, i)
        y = cam["y"] + t * ray.dy
        margin = torch.minimum(w * 0.5 - o.abs(), torch.minimum(y, h - y))
        margin = torch.minimum(margin, torch.minimum(t - 1.2, depth - t))
        return margin, self.take(lay.thing, i), sign * o / w + 0.5, y / h, (w, h), t

    def _traffic(self, color: Tensor, depth: Tensor, ray: "_Rays", cam: dict[str, Tensor], part: slice) -> None:
        """An oncoming car, and for a driver the car ahead."""
        plan, lay = self.plan, self.layout
        own = -1 if self.style.drives_left else 1
        gap = 45 + 40 * (plan.key % 31) / 31
        near = gap - (self.time[part] * (plan.speed + 7.0) + plan.key % 50) % gap
        cars = [(near + 1.5, -own * lay.kerb * 0.42, CAR + 2 + plan.key % 2)]
        if not plan.walk and plan.key % 3:
            ahead = 13 + plan.key % 17 + 2.5 * torch.sin(0.4 * self.time[part])
            cars.insert(0, (ahead, plan.lateral, CAR + plan.key // 7 % 2))
        w, h = 1.9, 2.05 if plan.key % 5 == 0 else 1.55
        for t, x, tile in cars:
            u, y = (ray.dx * t + cam["x"] - x) * (1 / w) + 0.5, cam["y"] + t * ray.dy
            margin = torch.minimum(0.5 - (u - 0.5).abs(), torch.minimum(y, h - y))
            margin = torch.minimum(margin, torch.minimum(depth - t, t - 1.8))
            self._lay(color, ray, margin, tile, u, y / h, (w, h), t)

    def _landmark(self, color: Tensor, ray: "_Rays", cam: dict[str, Tensor], open_sky: Tensor) -> None:
        """The city's landmark over the roofs, in most videos; buildings hide it for some of the time."""
        plan, style = self.plan, self.style
        if noise.key(plan.key, "landmark") % 100 >= 70:
            return
        tall = style.u("landmark_height", 55, 130)
        away = float(plan.positions[-1]) + 120 + noise.key(plan.key, "away") % 160
        x = (noise.key(plan.key, "beside") % 100 - 50) * 0.9
        t = away - cam["s"]
        u, v = (ray.dx * t + cam["x"] - x) * (1 / tall) + 0.5, (cam["y"] + t * ray.dy) * (1 / tall)
        margin = torch.minimum(torch.minimum(0.5 - (u - 0.5).abs(), 0.5 - (v - 0.5).abs()), open_sky - 0.5)
        self._lay(color, ray, margin, LANDMARK, u, v, (tall, tall), t, haze=0.6)

    def _expose(self, color: Tensor, px: Tensor, py: Tensor) -> Tensor:
        """Exposure, a soft shoulder for the highlights, a little vignetting, gamma."""
        auto = 1.40 + 0.45 * self.light.night
        color = color * (self.plan.exposure * auto * (1 - 0.12 * (px * px + py * py)))
        return (color * (1 + color * 0.16) / (1 + color * 0.55)).clamp_(0, 1).sqrt_()


@dataclasses.dataclass(frozen=True)
class _Rays:
    """Rays of a block: direction per metre of s, 1 where it goes right, |dx|, length per metre of s.

    All are (frames, rays). For some of a block's rays, `at` says where these stand in the (flattened) block.
    """

    dx: Tensor
    dy: Tensor
    right: Tensor
    adx: Tensor
    stretch: Tensor
    at: Tensor | None = None

    def some(self, which: Tensor, depth: Tensor) -> tuple["_Rays", Tensor]:
        """The rays of some pixels (a mask over the rays of a frame) in every frame, and their depths."""
        here = which.nonzero()[:, 0]
        fields = (x.index_select(1, here) for x in (self.dx, self.dy, self.right, self.adx, self.stretch))
        rows = torch.arange(len(depth), device=here.device)[:, None] * depth.shape[1]
        return _Rays(*fields, at=(rows + here).reshape(-1)), depth.index_select(1, here)
