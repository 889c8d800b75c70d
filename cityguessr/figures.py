"""One look for every figure, and one way to write it: PNG, PDF and the plotted numbers.

Sizes are meant for print: make a figure 7.2 inches wide for a full text width or 3.5 for a column, and no text on it
falls under 7 points.
"""

import contextlib
import io
import logging
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cityguessr import paths, profiles
from cityguessr.data.files import write_bytes
from cityguessr.errors import InputError
from cityguessr.taxonomy import LEVELS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from PIL.Image import Image

# Okabe and Ito's colours (Color Universal Design, 2008), chosen to stay apart with any common colour blindness.
LEVEL_COLOURS = dict(zip(LEVELS, ("#D55E00", "#E69F00", "#009E73", "#0072B2"), strict=True))
"""Level -> colour, from the warm city to the cool continent."""

# Paul Tol's "bright" scheme (technical note SRON/EPS/TN/09-002), its cyan darkened for small marks on white.
CONTINENT_COLOURS = {
    "Africa": "#CCBB44",
    "Asia": "#EE6677",
    "Europe": "#4477AA",
    "North America": "#228833",
    "Oceania": "#AA3377",
    "South America": "#44BBDD",
}
"""Continent -> colour, by the names of the built-in tree."""

# Paul Tol's "muted" scheme, the three that lie farthest from the levels' colours.
SERIES = ("#332288", "#44AA99", "#882255")
"""For what is neither a level nor a continent: splits, losses, one thing beside another (the style sheet's cycle)."""

INK, MUTED, LAND, PAPER = "#222222", "#6f6f6f", "#dcdcdc", "#8c8c8c"
"""Text; secondary text; the one grey of maps; the paper's own numbers."""

BESIDE, FAINT = "#b5b5b5", "#d5d5d5"
"""A curve or bar that another one is seen against; lines that guide the eye."""

SYNTHETIC_LABEL = "MiniWorld: synthetic data"
MAX_PNG_BYTES, MAX_PDF_BYTES = 1_000_000, 1_000_000


def use_style() -> None:
    """Apply the project's style sheet to matplotlib, for this process."""
    import matplotlib.pyplot as plt

    with resources.as_file(resources.files("cityguessr.data") / "resources" / "cityguessr.mplstyle") as path:
        plt.style.use(path)


def sequential() -> "Colormap":
    """The sequential colour map of densities and rates: perceptually even, light to dark, pale yellow to violet."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    # magma backwards, without its ends: neither white on white paper nor black.
    colours = colormaps["magma_r"](np.linspace(0.06, 0.9, 256))
    return LinearSegmentedColormap.from_list("cityguessr", colours)


def save(
    fig: "Figure",
    name: str,
    data: "pd.DataFrame | None",
    *,
    synthetic: bool,
    note: str = "",
    profile: str = "mini",
    folder: Path | None = None,
    limit: int | None = None,
) -> list[Path]:
    """Write a figure as `<name>.png` (200 dpi), `<name>.pdf` and, with data, `<name>.csv` into the figures' folder.

    Each file appears whole or not at all, and the same figure gives the same bytes. A PNG of more than 1 MB gets a
    palette of 256 colours and then, if it must, fewer pixels; images inside a PDF likewise lose resolution.

    Args:
        fig: a matplotlib figure.
        name: the paper's figure number and what it shows, such as `fig2_data_distribution`.
        data: the plotted numbers, a column a variable (the index is not written); None for pictures alone.
        synthetic: whether it shows MiniWorld; a small label below the figure then says so.
        note: a short remark beside that label, such as the number of seeds.
        profile: the scale it was rendered at, which decides the folder (`paths.figures`).
        folder: where to write instead.
        limit: bytes for each of the two drawings, less than the usual 1 MB for a sheet of pictures that is one of many.

    Returns the paths written. Raises InputError for a name that is no plain file name or a folder that cannot be
    written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise InputError(f"figure name {name!r}: use letters, digits, '_', '-' and '.'")
    _foot(fig, " · ".join(part for part in (SYNTHETIC_LABEL if synthetic else "", note) if part))
    fig.set_gid("labelled")  # `show` need not guess what it shows
    target = (folder or paths.figures(profile)) / name
    written = [target.with_name(f"{name}.png"), target.with_name(f"{name}.pdf")]
    write_bytes(written[0], _png(fig, limit or MAX_PNG_BYTES))
    write_bytes(written[1], _pdf(fig, limit or MAX_PDF_BYTES))
    if data is not None:
        written.append(target.with_name(f"{name}.csv"))
        write_bytes(written[-1], data.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode())
    return written


def show(profile: str) -> None:
    """Show the open figures in a notebook, labelled as `save` did; one not saved, as the profile's data is."""
    import matplotlib.pyplot as plt

    for fig in map(plt.figure, plt.get_fignums()):  # a cell may draw several, or have closed them all
        if profiles.get(profile).synthetic and fig.get_gid() != "labelled":
            _foot(fig, SYNTHETIC_LABEL)
    plt.show()


def frames_grid(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    width: float = 7.2,
    colours: Sequence[str] | None = None,
    key: Mapping[str, str] | None = None,
    suptitle: str | None = None,
) -> "Figure":
    """A contact sheet of frames.

    Args:
        images: uint8 arrays (H, W, 3), or one array (N, H, W, 3).
        titles: a short text above each frame.
        columns: frames in a row; chosen for a sheet of about 3:2 when left out.
        width: of the sheet, in inches.
        colours: the colour of each frame's rule (a continent's, say); none when left out.
        key: name -> colour, what the rules mean, written above the frames.
        suptitle: what to see.

    Raises InputError where there are no images, one is not uint8 (H, W, 3), or titles or colours do not match them.
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    images = [np.asarray(image) for image in images]
    if not images:
        raise InputError("a contact sheet needs at least one frame")
    for i, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"frame {i}: expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
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


def _foot(fig: "Figure", text: str) -> None:
    """Put one muted line below everything on the figure, replacing the one of an earlier call."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for old in [t for t in fig.texts if t.get_gid() == "foot"]:
        old.remove()
    if not text:
        return
    if not hasattr(fig.canvas, "get_renderer"):  # closed by a notebook at the end of the cell that drew it
        FigureCanvasAgg(fig)
    fig.canvas.draw()  # the layout settles when drawn, and only then is it known what lies lowest
    width, height = fig.get_size_inches()
    box = fig.get_tightbbox(fig.canvas.get_renderer())
    lines = textwrap.fill(text, max(30, int(width * 17)))
    x, y = min(box.x0, 0.1) / width, (box.y0 - 0.05) / height
    foot = fig.text(x, y, lines, fontsize=7, color=MUTED, ha="left", va="top", style="italic", gid="foot")
    foot.set_in_layout(True)


def _rendered(fig: "Figure", kind: str, dpi: int) -> bytes:
    # Neither file says when or by which version it was made: the same figure gives the same bytes.
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None, "Creator": None}}[kind]
    buffer = io.BytesIO()
    # The font of roots and primes has an odd date, which the PDF's font writer would remark on, on a notebook's page.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    with _frozen_layout(fig):
        fig.savefig(buffer, format=kind, dpi=dpi, metadata=metadata, bbox_inches="tight", pad_inches=0.06)
    return buffer.getvalue()


@contextlib.contextmanager
def _frozen_layout(fig: "Figure") -> Iterator[None]:
    """Keep the axes where they are while the file is written: the line below the figure was placed by them."""
    engine = fig.get_layout_engine()
    fig.set_layout_engine("none")
    try:
        yield
    finally:
        fig.set_layout_engine(engine)


def _png(fig: "Figure", limit: int) -> bytes:
    from PIL import Image

    if fig.get_layout_engine() is not None:
        fig.canvas.draw()
    image = Image.open(io.BytesIO(_rendered(fig, "png", 200))).convert("RGB")
    content = _encoded(image, 200)
    dpi = 200.0
    while len(content) > limit:
        size = (round(image.width * dpi / 200), round(image.height * dpi / 200))
        small = image.resize(size, Image.Resampling.LANCZOS)
        # Colours that are rare but far from the others, as a yellow car's, keep their place among those of every fourth
        # pixel; dithered to these, skies show no steps.
        sample = small.resize((max(1, size[0] // 4), max(1, size[1] // 4)), Image.Resampling.NEAREST)
        palette = sample.quantize(255, Image.Quantize.MAXCOVERAGE, kmeans=2)
        paper = small.getpixel((0, 0))
        palette.putpalette([*palette.getpalette()[: 3 * 255], *paper])
        reduced = small.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        is_paper = (np.asarray(small) == paper).all(axis=2)  # Pillow takes a near colour for it; it keeps its own
        reduced.paste(255, mask=Image.fromarray(is_paper))
        content = _encoded(reduced, dpi)
        dpi *= min(0.9, (limit / len(content)) ** 0.5)  # what it takes if bytes go with pixels, or a little more
    return content


def _encoded(image: "Image", dpi: float) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True, dpi=(dpi, dpi))
    return buffer.getvalue()


def _pdf(fig: "Figure", limit: int) -> bytes:
    content, before = b"", 0
    for dpi in (200, 150, 110, 80):  # of the images in it; lines and type stay vectors
        if dpi > 80 and len(content) * dpi**2 > limit * before**2:
            continue  # bytes fall no faster than pixels: it would be too large as well
        content, before = _rendered(fig, "pdf", dpi), dpi
        if len(content) <= limit:
            break
    return content
