"""Fig. 5, the architecture, drawn from a model's own modules, so that it cannot show what they do not compute.

`PLACES` says where on the page each part stands, and all lines run between the edges of these boxes: to move a part,
change its box. Sizes come from `parts`, shapes from `shapes` and `figures.page`. Colour is for the four levels alone;
all else is grey.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.data.counts import PLURALS
from cityguessr.figures.architecture.parts import SCENE_LABEL, Parts, build, read, sizes
from cityguessr.figures.architecture.shapes import draw_levels, draw_loss, legible, street, tint
from cityguessr.figures.page import Box, Page, check_image
from cityguessr.figures.style import LAND, LEVEL_COLOURS, MUTED, PAPERS_OWN, TEXT
from cityguessr.model import CityGuessr
from cityguessr.taxonomy import LEVELS, Taxonomy

__all__ = ["Parts", "draw", "read", "sizes"]

ENCODERS = {"videomae": "VideoMAE", "timesformer": "TimeSformer", "mae": "MAE"}
TEXT_ENCODERS = {"clip": "CLIP", "minilm": "MiniLM", "bert": "BERT", "gpt2": "GPT-2", "opt": "OPT"}

# Where everything stands: x and y of the lower left corner, width and height, in inches. The upper line is read from
# left to right; the four vectors then run back through the gutter, as one does at the end of a line, to the lower one.
WIDTH, HEIGHT = 7.2, 5.42
FLOOR_WITHOUT_ATTENTION = 3.05  # where the page ends when there is no lower line
PLACES = {
    # upper line
    "clip": Box(0.10, 3.58, 0.78, 0.78),
    "tubelets": Box(1.42, 3.58, 0.78, 0.78),
    "encoder": Box(2.86, 3.48, 0.88, 1.00),
    "feature": Box(4.02, 3.48, 0.11, 1.00),
    "H": Box(4.50, 4.44, 0.28, 0.22),  # of the city; the other levels stand below it
    "PV_H": Box(4.91, 4.49, 0.86, 0.12),  # likewise; so wide is the level with the most classes
    "L_geo": Box(6.50, 4.68, 0.62, 0.27),
    # lower line: the panel of the attention, then the branches of the scene and of the text
    "panel": Box(0.44, 0.10, 3.66, 2.62),
    "PV": Box(0.62, 0.72, 0.28, 1.28),
    "q": Box(1.44, 0.72, 0.14, 1.28),
    "k": Box(1.70, 2.12, 1.28, 0.14),
    "w": Box(1.70, 0.72, 1.28, 1.28),
    "v": Box(3.18, 0.72, 0.14, 1.28),
    "PV'": Box(3.68, 0.72, 0.28, 1.28),
    "FFN_s": Box(4.50, 1.96, 1.46, 0.52),
    "scene label": Box(6.34, 2.58, 0.78, 0.09),
    "L_scene": Box(6.50, 2.085, 0.62, 0.27),
    "FFN_t": Box(4.50, 0.86, 1.46, 0.52),
    "L_TLA": Box(6.50, 0.985, 0.62, 0.27),
    "names": Box(4.50, 0.14, 1.06, 0.36),
    "text encoder": Box(5.74, 0.14, 0.76, 0.36),
}
ROW = 0.40  # from one level's row of the upper line to the next
TRACK = 0.06  # from one level's line to the next where the four run side by side
BUS = 6.03  # where the four vectors are tapped for L_geo
TURN, GUTTER, MARGIN = 6.29, 2.86, 0.33  # where the city's line turns down, runs back, and turns down again
PLACE_OF_TITLE, PLACE_OF_SUBTITLE = (0.10, 5.28), (0.10, 5.07)


def draw(
    model: CityGuessr | ModelConfig, taxonomy: Taxonomy | None = None, frames: Sequence[NDArray] | None = None
) -> Figure:
    """Draw Fig. 5: the flow of one clip through a model, every part in the size that the model gives it.

    What a model lacks is not there: without text alignment no FFN_t, without both auxiliary losses no attention.

    Args:
        model: a model, or the configuration of one (made without weights, so that none are read).
        taxonomy: the label tree, which says how many classes a configuration has; a model knows its own.
        frames: some frames of a clip to show, uint8 (H, W, 3); a plain street is drawn where they are left out.

    Raises InputError for another system than CityGuessr, a configuration without a taxonomy, a model with another
    number of classes than the taxonomy, and frames of another kind.
    """
    built = build(model, taxonomy)
    parts = read(built)
    floor = 0 if parts.attention else FLOOR_WITHOUT_ATTENTION
    page = Page(WIDTH, floor, HEIGHT)
    _title(page, parts, built.config)
    _encoder(page, parts, built.config, _checked(frames))
    _heads(page, parts)
    if parts.attention:
        _attention(page, parts)
    if parts.ffn_s:
        _scene(page, parts, built.config)
    if parts.ffn_t:
        _text(page, parts, built.config)
    return page.fig


def _title(page: Page, parts: Parts, config: ModelConfig) -> None:
    losses = [r"L_{geo}"] + [r"L_{scene}"] * bool(parts.ffn_s) + [r"L_{TLA}"] * bool(parts.ffn_t)
    total = sum(parts.parameters.values())
    size = f"{parts.frames} frames of {parts.pixels} × {parts.pixels} pixels, {_number(total)} parameters"
    title = "CityGuessr: one clip, four answers" + (", and attention between them" if parts.attention else "")
    page.words(PLACE_OF_TITLE, title, 11, TEXT, ha="left", weight="bold")
    page.words(PLACE_OF_SUBTITLE, f"{ENCODERS[config.backbone]}, {size}", 8, ha="left")
    right = (PLACES["L_geo"].x + PLACES["L_geo"].width, PLACE_OF_SUBTITLE[1])
    if len(losses) > 1:
        page.words(right, f"$L = {' + '.join(losses)}$", 10, TEXT, ha="right")


def _encoder(page: Page, parts: Parts, config: ModelConfig, frames: list[NDArray]) -> None:
    clip, tubelets, encoder, feature = (PLACES[name] for name in ("clip", "tubelets", "encoder", "feature"))
    for i, frame in list(enumerate(frames[:4]))[::-1]:  # the first frame in front
        place = clip.moved(0.08 * i, 0.07 * i)
        page.picture(place, frame, zorder=4 - 0.2 * i)
        page.box(place, "none", "white", radius=0.0, zorder=4.1 - 0.2 * i)
    many = "1 frame" if parts.frames == 1 else f"{parts.frames} frames"
    again = "\n(the last one twice)" if parts.grid[0] * parts.tubelet[0] > parts.frames else ""
    _below(page, clip.moved(0.12), f"{many}, {parts.pixels} × {parts.pixels}{again}")

    depth = np.array((0.36, 0.24)) * min(1, parts.grid[0] / 8)  # so far back goes the block in time
    _block(page, tubelets, parts.grid, depth, frames[0])
    count, (deep, *size) = " × ".join(map(str, parts.grid)), parts.tubelet
    what = f"tubelets\neach {deep} frames of" if deep > 1 else "patches\neach"
    _below(page, tubelets.moved(depth[0] / 2), f"{count} {what} {size[0]} × {size[1]}")
    page.line((clip.right[0] + 0.28, encoder.left[1]), (tubelets.x - 0.04, encoder.left[1]))
    page.line((tubelets.right[0] + depth[0] + 0.04, encoder.left[1]), encoder.left)

    page.box(encoder, tint(TEXT, 0.07), PAPERS_OWN)
    page.words((encoder.top[0], encoder.top[1] - 0.14), ENCODERS[config.backbone], 8, TEXT, weight="bold")
    step = (encoder.width - 0.16) / parts.layers
    for i in range(parts.layers):
        page.box(Box(encoder.x + 0.08 + (i + 0.18) * step, encoder.y + 0.1, 0.64 * step, 0.6), PAPERS_OWN, radius=0.01)
    parameters = _number(parts.parameters["encoder"])
    _below(page, encoder, f"{parts.layers} layers, {parts.heads} heads\n{parameters} parameters")
    page.line(encoder.right, feature.left)
    page.box(feature, TEXT, radius=0.02)
    _below(page, feature, f"feature\n{parts.width}")


def _block(page: Page, front: Box, grid: tuple[int, int, int], depth: tuple[float, float], frame: NDArray) -> None:
    """The clip as a box of tubelets: a frame cut into rows and columns in front, time going back."""
    (x, y, width, height), (dx, dy), (times, rows, columns) = front, depth, grid
    page.picture(front, frame)
    page.solid(front, depth, ("none", tint(TEXT, 0.2), tint(TEXT, 0.35)))
    cuts = []
    for i in range(columns + 1):
        at = x + width * i / columns
        cuts += [[(at, y), (at, y + height), (at + dx, y + height + dy)]]
    for i in range(rows + 1):
        at = y + height * i / rows
        cuts += [[(x, at), (x + width, at), (x + width + dx, at + dy)]]
    for i in range(1, times + 1):
        back, up = dx * i / times, dy * i / times
        corner = (x + width + back, y + height + up)
        cuts += [[(x + back, corner[1]), corner, (corner[0], y + up)]]
    for cut in cuts:
        page.ax.plot(*zip(*cut, strict=True), color="white", lw=0.35, zorder=4, solid_joinstyle="miter")
    one = Box(x + width * (columns - 1) / columns, y + height * (rows - 1) / rows, width / columns, height / rows)
    page.solid(one, (dx / times, dy / times), (TEXT, TEXT, TEXT), zorder=5)


def _heads(page: Page, parts: Parts) -> None:
    """Four classifiers, their vectors, and the losses of these."""
    loss, feature = PLACES["L_geo"], PLACES["feature"]
    fork = feature.right[0] + 0.18
    draw_loss(page, loss, "geo", "cross-entropy,\nfour levels")
    last = PLACES["H"].left[1] - ROW * (len(LEVELS) - 1)
    most = max(parts.classes.values())
    page.line((BUS, last), (BUS, loss.left[1]), loss.left)
    for i, level in enumerate(LEVELS):
        colour, count = LEVEL_COLOURS[level], parts.classes[level]
        head, vector = PLACES["H"].moved(y=-ROW * i), PLACES["PV_H"].moved(y=-ROW * i)
        vector = vector._replace(width=max(0.02, vector.width * count / most))
        page.line(feature.right, (fork, feature.right[1]), (fork, head.left[1]), head.left)
        page.box(head, colour)
        page.words(head.centre, f"$H_{i + 1}$", 10, legible(colour))
        page.line(head.right, vector.left, colour=colour, width=1.4, arrow=False)
        page.box(vector, colour, radius=0.01)
        page.words((vector.x, vector.y + 0.19), rf"$\mathrm{{PV}}_{{H{i + 1}}}$", 10, TEXT, ha="left")
        name = PLURALS[level] if count != 1 else level
        page.words((vector.x + 0.40, vector.y + 0.185), f"{count} {name}", 7.5, TEXT, ha="left")
        page.ax.plot(BUS, vector.left[1], "o", ms=3.2, color=MUTED, zorder=5)
        if not parts.attention:
            page.line(vector.right, (BUS, vector.left[1]), colour=colour, width=1.4, arrow=False)
            continue
        turn, gutter, margin = TURN - TRACK * i, GUTTER + TRACK * i, MARGIN - TRACK * i
        vectors = PLACES["PV"]
        arrival = vectors.y + vectors.height * (1 - (i + 0.5) / len(LEVELS))
        page.line(vector.right, (turn, vector.left[1]), (turn, gutter), (margin, gutter), (margin, arrival),
                  (vectors.x, arrival), colour=colour, width=1.4)  # fmt: skip


def _attention(page: Page, parts: Parts) -> None:
    """The panel of the Self-Cross Attention: PV, q, k and v, the weights w in blocks, PV'."""
    panel, pv, q, k, w, v, out = (PLACES[name] for name in ("panel", "PV", "q", "k", "w", "v", "PV'"))
    width, heads = parts.attention
    page.box(panel, tint(TEXT, 0.05), radius=0.08, zorder=0)
    head = (pv.x, panel.y + panel.height - 0.15)
    page.words(head, "Self-Cross Attention", 8.5, TEXT, ha="left", weight="bold")
    formula = rf"$w = \mathrm{{softmax}}(q\,k^T / \sqrt{{{width // heads}}}\,)$"
    page.words((out.x + out.width, head[1]), formula, 10, TEXT, ha="right")
    for box, name in ((pv, r"$\mathrm{PV}$"), (out, r"$\mathrm{PV}'$")):
        draw_levels(page, box, parts.classes)
        page.words((box.top[0], box.top[1] + 0.11), name, 10, TEXT)
        page.words((box.bottom[0], box.y - 0.11), f"$d$ = {parts.d}", 7.5)
    for box, name, along in ((q, "$q$", "y"), (v, "$v$", "y"), (k, "$k^T$", "x")):
        draw_levels(page, box, columns=width, along=along)
        page.words((box.top[0], box.top[1] + 0.1), name, 10, TEXT)
    _weights(page, w, heads)
    fork = (pv.x + pv.width + 0.28, pv.right[1])
    below = w.y - 0.19
    page.line(pv.right, q.left)
    page.line(pv.right, fork, (fork[0], k.left[1]), k.left)
    page.line(pv.right, fork, (fork[0], below), (v.bottom[0], below), v.bottom)
    page.words(((w.x + w.width + v.x) / 2 + 0.01, w.right[1]), "×", 9, TEXT)
    page.line(v.right, out.left)
    page.words(((v.x + v.width + out.x) / 2, v.right[1] + 0.1), f"{width}→1", 7)
    page.words(((fork[0] + q.x) / 2 + 0.02, q.left[1] + 0.1), f"1→{width}", 7)
    many = "1 head" if heads == 1 else f"{heads} heads"
    page.words((pv.x, below - 0.16), f"each of the {parts.d} outputs is a token of width 1; {many}", 7, ha="left")
    page.words((pv.x, below - 0.29), "blocks of one colour: self attention; of two: cross attention", 7, ha="left")


def _weights(page: Page, place: Box, heads: int) -> None:
    """w as 4 x 4 blocks: one colour where a level attends to itself, from one to the other where it does not."""
    for i in range(min(heads, 4) - 1, 0, -1):
        page.box(place.moved(0.04 * i, -0.04 * i), LAND, "white", radius=0.0, zorder=2)
    colours, cell = [np.array(to_rgb(LEVEL_COLOURS[level])) for level in LEVELS], 48
    slope = np.clip((np.mgrid[0:cell, 0:cell].sum(axis=0) / (2 * cell - 2) - 0.2) / 0.6, 0, 1)[..., None]
    blocks = [[a + (b - a) * slope for b in colours] for a in colours]
    lighter = [[part if a == b else 1 - 0.6 * (1 - part) for b, part in enumerate(row)] for a, row in enumerate(blocks)]
    page.picture(place, np.concatenate([np.concatenate(row, axis=1) for row in lighter]))
    for i in range(len(LEVELS) + 1):
        x, y = place.x + place.width * i / len(LEVELS), place.y + place.height * i / len(LEVELS)
        page.ax.plot([x, x], [place.y, place.y + place.height], color="white", lw=1.2, zorder=4)
        page.ax.plot([place.x, place.x + place.width], [y, y], color="white", lw=1.2, zorder=4)


def _branch(page: Page, letter: str, widths: Sequence[int], loss: Box) -> None:
    """From PV' through an FFN, one bar per layer, as high as the layer is wide, to its loss."""
    start, place = PLACES["PV'"].right, PLACES[f"FFN_{letter}"]
    fork, middle = start[0] + 0.32, place.left[1]
    page.line(start, (fork, start[1]), (fork, middle), place.left)
    page.words((place.x, place.top[1] + 0.12), rf"$\mathrm{{FFN}}_{letter}$", 10, TEXT, ha="left")
    bar = 0.09
    step = min(0.30, (place.width - bar) / (len(widths) - 1))
    bars = []
    for i, width in enumerate(widths):
        height = max(0.02, place.height * width / max(widths))
        bars.append(Box(place.x + i * step, middle - height / 2, bar, height))
    for (x, y, _, height), after in pairwise(bars):
        right = [(after.x, after.y + after.height), (after.x, after.y)]
        page.shape([(x + bar, y), (x + bar, y + height), *right], tint(TEXT, 0.1))
    for box, width in zip(bars, widths, strict=True):
        colour = (TEXT, TEXT) if box == bars[-1] else (PAPERS_OWN, MUTED)
        page.box(box, colour[0], radius=0.01)
        page.words((box.bottom[0], place.y - 0.09), str(width), 7, colour[1])
    page.line(bars[-1].right, loss.left)
    page.words(((place.x + place.width + loss.x) / 2, middle + 0.13), rf"$\mathrm{{PV}}'_{letter}$", 10, TEXT)


def _scene(page: Page, parts: Parts, config: ModelConfig) -> None:
    label, loss = PLACES["scene label"], PLACES["L_scene"]
    _branch(page, "s", parts.ffn_s, loss)
    draw_loss(page, loss, "scene", "cross-entropy")
    page.picture(label, _label_strip(parts.ffn_s[-1], config.scene_labels))
    page.box(label, "none", PAPERS_OWN, radius=0.0, zorder=4)
    page.words((loss.x + loss.width, label.y + 0.17), SCENE_LABEL[config.scene_labels], 7, ha="right")
    page.line((loss.top[0], label.y), loss.top)


def _text(page: Page, parts: Parts, config: ModelConfig) -> None:
    names, encoder, loss = PLACES["names"], PLACES["text encoder"], PLACES["L_TLA"]
    _branch(page, "t", parts.ffn_t, loss)
    draw_loss(page, loss, "TLA", "minus cosine", above=True)  # from below come the names
    columns, rows = (names.x, names.x + 0.50), (names.top[1] - 0.14, names.top[1] - 0.30)
    places = [(x, y) for y in rows for x in columns] if config.text_labels == "all" else [(names.x, names.y + 0.145)]
    for place, level in zip(places, LEVELS, strict=False):
        page.words(place, level, 7, LEVEL_COLOURS[level], ha="left", va="baseline", weight="bold")
    page.line((names.right if len(places) > 1 else (names.x + 0.3, names.right[1])), encoder.left)
    page.box(encoder, tint(TEXT, 0.07), PAPERS_OWN, linestyle=(0, (3, 2)))
    reader = TEXT_ENCODERS.get(config.text_encoder, config.text_encoder)
    page.words(encoder.centre, f"text encoder\n{reader}, fixed", 7, TEXT)
    page.line(encoder.right, (loss.bottom[0], encoder.right[1]), loss.bottom)
    between, line = (encoder.right[0] + loss.bottom[0]) / 2, encoder.right[1]
    page.words((between, line + 0.13), "$F_t$", 10, TEXT)
    page.words((between + 0.03, line - 0.1), "mean" if len(places) > 1 else "", 7)
    page.words((loss.bottom[0] + 0.05, line + 0.13), str(parts.ffn_t[-1]), 7.5, ha="left")


def _below(page: Page, box: Box, text: str) -> None:
    for i, line in enumerate(text.splitlines()):
        page.words((box.bottom[0], PLACES["encoder"].y - 0.17 - 0.125 * i), line, 7, va="baseline")


def _label_strip(scenes: int, kind: str) -> NDArray:
    """A scene label as one line of cells: some shades for a soft one, one dark cell for the others."""
    strip, thick = np.full((1, scenes, 3), 1.0), -(-scenes // 24)
    for place, share in {"soft": ((0.2, 0.45), (0.5, 0.35), (0.85, 0.2))}.get(kind, ((0.5, 0.7),)):
        strip[0, int(place * scenes) :][:thick] = 1 - 1.2 * share
    return strip


def _checked(frames: Sequence[NDArray] | None) -> list[NDArray]:
    """The frames cut square, or plain ones."""
    if frames is None:
        return [street(step) for step in range(4)]
    square = []
    for i, frame in enumerate(frames):
        frame = check_image(frame, f"frame {i}")
        side = min(frame.shape[:2])
        top, left = ((edge - side) // 2 for edge in frame.shape[:2])
        square.append(frame[top : top + side, left : left + side])
    if not square:
        raise InputError("no frames to show; leave frames out for a plain street")
    return square


def _number(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count:,}"
