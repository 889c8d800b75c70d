"""What every part of the renderer shares: the camera of each frame, the tables of the street, the texture atlas."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from cityguessr.miniworld.plan import BEHIND, VideoPlan
from cityguessr.miniworld.render import light
from cityguessr.miniworld.render.camera import Camera, place_camera
from cityguessr.miniworld.render.layout import Layout
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.atlas import GRID, Atlas

FAR = 2000.0  # metres: where the world ends
_SIGHT = 300.0  # metres: from how far the mouth of a covered street is drawn
_EXPONENT = 0x7F800000  # the bits of a float32 that hold its exponent


@dataclasses.dataclass(frozen=True)
class Rays:
    """The rays of a block; every tensor is (frames, rays).

    Attributes:
        dx, dy: metres to the right and upwards per metre of s.
        right: 1 where the ray goes to the right, else 0.
        adx: |dx|, never zero.
        stretch: length of the ray in metres per metre of s.
        at: where these rays stand in the flattened block, if they are only some of its rays.
    """

    dx: Tensor
    dy: Tensor
    right: Tensor
    adx: Tensor
    stretch: Tensor
    at: Tensor | None = None

    def select(self, which: Tensor, depth: Tensor) -> tuple[Rays, Tensor]:
        """The rays of some pixels (a mask over the rays of a frame) in every frame, and their depths."""
        chosen = which.nonzero()[:, 0]
        fields = (x.index_select(1, chosen) for x in (self.dx, self.dy, self.right, self.adx, self.stretch))
        rows = torch.arange(len(depth), device=chosen.device)[:, None] * depth.shape[1]
        return Rays(*fields, at=(rows + chosen).reshape(-1)), depth.index_select(1, chosen)


class View:
    """What a block of rays needs, on the device that renders.

    Attributes:
        plan, style, layout, atlas: the video, its city, its street and the city's textures.
        light: of the video.
        camera: of every frame, each value (frames, 1); `time`: of every frame in seconds, (frames, 1).
        pixel: the width of a pixel at one metre; `tall`: its height, in widths.
        apart: whether every frame is drawn as if it were the only one, see `renderer.render`.
    """

    def __init__(
        self, plan: VideoPlan, style: Style, layout: Layout, atlas: Atlas, frames: Tensor, wide: int,
        tall: float = 1.0, apart: bool = False,
    ) -> None:  # fmt: skip
        self.plan, self.style, self.layout, self.atlas = plan, style, layout, atlas
        self.tall, self.apart = tall, apart
        self.light = light.make(plan, style)
        device = self.device = atlas.image.device
        self.camera = Camera(*(value.to(device)[:, None] for value in place_camera(plan, frames)))
        self.time = (frames.double() / plan.fps).float().to(device)[:, None]
        self.pixel = 2 * math.tan(math.radians(plan.fov / 2)) / wide
        starts = torch.tensor([start for start, _ in layout.spans] or [1e6], dtype=torch.float64)
        ends = torch.tensor([end for _, end in layout.spans] or [1e6], dtype=torch.float64)
        self._position = plan.positions[frames]
        # Only the next covered stretch (or the one around the camera) and the one after it can be seen.
        first = torch.searchsorted(ends, self._position).clamp(max=len(starts) - 1)
        after = (first + 1).clamp(max=len(starts) - 1)
        self._spans = [(starts[i], ends[i]) for i in (first, after)]

    def reach(self, part: slice) -> tuple[float, float]:
        """The least and the greatest position of the camera in a block of frames, in metres."""
        return float(self._position[part].min()), float(self._position[part].max())

    def spans(self, part: slice) -> list[tuple[Tensor, Tensor]]:
        """Start and end, each (frames, 1), of the covered stretches that some frame of a block may show."""
        near: list[tuple[Tensor, Tensor]] = []
        for start, end in self._spans:
            again = near and bool((start == near[0][0]).all())
            ahead = start - self._position
            if bool(ahead[part].min() < _SIGHT) and not again:
                if self.apart:  # for the frames that are not so near, it is out of sight, behind the camera
                    start, end = (torch.where(ahead < _SIGHT, x, -1e6) for x in (start, end))
                near.append((start, end))
        return [tuple(x[part].float().to(self.device)[:, None] for x in pair) for pair in near]

    # ---- look-ups

    def plot(self, s: Tensor, side: Tensor | float) -> tuple[Tensor, Tensor]:
        """Index into the tables by plot (int32), and the place within the plot in [0, 1), of positions on a side."""
        plots = (s + BEHIND) / self.plan.plot_width
        whole = plots.floor()
        index = whole.clamp(0, self.layout.plots - 1) + side * self.layout.plots
        return index.to(torch.int32), plots - whole

    def take(self, table: Tensor, index: Tensor) -> Tensor:
        """The entries of a table (n,) at indices of any shape."""
        return table.index_select(0, index.reshape(-1)).reshape(index.shape)

    def look_up(self, tile: Tensor, u: Tensor, v: Tensor, across: Tensor, up: Tensor) -> Tensor:
        """Texels of the atlas, filtered by the footprint of the pixel: (5, *shape of u).

        Args:
            tile: number of the tile of each ray.
            u, v: place in the tile, in [0, 1].
            across, up: size of the footprint in the same unit.
        """
        size = self.atlas.size
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
        texel = F.grid_sample(self.atlas.image, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return texel.view(-1, *u.shape)
