"""A map to explore: hover, focus or tap a city for its accuracy, its commonest wrong answers and a frame; zoom in.

One HTML page that needs nothing but itself: the map is inline SVG of the same land in the same projection as every
other map, thumbnails are embedded, and its own rules forbid it to load anything. In a notebook it stands in a frame of
its own, so that its style and script touch nothing else.
"""

import html
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.data.clips import ClipDataset
from cityguessr.data.pictures import decode_image
from cityguessr.figures import maps, offline_page, pictures, saving
from cityguessr.figures.accuracy_maps import FEW, top_of_scale
from cityguessr.figures.offline_page import OfflinePage
from cityguessr.figures.page import check_image
from cityguessr.figures.style import LAND, MUTED, TEXT, sequential
from cityguessr.taxonomy import LEVELS

WIDTH = 2000  # units of the drawing; coordinates are whole numbers of them
THUMBNAIL = 120  # pixels, the longer side
MAX_BYTES = 700_000
NAME = "city_map.html"


def draw(
    cities: pd.DataFrame,
    pairs: pd.DataFrame,
    frames: Mapping[int, NDArray] | None = None,
    *,
    synthetic: bool,
    note: str = "",
    answers: int = 5,
) -> OfflinePage:
    """Make the map.

    Every city with clips is in it and can be found by name; those without coordinates have no circle.

    Args:
        cities: from `confusions.by_city`.
        pairs: from `confusions.commonest` with count=None.
        frames: city id -> uint8 (height, width, 3), as from `thumbnails`; a city may lack one. They are embedded as
            JPEG, of a quality that keeps the page within `MAX_BYTES` where possible.
        synthetic: whether it shows MiniWorld; the page then says so.
        note: a short remark at its foot, such as the seed.
        answers: so many wrong answers are listed for a city.

    Raises InputError where no city has clips, or a picture is not uint8 (height, width, 3).
    """
    shown = cities[cities["clips"] > 0].sort_values("clips", ascending=False, kind="stable")
    if shown.empty:
        raise InputError("no city has a clip in the validation split; there is nothing to map")
    total = int(shown["clips"].sum())
    records = _records(shown, cities, pairs, answers)
    title = f"Accuracy city by city: {len(shown)} cities, {total:,} validation clips"
    foot = " · ".join(text for text in (saving.SYNTHETIC_LABEL if synthetic else "", note) if text)
    continents = sorted(shown.dropna(subset=["latitude", "longitude"])["continent"].unique())
    tops = [top_of_scale(shown[f"shrunken_{level}"]) for level in LEVELS]
    names = sorted(f"{record['names'][0]}, {record['names'][2]}" for record in records.values())
    west, east, south, north = maps.extent()
    parts = {
        "head": offline_page.head(title),
        "title": html.escape(title),
        "note": html.escape(foot),
        "hint": "Point at a city, tap it, or reach the map with Tab and move with the arrow keys. Numbered arrows lead "
        "to the commonest wrong answers. Zoom with the menu or with + and -, and drag to move the enlarged map.",
        "few": str(FEW),
        "text": TEXT,
        "muted": MUTED,
        "land": LAND,
        "gradient": ", ".join(_colours(np.linspace(0, 1, 11))),
        "viewbox": f"-4 -4 {WIDTH + 8} {math.ceil(WIDTH * (north - south) / (east - west)) + 8}",
        "globe": _globe(),
        "land_path": "".join(_line(polygon) for path in maps.land() for polygon in path.to_polygons()),
        "options": "".join(f'<option value="{html.escape(name)}"></option>' for name in names),
        "levels": "".join(f"<option>{level}</option>" for level in LEVELS),
        "parts": "".join(f"<option>{html.escape(name)}</option>" for name in ["the world", *continents]),
        "circles": _circles(shown, records),
    }
    template = (resources.files("cityguessr.figures") / "interactive_map.html").read_text(encoding="utf-8")
    for quality in (72, 60, 48, 36, 24):
        for city, picture in (frames or {}).items():
            if str(city) in records:
                records[str(city)]["picture"] = _jpeg(picture, quality, city)
        known = {"levels": LEVELS, "tops": tops, "cities": records}
        document = offline_page.filled(template, parts | {"data": offline_page.json_text(known)})
        if len(document.encode()) <= MAX_BYTES or not frames:
            break
    return OfflinePage(document, f"{title}. {foot}".rstrip(". ") + ".", NAME, "Interactive map of cities", 660)


def thumbnails(
    clips: ClipDataset, which: Sequence[int], profile: str, data_root: str | Path | None = None
) -> dict[int, NDArray]:
    """A picture of each of these cities for the map: city id -> uint8 (height, width, 3), the middle of a clip.

    Args:
        clips: the split that the numbers refer to.
        which: clip numbers, one per city.
        profile, data_root: as in `pictures.of`.
    """
    cities = clips.labels["city"][list(which)].tolist()
    if not clips.synthetic:
        return dict(zip(cities, pictures.of(clips, which, profile, data_root, width=THUMBNAIL), strict=True))
    # Rendered anew, as `pictures.of` would, 166 cities take minutes. The frames that the model saw are at hand: they
    # are squares, to be stretched back to the proportions of the videos.
    thumbnails = {}
    for city, i in zip(cities, which, strict=True):
        jpegs = clips.jpegs(i)
        frame = decode_image(clips.clip_ids[i], jpegs[len(jpegs) // 2])
        size = (round(1.5 * frame.height), frame.height)
        thumbnails[city] = np.asarray(frame.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    return thumbnails


def _records(shown: pd.DataFrame, cities: pd.DataFrame, pairs: pd.DataFrame, answers: int) -> dict[str, Any]:
    """What the page knows of each city, by its id as text."""
    shares = [shown[f"shrunken_{level}"].to_numpy() for level in LEVELS]
    colours = np.array([_colours(share / top_of_scale(share)) for share in shares]).T.tolist()
    places, names = cities[["latitude", "longitude"]].to_numpy(), cities["city"].tolist()
    wrong = dict(iter(pairs.groupby("truth")))
    # An answer may be a city without clips of its own, which has no circle; its arrow would lead nowhere.
    circled = set(shown.dropna(subset=["latitude", "longitude"])["city_id"])
    records = {}
    for row, tones in zip(shown.to_dict("records"), colours, strict=True):
        city, listed = row["city_id"], []
        rows = wrong.get(city)
        for pair in [] if rows is None else rows.head(answers).itertuples():
            ends = {city, pair.answer} <= circled
            arc = maps.arcs(places[[city]], places[[pair.answer]], 0.06, steps=41)[0] if ends else []
            listed.append(
                {
                    "city": str(pair.answer),
                    "name": names[pair.answer],
                    "clips": int(pair.clips),
                    "km": None if math.isnan(pair.km) else round(pair.km),
                    "arc": "".join(_line(piece, closed=False) for piece in arc),
                }
            )
        records[str(city)] = {
            "names": [row[level] for level in LEVELS],
            "clips": int(row["clips"]),
            "shares": [
                {"right": int(row[f"right_{level}"])}
                | {part: round(row[f"{part}_{level}"]) for part in ("accuracy", "low", "high")}
                for level in LEVELS
            ],
            "colours": tones,
            "wrong": listed,
            "more": 0 if rows is None else int(rows["clips"].iloc[answers:].sum()),
        }
    return records


def _circles(shown: pd.DataFrame, records: Mapping[str, Any]) -> str:
    """One circle per city, the largest first so that small ones stay on top; the first can be reached with Tab."""
    placed = shown.dropna(subset=["latitude", "longitude"])
    places = _units(maps.project(placed[["latitude", "longitude"]].to_numpy())) if len(placed) else []
    radii = 5 + 21 * np.sqrt(placed["clips"] / placed["clips"].max())
    circles = []
    for city, (x, y), radius in zip(placed["city_id"], places, radii, strict=True):
        record = records[str(city)]
        right = ", ".join(
            f"{level} right {share['right']}" for level, share in zip(LEVELS, record["shares"], strict=True)
        )
        label = f"{record['names'][0]}, {record['names'][2]}: {record['clips']} clips, {right}"
        enough = ' class="enough"' if record["clips"] >= FEW else ""
        circles.append(
            f'<circle data-city="{city}" cx="{x}" cy="{y}" r="{radius:.1f}" fill="{record["colours"][0]}"{enough} '
            f'role="button" tabindex="{0 if not circles else -1}" aria-label="{html.escape(label)}"></circle>'
        )
    return "".join(circles)


def _globe() -> str:
    """The edge of the map: up the date line on the one side, down it on the other."""
    lat = np.linspace(maps.SOUTH, maps.NORTH, 60)
    east = np.stack([lat, np.full_like(lat, 180)], axis=1)
    west = np.stack([lat[::-1], np.full_like(lat, -180)], axis=1)
    return _line(maps.project(np.concatenate([east, west])))


def _units(points: NDArray) -> NDArray:
    """(n, 2) metres of the map -> (n, 2) whole units of the drawing, from its upper left corner."""
    west, east, _, north = maps.extent()
    scale = WIDTH / (east - west)
    return np.round(np.stack([points[:, 0] - west, north - points[:, 1]], axis=1) * scale).astype(int)


def _line(points: NDArray, closed: bool = True) -> str:
    """The path of an SVG through points in metres of the map, by steps; "" where it shrinks to nothing."""
    points = _units(points)
    steps = np.diff(points, axis=0)
    steps = steps[steps.any(axis=1)]
    if not len(steps):
        return ""
    text = "l".join(f"{x} {y}" for x, y in steps).replace(" -", "-")
    return f"M{points[0, 0]} {points[0, 1]}l{text}{'z' if closed else ''}"


def _colours(shares: NDArray) -> list[str]:
    """Shares of the scale's upper end, 0 to 1, as colours."""
    return [to_hex(colour) for colour in sequential()(np.asarray(shares, float))]


def _jpeg(picture: NDArray, quality: int, city: int) -> str:
    image = Image.fromarray(check_image(picture, f"the picture of city {city}"))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return offline_page.jpeg_text(image, quality)
