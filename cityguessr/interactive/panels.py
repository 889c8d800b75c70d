"""What things to move draw: notes, bars, tables, plots and strips of frames, as plain data and as HTML.

A view is a list of panels, each a dictionary. The script of a page makes the same panels from the same sliders, so the
two can be held against each other number by number; `page.html` draws them in the browser as `html_of` does here.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cityguessr.figures.style import GUIDE

Panel = dict[str, Any]

PLOT = (340, 220, 42, 8, 8, 40)
"""Of a plot, in pixels: width, height, and the room left, right, above and below its axes."""


def note(text: str) -> Panel:
    """A sentence or two."""
    return {"kind": "note", "text": text}


def bars(title: str, colour: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Panel:
    """Bars from 0 to 1: each row has `label`, `values` (one per column; bars), `texts` (one each) and `strong`.

    The names of the columns are shown where there are several.
    """
    return {"kind": "bars", "title": title, "colour": colour, "columns": list(columns), "rows": list(rows)}


def table(title: str, head: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Panel:
    """A table: each row has `cells`, `marks` ("right", "wrong" or "" for each cell) and `strong`."""
    return {"kind": "table", "title": title, "head": list(head), "rows": list(rows)}


def plot(title: str, x: Mapping[str, Any], y: Mapping[str, Any], series: Sequence[Mapping[str, Any]]) -> Panel:
    """A plot: axes with `label`, `low` and `high`; series with `shape` (line, dashes, dots, ring, stems), `points`,
    `colour` and `label` ("" for none in the key)."""
    return {"kind": "plot", "title": title, "x": dict(x), "y": dict(y), "series": list(series)}


def strip(title: str, frames: Sequence[Mapping[str, Any]]) -> Panel:
    """Frames in a row: each has its number `frame`, `label`, `colour`, `state` ("sampled", "left out", "cut off")."""
    return {"kind": "strip", "title": title, "frames": list(frames)}


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals, halves rounded up as the page's script does, and a true minus sign."""
    rounded = math.floor(value * 10**digits + 0.5) / 10**digits
    return f"{abs(rounded):.{digits}f}" if rounded >= 0 else f"−{abs(rounded):.{digits}f}"


def percent(share: float, digits: int = 1) -> str:
    """A share in [0, 1] as a percentage."""
    return f"{fixed(100 * share, digits)}\u00a0%"


def html_of(panels: Iterable[Panel], pictures: Sequence[str] = ()) -> str:
    """The panels as HTML, to stand in an element of the class `moving`.

    Args:
        pictures: JPEG in base64, by the number of the frame, for strips.
    """
    return "".join(_DRAW[panel["kind"]](panel, pictures) for panel in panels)


def _element(tag: str, content: str, name: str = "", **attributes: object) -> str:
    values = {"class": name, **{key.replace("_", "-"): value for key, value in attributes.items()}}
    written = "".join(f' {key}="{html.escape(str(value))}"' for key, value in values.items() if value != "")
    return f"<{tag}{written}>{content}</{tag}>"


def _section(panel: Panel, content: str, name: str) -> str:
    return _element("section", _element("h3", html.escape(panel["title"])) + content, name)


def _note(panel: Panel, pictures: Sequence[str]) -> str:
    return _element("p", html.escape(panel["text"]), "note")


def _bars(panel: Panel, pictures: Sequence[str]) -> str:
    rows = ""
    if len(panel["columns"]) > 1:
        heads = 2 * _element("th", "") + "".join(_element("th", html.escape(column)) for column in panel["columns"])
        rows = _element("tr", heads, "head")
    for row in panel["rows"]:
        drawn = "".join(
            _element("i", "", "" if n else "first", style=f"width:{100 * value:.1f}%;background:{panel['colour']}")
            for n, value in enumerate(row["values"])
        )
        cells = _element("th", html.escape(row["label"]), scope="row") + _element("td", drawn, "bar")
        cells += "".join(_element("td", html.escape(text), "number") for text in row["texts"])
        rows += _element("tr", cells, "strong" if row["strong"] else "")
    return _section(panel, _element("table", rows), "bars")


def _table(panel: Panel, pictures: Sequence[str]) -> str:
    rows = _element("tr", "".join(_element("th", html.escape(text), scope="col") for text in panel["head"]))
    for row in panel["rows"]:
        cells = "".join(
            _element("td", html.escape(text) + {"right": " ✓", "wrong": " ✗", "": ""}[mark], mark)
            for text, mark in zip(row["cells"], row["marks"], strict=True)
        )
        rows += _element("tr", cells, "strong" if row["strong"] else "")
    return _section(panel, _element("div", _element("table", rows), "scroll"), "table")


def _plot(panel: Panel, pictures: Sequence[str]) -> str:
    width, height, left, right, top, bottom = PLOT
    (x_low, x_high), (y_low, y_high) = ((panel[axis]["low"], panel[axis]["high"]) for axis in "xy")

    def px(x: float) -> float:
        return left + (width - left - right) * (x - x_low) / (x_high - x_low)

    def py(y: float) -> float:
        return height - bottom - (height - top - bottom) * (y - y_low) / (y_high - y_low)

    def text(words: str, x: float, y: float, anchor: str = "middle") -> str:
        return _element("text", html.escape(words), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)

    foot, drawn, key = height - bottom, "", ""
    for y, words in _ticks(y_low, y_high):
        drawn += _element("path", "", d=f"M{left} {py(y):.1f}H{width - right}", stroke=GUIDE)
        drawn += text(words, left - 6, py(y) + 4, "end")
    drawn += "".join(text(words, px(x), foot + 16) for x, words in _ticks(x_low, x_high))
    drawn += text(panel["x"]["label"], (left + width - right) / 2, height - 6)
    for series in panel["series"]:
        places = [f"{px(x):.1f} {py(y):.1f}" for x, y in series["points"]]
        shape, style = series["shape"], {"stroke": series["colour"], "fill": "none", "stroke_width": 2}
        if shape in ("line", "dashes"):
            path = "M" + "L".join(places)
            style |= {"stroke_dasharray": "5 4"} if shape == "dashes" else {}
        elif shape == "stems":
            path = "".join(f"M{place}V{foot}" for place in places)
        else:
            path = "".join(f"M{place}h0" for place in places)
            style |= {"stroke_width": 7 if shape == "dots" else 13, "stroke_linecap": "round"}
            style |= {"stroke_opacity": 0.45} if shape == "ring" else {}
        drawn += _element("path", "", d=path, **style)
        if series["label"]:
            swatch = _element("i", "", shape, style=f"color:{series['colour']}")
            key += _element("span", swatch + html.escape(series["label"]))
    label = f"{panel['title']}. Across: {panel['x']['label']}. Up: {panel['y']['label']}."
    picture = _element("svg", drawn, viewBox=f"0 0 {width} {height}", role="img", aria_label=label)
    up = _element("div", html.escape(panel["y"]["label"]), "up")
    return _section(panel, up + picture + _element("div", key, "key"), "plot")


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers between two ends, about five, with their texts."""
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(n for n in (1, 2, 5, 10) if n * power >= raw) * power
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(n * step, fixed(n * step, digits)) for n in numbers]


def _strip(panel: Panel, pictures: Sequence[str]) -> str:
    frames = ""
    for frame in panel["frames"]:
        face = _element("b", "", style=f"background:{frame['colour']}")
        if frame["frame"] < len(pictures):
            source = f"data:image/jpeg;base64,{pictures[frame['frame']]}"
            face = f'<img alt="" src="{source}">{face}'
        text = _element("span", html.escape(frame["label"])) + _element("small", html.escape(frame["state"]))
        frames += _element("li", face + text, frame["state"].replace(" ", "-"))
    return _section(panel, _element("ol", frames), "strip")


_DRAW: dict[str, Callable[[Panel, Sequence[str]], str]] = {
    "note": _note,
    "bars": _bars,
    "table": _table,
    "plot": _plot,
    "strip": _strip,
}
