"""One way to write a figure: PNG, PDF and the plotted numbers; and one to show it in a notebook."""

import contextlib
import io
import logging
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.base.files import write_bytes
from cityguessr.data.pictures import encode_image
from cityguessr.figures.style import MUTED, TITLE
from cityguessr.training import profiles

SYNTHETIC_LABEL = "MiniWorld: synthetic data"
MAX_BYTES = 400_000  # of a PNG or PDF, so that all figures of a run, about 80 files, can be kept in the repository


def save(
    fig: Figure,
    name: str,
    data: pd.DataFrame | None,
    *,
    synthetic: bool,
    note: str = "",
    profile: str = "mini",
    folder: Path | None = None,
) -> list[Path]:
    """Write a figure as `<name>.png` (200 dpi), `<name>.pdf` and, with data, `<name>.csv` into the figures' folder.

    Each file appears whole or not at all, and the same figure gives the same bytes. A PNG of more than
    `MAX_BYTES` gets a palette of 256 colours and then, if it must, fewer pixels; images inside a PDF likewise lose
    resolution.

    Args:
        fig: a matplotlib figure.
        name: the paper's figure number and what it shows, such as `fig2_data_distribution`.
        data: the plotted numbers, one column per variable (the index is not written); None for pictures alone.
        synthetic: whether it shows MiniWorld; a small label below the figure then says so.
        note: a short remark beside that label, such as the number of seeds.
        profile: the scale it was rendered at, which decides the folder (`paths.figures`).
        folder: where to write instead.

    Returns the paths written. Raises InputError for a name that is not a plain file name, or a folder that cannot be
    written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise InputError(f"figure name {name!r}: use letters, digits, '_', '-' and '.'")
    _add_foot(fig, " · ".join(part for part in (SYNTHETIC_LABEL if synthetic else "", note) if part))
    fig.set_gid("labelled")  # `show` need not guess what it shows
    target = (folder or paths.figures(profile)) / name
    written = [target.with_name(f"{name}.png"), target.with_name(f"{name}.pdf")]
    write_bytes(written[0], _png(fig, MAX_BYTES))
    write_bytes(written[1], _pdf(fig, MAX_BYTES))
    if data is not None:
        written.append(target.with_name(f"{name}.csv"))
        write_bytes(written[-1], data.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode())
    return written


def show(profile: str, alt: str = "") -> None:
    """Show the open figures in a notebook, labelled as `save` did; one not saved, as the profile's data is.

    Args:
        profile: the scale that the figures were rendered at.
        alt: what a reader who cannot see them should know, for the book and for screen readers; by default the titles
            and axes of each (`described`).
    """
    from IPython import display, get_ipython  # a machine that only computes may lack it

    for fig in map(plt.figure, plt.get_fignums()):  # a cell may draw several, or have closed them all
        if profiles.get(profile).synthetic and fig.get_gid() != "labelled":
            _add_foot(fig, SYNTHETIC_LABEL)
        if get_ipython() is not None:
            display.display(fig, metadata={"image/png": {"alt": alt or described(fig)}})
    if get_ipython() is None:
        plt.show()
    else:
        plt.close("all")  # or the notebook would show them again at the end of the cell


def described(fig: Figure) -> str:
    """A figure in words: its titles, the names of its axes and its key; of a sheet, which has none, its bold lines.

    A title above all panels is the figure's own or a text of the figure whose group id is `title`.
    """
    above = [text.get_text() for text in fig.texts if text.get_gid() == TITLE]
    parts = [*filter(None, [fig.get_suptitle()]), *above]
    for ax in fig.axes:
        axes = [f"{name}: {label}" for name, label in (("across", ax.get_xlabel()), ("up", ax.get_ylabel())) if label]
        title = ax.get_title() or ax.get_title(loc="left")
        bold = [text.get_text() for text in ax.texts if above and text.get_fontweight() == "bold"]
        parts += [part for part in (*bold, title, ", ".join(axes) if title or parts else "") if part]
    keys = [text.get_text() for legend in fig.legends for text in legend.get_texts()] if above else []
    parts += [f"Key: {', '.join(keys)}"] if keys else []
    if not parts:
        texts = [text for ax in fig.axes for text in ax.texts if text.get_fontweight() == "bold"]
        largest = max((text.get_fontsize() for text in texts), default=0)
        parts = [text.get_text() for text in texts if text.get_fontsize() >= min(9, largest)]
    words = [re.sub(r"[$\\{}]|\s+", lambda m: " " if m[0].isspace() else "", part) for part in dict.fromkeys(parts)]
    shown = words if len(words) <= 12 else [*words[:11], words[-1]]
    text = ". ".join(word.strip().rstrip(".") for word in shown)
    return re.sub(r"(?<=[?!])\.", "", text) or "Figure"


def _add_foot(fig: Figure, text: str) -> None:
    """Put one muted line below everything on the figure, replacing the one of an earlier call."""
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


def _render(fig: Figure, kind: str, dpi: int) -> bytes:
    # Neither file says when or by which version it was made: the same figure gives the same bytes.
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None, "Creator": None}}[kind]
    buffer = io.BytesIO()
    # The font of roots and primes has an odd date, which the PDF's font writer would remark on, on a notebook's page.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    with _frozen_layout(fig):
        fig.savefig(buffer, format=kind, dpi=dpi, metadata=metadata, bbox_inches="tight", pad_inches=0.06)
    return buffer.getvalue()


@contextlib.contextmanager
def _frozen_layout(fig: Figure) -> Iterator[None]:
    """Keep the axes where they are while the file is written: the line below the figure was placed by them."""
    engine = fig.get_layout_engine()
    fig.set_layout_engine("none")
    try:
        yield
    finally:
        fig.set_layout_engine(engine)


def _png(fig: Figure, limit: int) -> bytes:
    if fig.get_layout_engine() is not None:
        fig.canvas.draw()
    image = Image.open(io.BytesIO(_render(fig, "png", 200))).convert("RGB")
    content = encode_image(image, "PNG", optimize=True, dpi=(200, 200))
    dpi = 200.0
    while len(content) > limit:
        size = (round(image.width * dpi / 200), round(image.height * dpi / 200))
        small = image.resize(size, Image.Resampling.LANCZOS)
        # Colours that are rare but far from the others, as a yellow car's, keep their place among those of every fourth
        # pixel; dithered to these, skies show no steps.
        sample = small.resize((max(1, size[0] // 4), max(1, size[1] // 4)), Image.Resampling.NEAREST)
        palette = sample.quantize(255, Image.Quantize.MAXCOVERAGE, kmeans=2)
        background = small.getpixel((0, 0))
        palette.putpalette([*palette.getpalette()[: 3 * 255], *background])
        reduced = small.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        # Pillow would take a near colour for the background, which keeps its own.
        is_background = (np.asarray(small) == background).all(axis=2)
        reduced.paste(255, mask=Image.fromarray(is_background))
        content = encode_image(reduced, "PNG", optimize=True, dpi=(dpi, dpi))
        dpi *= min(0.9, (limit / len(content)) ** 0.5)  # what it takes if bytes go with pixels, or a little more
    return content


def _pdf(fig: Figure, limit: int) -> bytes:
    content, before = b"", 0
    for dpi in (200, 150, 110, 80):  # of the images in it; lines and type stay vectors
        if dpi > 80 and len(content) * dpi**2 > limit * before**2:
            continue  # bytes fall no faster than pixels: it would be too large as well
        content, before = _render(fig, "pdf", dpi), dpi
        if len(content) <= limit:
            break
    return content
