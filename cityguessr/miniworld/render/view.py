"""What every part of the renderer shares: the camera of each frame, a street's tables, the page of textures."""

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from cityguessr.miniworld.plan import BEHIND, VideoPlan
from cityguessr.miniworld.render import light
from cityguessr.miniworld.render.layout import Layout
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.atlas import GRID, Atlas

FAR = 2000.0  # metres: where the world ends
_SIGHT = 300.0  # and from how far the mouth of a covered street is drawn
_EXPONENT = 0x7F800000


@dataclasses.dataclass(frozen=True)
class Rays:
    """Rays of a block: direction per metre of s, 1 where it goes right, |dx|, length per metre of s.

    All are (frames, rays). For some of a block's rays, `at` says where these stand in the (flattened) block.
    """

    dx: Tensor
    dy: Tensor
    right: Tensor
    adx: Tensor
    stretch: Tensor
    at: Tensor | None = None

    def some(self, which: Tensor, depth: Tensor) -> tuple["Rays", Tensor]:
        """The rays of some pixels (a mask over the rays of a frame) in every frame, and their depths."""
        here = which.nonzero()[:, 0]
        fields = (x.index_select(1, here) for x in (self.dx, self.dy, self.right, self.adx, self.stretch))
        rows = torch.arange(len(depth), device=here.device)[:, None] * depth.shape[1]
        return Rays(*fields, at=(rows + here).reshape(-1)), depth.index_select(1, here)


class View:
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
        self._spans = [(starts[i], ends[i]) for i in (first, after)]
        self._position = s

    def reach(self, part: slice) -> tuple[float, float]:
        """The least and the greatest position of the camera in a block of frames."""
        return float(self._position[part].min()), float(self._position[part].max())

    def spans(self, part: slice) -> list[tuple[Tensor, Tensor]]:
        """Start and end, each (frames, 1), of the covered stretches that some frame of a block may show."""
        seen = []
        for start, end in self._spans:
            if bool((start[part] - self._position[part]).min() < _SIGHT) and not (
                seen and bool((start == seen[0][0]).all())
            ):
                seen.append((start, end))
        return [tuple(x[part].float().to(self.device)[:, None] for x in pair) for pair in seen]

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
