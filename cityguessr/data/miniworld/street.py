"""The renderer: a closed-form ray caster for a straight street, batched over pixels and frames in plain tensor ops.

Street coordinates in metres: x to the right of the middle of the road, y up, s along the street. A pixel's ray is
scaled to advance one metre of s per unit of t, so t is depth. Whatever a ray can meet lies in a plane of constant x,
y or s, hence every surface is one division away; tables by plot say what stands there, and the texture page of the
city gives its colours, filtered by the footprint of the pixel (see `canvas.ripmap`). Masks are float tensors and
choices are sums, because a select costs an order of magnitude more than a multiply-add here.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from cityguessr.data.miniworld import atlas, light, noise
from cityguessr.data.miniworld.atlas import CAR, CEILING, CLOUDS, GRID, LANDMARK, ROOF, SIDE, Atlas
from cityguessr.data.miniworld.effects import Style
from cityguessr.data.miniworld.layout import CELL, HALL_HEIGHT, PORTAL, Layout
from cityguessr.data.miniworld.plan import BEHIND, VideoPlan

_FAR = 2000.0
_BLOCK = 98_304  # rays at a time: a few hundred kilobytes a tensor, so that the working set stays in cache
_EXPONENT = 0x7F800000


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
            color = scene.shade(part, px[band].reshape(1, -1), py[band].reshape(1, -1))  # three of (frames, rays)
            for channel, value in enumerate(color):
                value = value.reshape(-1, 1, band.stop - band.start, wide)
                if samples > 1:
                    value = F.avg_pool2d(value, samples)
                out[part, top // samples : band.stop // samples, :, channel] = (value[:, 0] * 255 + 0.5).to(torch.uint8)
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
        """Look up the page: (5, frames, rays). u, v in [0, 1]; across, up: the pixel's footprint in the same unit."""
        size = self.textures.size
        row = ((tile + 0.5) / GRID).floor()
        column = tile - row * GRID
        grid = torch.empty(1, *u.shape, 2, device=self.device)
        for axis, (x, footprint, corner) in enumerate(((u, across, column), (v, up, row))):
            # The largest power of two below the footprint in texels, by keeping the exponent of the float alone.
            level = (footprint * (1.3 * size)).clamp(1, size)
            coarse = (level.view(torch.int32) & _EXPONENT).view(torch.float32)
            margin = coarse * (0.5 / size)
            x = torch.minimum(torch.maximum(x, margin), 1 - margin)
            grid[0, ..., axis] = (2 * corner + 2 - (2 - x) / coarse) * (1 / GRID) - 1
        return F.grid_sample(self.textures.page, grid, mode="bilinear", padding_mode="border", align_corners=False)[0]

    # ---- a block of rays

    def shade(self, part: slice, px: Tensor, py: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Colours in [0, 1] of every ray, (frames, rays) for each of red, green and blue."""
        cam = {k: v[part] for k, v in self.camera.items()}
        roll, pitch, yaw = cam["roll"], cam["pitch"], cam["yaw"]
        x1, y1 = px * torch.cos(roll) - py * torch.sin(roll), px * torch.sin(roll) + py * torch.cos(roll)
        y2, z2 = y1 * torch.cos(pitch) + torch.sin(pitch), torch.cos(pitch) - y1 * torch.sin(pitch)
        x3, z3 = x1 * torch.cos(yaw) + z2 * torch.sin(yaw), z2 * torch.cos(yaw) - x1 * torch.sin(yaw)
        ray = {"dx": x3 / z3, "dy": y2 / z3}
        ray["stretch"] = torch.sqrt(1 + ray["dx"] ** 2 + ray["dy"] ** 2)  # metres of way per unit of t
        sky = self._sky(ray, part)
        color, depth, open_sky = self._surfaces(ray, cam, part, sky)
        color = self._landmark(color, ray, cam, open_sky)
        color = self._things(color, depth, ray, cam, part)
        return self._expose(color, px, py)

    def _surfaces(
        self, ray: dict[str, Tensor], cam: dict[str, Tensor], part: slice, sky: tuple[Tensor, ...]
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Colours, depth and the share of sky: the nearest surface on every ray, lit and seen through the air."""
        lay, plan, k = self.layout, self.plan, self.pixel
        dx, dy, s0, x0, y0 = ray["dx"], ray["dy"], cam["s"], cam["x"], cam["y"]
        right = (dx > 0).float()
        sign = 2 * right - 1
        adx = dx.abs().clamp(min=1e-4)
        pw = plan.plot_width
        ray["sign"], ray["adx"], ray["right"] = sign, adx, right
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
        t_s, y_s, d_s = torch.zeros_like(t_f), torch.zeros_like(t_f), torch.zeros_like(t_f)
        for ahead in (1, 2):
            t = (s_f + BEHIND + pw * ahead).div(pw).floor().mul_(pw).sub_(s0 + BEHIND)
            inward, y = adx * t - wall, y0 + t * dy
            i = (i_f + ahead).clamp(max=2 * lay.plots - 1)
            hit = rest * (y < self.take(lay.front, i)).float() * (inward < self.take(lay.depth, i)).float()
            hit = hit * (y > 0).float() * (t < _FAR).float()
            t_s, y_s, d_s = t_s + hit * t, y_s + hit * y, d_s + hit * inward
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
            hit = (t_c < t_f).float() * (s_c > a).float() * (s_c < b).float()
            roof_hit = torch.maximum(roof_hit, hit)
            t = (a - s0).clamp(-1, _FAR)
            y = y0 + t * dy
            hit = (t > 0).float() * (adx * t < wall).float() * (y > HALL_HEIGHT).float()
            hit = hit * (y < HALL_HEIGHT + PORTAL).float() * (1 - roof_hit) * (1 - mouth_hit)
            t_m, mouth_hit = t_m + hit * t, mouth_hit + hit
        keep = 1 - torch.maximum(roof_hit, mouth_hit)
        on_road, hit_f, flank, on_land, hit_b, open_sky = (
            m * keep for m in (on_road, hit_f, flank, on_land, hit_b, open_sky)
        )

        # One place per ray: depth, height, sideways distance from the camera, position along the street.
        walls = hit_f + hit_b
        t = hit_f * t_f + flank * t_s + (on_road + on_land) * t_g + hit_b * t_b + roof_hit * t_c + mouth_hit * t_m
        t = t + open_sky * 50
        y, s, lateral = y0 + t * dy, s0 + t, adx * t
        lateral_x = lateral + sign * x0  # from the middle of the road, outwards
        i, u_along = self.plot(s, right)
        # Texture coordinates and footprints.
        floor_u = lateral_x.abs() * (1 / lay.half)
        beside = (lateral_x - lay.half) * (1 / 16)
        beside = beside - beside.floor()
        ahead = s * (1 / 16) + 0.5 * right
        ahead = ahead - ahead.floor()
        storey = (y - 4) * (1 / 12)
        storey = storey - storey.clamp(min=0).floor()
        storey = (storey * 12 + 4) * (1 / 16)
        mirrored = right + sign * (hit_f * u_along + hit_b * u_b) * -1
        flat_s = k * t * t  # footprint along the street of a plane at distance 1 beside or below the ray
        deep_wall = flat_s / (wall + hit_b * lay.back)
        deep_floor = flat_s / (y0 * (1 - roof_hit) + roof_hit * (HALL_HEIGHT - y0))
        floors = on_road + roof_hit
        overhead = dy.clamp(min=0) + 0.10
        cloud_u = (dx / overhead) * 0.16 + self.time[part] * 0.004 + (plan.key % 97) / 97
        cloud_v = 0.16 / overhead + self.time[part] * 0.006
        cloud_u, cloud_v = cloud_u - cloud_u.floor(), cloud_v - cloud_v.floor()
        spread = k * 0.16 / overhead**2
        u = walls * mirrored + floors * floor_u + on_land * beside + open_sky * cloud_u
        u = u + flank * (d_s * (1 / 11)).clamp(0, 1) + mouth_hit * (0.5 + 0.5 * sign * floor_u)
        v = (walls + flank) * storey + (floors + on_land) * ahead + open_sky * cloud_v + mouth_hit * (y * (1 / 16))
        near = k * t
        du = walls * deep_wall * (1 / pw) + floors * near * (1 / lay.half) + on_land * near * (1 / 16)
        du = du + (flank + mouth_hit) * near * (1 / 11) + open_sky * spread
        dv = (walls + flank + mouth_hit) * near * (1 / 16) + (floors + on_land) * deep_floor * (1 / 16)
        dv = dv + open_sky * spread
        # Which tile, and what the roofs cover.
        over = (hit_f * (y_f > eave).float()) + (hit_b * (y_b > eave_b).float())
        tile = hit_f * self.take(lay.front_tile, i_f) + hit_b * self.take(lay.back_tile, i_b)
        tile = tile + over * (ROOF - tile) + flank * SIDE + mouth_hit * SIDE + roof_hit * CEILING + open_sky * CLOUDS
        tile = tile + on_road * self.take(lay.street, i) + on_land * self.take(lay.land, i)
        red, green, blue, _, glow = self.texture(tile, u, v, du, dv)

        # Light: the sun where nothing on its side stands in the way, the sky elsewhere, lamps after dark.
        li = self.light
        sun_x, sun_y, sun_s = li.sun
        toward = math.copysign(1.0, sun_x)
        gap = (lay.half - toward * sign * lateral_x).clamp(min=0) / max(abs(sun_x), 0.05)
        i_sun, _ = self.plot(s + gap * sun_s, 1.0 if toward > 0 else 0.0)
        shadow = (self.take(lay.front, i_sun) - y - gap * sun_y).mul_(1.2).add_(0.5).clamp_(0, 1)
        facing = walls * (-sign * sun_x).clamp(min=0) + (on_road + on_land) * sun_y + flank * max(-sun_s, 0.0)
        facing = facing + mouth_hit * max(-sun_s, 0.0) + over * 0.5 * sun_y
        inside = torch.zeros_like(t)
        for start, end in self.spans:
            inside = torch.maximum(inside, (s > start[part]).float() * (s < end[part]).float())
        inside = inside * ((on_road + hit_f + roof_hit) * (y < HALL_HEIGHT + 0.1).float())
        facing = facing * (1 - shadow) * (1 - inside)
        canyon = (on_road + on_land + 0.8 * walls + 0.75 * (flank + mouth_hit)) * (0.72 + 0.28 * (y * 0.1).clamp(0, 1))
        cornice = 1 - 0.35 * hit_f * (1 - ((y_f - eave).abs() * 2.2)).clamp(0, 1)
        canyon = canyon * cornice * (1 - inside)
        pool = (
            lateral * lateral * 0.02 + ((s * (1 / 27)) - (s * (1 / 27)).round()).mul_(27).square_() * 0.012 + y * 0.25
        )
        pool = li.night * 0.55 / (1 + pool) * (1 - inside)
        glow = glow * ((0.15 + 1.6 * li.night) * (1 - inside) + 0.8 * inside)
        ground = on_road + on_land
        mirror = (
            (on_land * self.take(lay.gloss, i) + ground * li.wet * 0.40)
            * (1 - (-dy * 2.2).clamp(0, 1)) ** 2
            * (1 - inside)
        )
        clear = torch.exp(-li.haze * t * ray["stretch"]) * (1 - open_sky)
        cloud = ((red - (1 - li.cover)).mul_(2.2).clamp_(0, 1) * (dy * 9).clamp(0, 1)) * open_sky * 0.85
        lit_cloud = max(0.55, 1.0 - 0.4 * li.wet)
        out = []
        for c, albedo in enumerate((red, green, blue)):
            shine = facing * li.direct[c] + canyon * li.ambient[c] + inside * (0.80, 0.76, 0.68)[c] + pool * li.lamp[c]
            surface = albedo * shine + glow * li.lamp[c] * (0.25 + 0.75 * albedo)
            surface = surface + mirror * (0.6 * sky[c] + 0.4 * li.horizon[c] - surface)
            heaven = sky[c] + cloud * (lit_cloud * (0.75 * li.direct[c] + 0.9 * li.ambient[c]) - sky[c])
            out.append(
                heaven + clear * (surface - heaven)
                if li.haze > 0.01
                else surface * clear + (1 - clear) * (heaven * open_sky + (1 - open_sky) * li.horizon[c])
            )
        return out, t + open_sky * _FAR, open_sky

    def _sky(self, ray: dict[str, Tensor], part: slice) -> tuple[Tensor, ...]:
        """The sky behind everything, with the sun's glow, far hills and the town's outline: three of (frames, rays)."""
        li, lay = self.light, self.layout
        dx, dy = ray["dx"], ray["dy"]
        up = (dy / ray["stretch"]).clamp(min=0)
        rise = 1 - (1 - up) ** 3
        cos = ((dx * li.sun[0] + dy * li.sun[1] + li.sun[2]) / ray["stretch"]).clamp(0, 1)
        halo = cos**4
        disc = halo**4
        disc = ((disc * disc) ** 8) * 1.5 + disc * 0.35 + halo * 0.12
        index = ((dx * 0.22 + 0.5) * 2047).clamp(0, 2047).to(torch.int32)
        soft = 1 / (1.5 * self.pixel)
        hill = ((self.take(lay.hills, index) - dy) * soft).clamp(0, 1)
        town = ((self.take(lay.skyline, index) - dy) * soft).clamp(0, 1)
        veil = 0.80 if self.plan.weather == "fog" else 0.45
        land = self.style.u("green", 0.35, 0.9) * 0.6
        hills = (0.16 + 0.10 * (1 - land), 0.17 + 0.06 * land, 0.15)
        out = []
        for c in range(3):
            value = li.horizon[c] + rise * (li.zenith[c] - li.horizon[c]) + disc * li.direct[c] * li.disc
            far = hills[c] * (li.ambient[c] + 0.5 * li.direct[c])
            value = value + hill * (far + (li.horizon[c] - far) * veil - value)
            far = 0.22 * (li.ambient[c] + 0.5 * li.direct[c]) + 0.05 * li.night * li.lamp[c]
            out.append(value + town * (far + (li.horizon[c] - far) * (veil + 0.1) - value))
        return tuple(out)

    def _lay(self, color: list[Tensor], texel: Tensor, mask: Tensor, depth: Tensor, stretch: Tensor) -> list[Tensor]:
        """Lay a premultiplied sprite over the picture."""
        li = self.light
        alpha = texel[3] * mask
        clear = torch.exp(-li.haze * depth * stretch)
        out = []
        for c in range(3):
            shine = 0.42 * li.direct[c] + 0.80 * li.ambient[c] + 0.12 * li.night * li.lamp[c]
            lit = texel[c] * (shine * mask) + texel[4] * mask * (0.1 + 1.6 * li.night) * li.lamp[c]
            seen = clear * lit + alpha * (1 - clear) * li.horizon[c]
            out.append(color[c] * (1 - alpha) + seen)
        return out

    def _things(
        self, color: list[Tensor], depth: Tensor, ray: dict[str, Tensor], cam: dict[str, Tensor], part: slice
    ) -> list[Tensor]:
        """Upright cut-outs along the pavement, and cars on the road, from far to near."""
        lay, k = self.layout, self.pixel
        adx, dy, sign, right = ray["adx"], ray["dy"], ray["sign"], ray["right"]
        line = lay.kerb + 0.7 - sign * cam["x"]
        along = torch.stack([(line + o) / adx for o in (1.7, 0.5, -0.6, -1.9)]).clamp(0, 400)
        cells = ((along + (cam["s"] + BEHIND)) * (1 / CELL)).round()
        last = None
        for cell in cells:
            t = cell * CELL - BEHIND - cam["s"]
            i = (cell.clamp(0, lay.cells - 1) + right * lay.cells).to(torch.int32)
            w, h = self.take(lay.thing_width, i), self.take(lay.thing_height, i)
            tile = self.take(lay.thing, i)
            o = adx * t - line - self.take(lay.thing_offset, i)
            u, v = sign * o / w + 0.5, (cam["y"] + t * dy) / h
            mask = (tile > 0).float() * (t > 1.2).float() * (t < depth).float()
            mask = mask * (o.abs() < w * 0.5).float() * ((v - 0.5).abs() < 0.5).float()
            if last is not None:
                mask = mask * (cell != last).float()
            last = cell
            color = self._lay(color, self.texture(tile, u, v, k * t / w, k * t / h), mask, t, ray["stretch"])
        return self._traffic(color, depth, ray, cam, part)

    def _traffic(
        self, color: list[Tensor], depth: Tensor, ray: dict[str, Tensor], cam: dict[str, Tensor], part: slice
    ) -> list[Tensor]:
        """An oncoming car, and for a driver the car ahead."""
        plan, lay = self.plan, self.layout
        own = -1 if self.style.drives_left else 1
        cars = []
        gap = 45 + 40 * (plan.key % 31) / 31
        speed = plan.speed + 7.0
        near = gap - (self.time[part] * speed + plan.key % 50) % gap
        cars.append((near + 1.5, -own * lay.kerb * 0.42, CAR + 2 + plan.key % 2))
        if not plan.walk and plan.key % 3:
            ahead = 13 + plan.key % 17 + 2.5 * torch.sin(0.4 * self.time[part])
            cars.insert(0, (ahead, plan.lateral, CAR + plan.key // 7 % 2))
        for t, x, tile in cars:
            w, h = 1.9, 1.55 + 0.5 * (plan.key % 5 == 0)
            u = (ray["dx"] * t + cam["x"] - x) / w + 0.5
            v = (cam["y"] + t * ray["dy"]) / h
            mask = (
                ((u - 0.5).abs() < 0.5).float()
                * ((v - 0.5).abs() < 0.5).float()
                * (t < depth).float()
                * (t > 1.8).float()
            )
            foot = (self.pixel * t / w).expand_as(u)
            texel = self.texture(torch.full_like(u, float(tile)), u, v, foot, foot)
            color = self._lay(color, texel, mask, t, ray["stretch"])
        return color

    def _landmark(
        self, color: list[Tensor], ray: dict[str, Tensor], cam: dict[str, Tensor], open_sky: Tensor
    ) -> list[Tensor]:
        """The city's landmark over the roofs, in most videos; buildings hide it for some of the time."""
        plan, style = self.plan, self.style
        if noise.key(plan.key, "landmark") % 100 >= 70:
            return color
        tall = style.u("landmark_height", 55, 130)
        away = float(plan.positions[-1]) + 120 + noise.key(plan.key, "away") % 160
        x = (noise.key(plan.key, "beside") % 100 - 50) * 0.9
        t = away - cam["s"]
        u, v = (ray["dx"] * t + cam["x"] - x) / tall + 0.5, (cam["y"] + t * ray["dy"]) / tall
        mask = open_sky * ((u - 0.5).abs() < 0.5).float() * ((v - 0.5).abs() < 0.5).float()
        foot = (self.pixel * t / tall).expand_as(u)
        texel = self.texture(torch.full_like(u, float(LANDMARK)), u, v, foot, foot)
        return self._lay(color, texel, mask, t * 0.6, ray["stretch"])

    def _expose(self, color: list[Tensor], px: Tensor, py: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Exposure, a soft shoulder for the highlights, a little vignetting, gamma."""
        auto = 1.15 + 1.1 * self.light.night
        gain = self.plan.exposure * auto * (1 - 0.12 * (px * px + py * py))
        out = []
        for value in color:
            value = value * gain
            value = value * (1 + value * 0.16) / (1 + value * 0.55)
            out.append(value.clamp(0, 1).sqrt())
        return tuple(out)


__all__ = ["atlas", "render"]
