"""Contact sheets of video frames."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.figures.page import check_image


def frames_grid(
    images: Sequence[ArrayLike] | NDArray | Tensor,
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    width: float = 7.2,
    colours: Sequence[str] | None = None,
    key: Mapping[str, str] | None = None,
    suptitle: str | None = None,
) -> Figure:
    """A contact sheet of frames.

    Args:
        images: uint8 (H, W, 3) each, or all in one array or tensor, (N, H, W, 3) or as a clip has them, (N, 3, H, W).
        titles: a short text above each frame.
        columns: frames in a row; chosen for a sheet of about 3:2 when left out.
        width: of the sheet, in inches.
        colours: the colour of each frame's rule (a continent's, say); none when left out.
        key: name -> colour, what the rules mean, written above the frames.
        suptitle: what to see.

    Raises InputError where there are no images, one is not uint8 (H, W, 3), or titles or colours do not match them.
    """
    shape = getattr(images, "shape", ())
    if len(shape) == 4 and shape[1] == 3 != shape[3]:
        images = np.asarray(images).transpose(0, 2, 3, 1)
    images = [check_image(image, f"frame {i}") for i, image in enumerate(images)]
    if not images:
        raise InputError("a contact sheet needs at least one frame")
    for what, values in (("titles", titles), ("colours", colours)):
        if values is not None and len(values) != len(images):
            raise InputError(f"{len(values)} {what} for {len(images)} frames")
    ratio = images[0].shape[0] / images[0].shape[1]
    columns = columns or min(len(images), max(1, round((1.5 * len(images) * ratio) ** 0.5)))
    rows = -(-len(images) // columns)
    cell = width / columns
    title_height = 0.19 if titles else 0.06
    height = rows * (cell * ratio + title_height) + (0.36 if suptitle else 0) + (0.26 if key else 0)
    fig, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")
    fig.get_layout_engine().set(w_pad=0.03, h_pad=0.015, wspace=0, hspace=0)
    for i, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if i >= len(images):
            continue
        ax.imshow(images[i], interpolation="antialiased")
        if titles:
            ax.set_title(titles[i], fontsize=7 if cell < 1.4 else 7.5, fontweight="normal", pad=2.5)
        if colours:
            ax.plot(
                [0, 1], [0, 0], color=colours[i], lw=2.5, transform=ax.transAxes, clip_on=False, solid_capstyle="butt"
            )
    if suptitle:
        fig.suptitle(suptitle, x=0.01, ha="left")
    if key:
        # Below the title, in room kept free by hand: a legend "outside" would slide over the title.
        fig.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.24 / height))
        rules = [Line2D([], [], color=colour, lw=2.5) for colour in key.values()]
        place = {"loc": "upper left", "bbox_to_anchor": (0.004, 1 - (0.27 if suptitle else 0.03) / height)}
        style = {"ncols": len(key), "fontsize": 7.5, "handlelength": 1.6, "columnspacing": 1.4}
        fig.legend(rules, key.keys(), **place, **style, borderaxespad=0, borderpad=0)
    return fig
