"""The renderer: a closed-form ray caster for a straight street, batched over pixels and frames in plain tensor ops.

Street coordinates in metres: x to the right of the middle of the road, y up, s along the street. A pixel's ray is
scaled to advance one metre of s per unit of t, so t is depth. Whatever a ray can meet lies in a plane of constant x,
y or s, hence every surface is one division away; tables by plot say what stands there, and the texture atlas of the
city gives its colours, filtered by the footprint of the pixel (see `canvas.ripmap`). Masks are float tensors and
choices are sums, because a select costs an order of magnitude more than a multiply-add.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from cityguessr.miniworld import noise
from cityguessr.miniworld.plan import VideoPlan
from cityguessr.miniworld.render.camera import Camera
from cityguessr.miniworld.render.cutouts import draw_landmarks, draw_things, draw_traffic
from cityguessr.miniworld.render.layout import Layout
from cityguessr.miniworld.render.sky import draw_sky
from cityguessr.miniworld.render.surfaces import draw_surfaces
from cityguessr.miniworld.render.view import Rays, View
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles.atlas import Atlas

# Rays at a time. On the processor: 400 kilobytes a tensor, so that the working set stays near it. On a GPU a block is
# some three thousand small kernels and a dozen waits, which only large tensors are worth: 2 GB of its memory in all.
_BLOCK, _GPU_BLOCK = 98_304, 1 << 23


def render(
    plan: VideoPlan,
    style: Style,
    layout: Layout,
    atlas: Atlas,
    frames: Tensor,
    height: int,
    width: int,
    samples: int,
    field: tuple[int, int] | None = None,
    apart: bool = False,
) -> Tensor:
    """Pictures of some frames of a plan: uint8 (len(frames), height, width, 3), sRGB-like.

    Args:
        layout, atlas: of this plan and its city, on the device that renders.
        frames: LongTensor of frame numbers of the video.
        samples: rays per pixel along each side (2 gives four rays per pixel).
        field: height and width of the picture whose field of view is shown, squeezed into this one's shape; by default
            this one's own.
        apart: draw every frame as if it were the only one, whatever else is rendered with it. Else things that come
            into sight far away are drawn as soon as another frame of the block has them near.
    """
    tall = 1.0 if field is None else field[0] * width / (field[1] * height)
    view = View(plan, style, layout, atlas, frames, width * samples, tall, apart)
    high, wide = height * samples, width * samples
    device = atlas.image.device
    focal = wide / 2 / math.tan(math.radians(plan.fov / 2))
    px = ((torch.arange(wide, device=device) + 0.5 - wide / 2) / focal).expand(high, wide)
    py = ((high / 2 - 0.5 - torch.arange(high, device=device)) / (focal / tall))[:, None].expand(high, wide)
    out = torch.empty(len(frames), height, width, 3, dtype=torch.uint8, device=device)
    block = _GPU_BLOCK if device.type == "cuda" else _BLOCK
    rows = max(samples, min(high, block // wide // samples * samples))
    step = max(1, block // (rows * wide))
    if device.type == "cuda":  # blocks of equal size: a small last one would take as long
        step = math.ceil(len(frames) / max(1, math.ceil(len(frames) / step)))
    for first in range(0, len(frames), step):
        part = slice(first, min(first + step, len(frames)))
        for top in range(0, high, rows):
            band = slice(top, min(top + rows, high))
            color = _shade(view, part, px[band].reshape(1, -1), py[band].reshape(1, -1))  # (3, frames, rays)
            color = color.view(-1, 1, band.stop - band.start, wide)
            if samples > 1:
                color = F.avg_pool2d(color, samples)
            color = color.view(3, part.stop - part.start, -1, width).permute(1, 2, 3, 0)
            out[part, top // samples : band.stop // samples] = (color * 255 + 0.5).to(torch.uint8)
    return out


def _shade(view: View, part: slice, px: Tensor, py: Tensor) -> Tensor:
    """Colours in [0, 1] of every ray: (3, frames, rays)."""
    camera = Camera(*(value[part] for value in view.camera))
    roll, pitch, yaw = camera.roll, camera.pitch, camera.yaw
    x1, y1 = px * torch.cos(roll) - py * torch.sin(roll), px * torch.sin(roll) + py * torch.cos(roll)
    y2, z2 = y1 * torch.cos(pitch) + torch.sin(pitch), torch.cos(pitch) - y1 * torch.sin(pitch)
    x3, z3 = x1 * torch.cos(yaw) + z2 * torch.sin(yaw), z2 * torch.cos(yaw) - x1 * torch.sin(yaw)
    dx, dy = x3 / z3, y2 / z3
    ray = Rays(dx, dy, (dx > 0).float(), dx.abs().clamp(min=1e-4), torch.sqrt(1 + dx * dx + dy * dy))
    color, depth, open_sky = draw_surfaces(view, ray, camera, part)
    draw_sky(view, color, ray, open_sky, part)
    draw_landmarks(view, color, depth, ray, camera, part)
    draw_things(view, color, depth, ray, camera, px[0], py[0])
    draw_traffic(view, color, depth, ray, camera, part)
    return _expose(view, color, px, py)


def _expose(view: View, color: Tensor, px: Tensor, py: Tensor) -> Tensor:
    """Exposure and white balance of the camera, a soft shoulder for the highlights, a little vignetting, gamma."""
    auto = 1.40 + 0.45 * view.light.night
    warm = 0.24 * (noise.draw(view.plan.key, "white balance") - 0.5)
    balance = torch.tensor([math.exp(warm), 1.0, math.exp(-warm)], device=view.device)[:, None, None]
    color = color * (balance * (view.plan.exposure * auto * (1 - 0.12 * (px * px + py * py))))
    return (color * (1 + color * 0.16) / (1 + color * 0.55)).clamp_(0, 1).sqrt_()
