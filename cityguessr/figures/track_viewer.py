"""Tracks to step through, frame by frame: the picture, where it was taken, and where each kind of answer puts it.

One page for any browser, without a network (`offline_page`). Places are in metres east and north of the middle of
their city, so that the page draws them without a map; errors are computed here, along great circles.
"""

import html
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.figures import offline_page, saving
from cityguessr.figures.offline_page import OfflinePage
from cityguessr.figures.style import GUIDE, LAND, MUTED, TEXT
from cityguessr.figures.track_answers import CEILING, KINDS, TrackAnswers, local_km
from cityguessr.figures.tracks import COLOURS, JUMP_KM, MARKERS, REACH_KM
from cityguessr.measures.tracks import mean_place
from cityguessr.tracks import Track, read_frames

THUMBNAIL = 96  # pixels, each side
MOST_FRAMES = 48  # of a track; a longer one is shown at as many frames, evenly spread
MOST_DOTS = 1500  # training coordinates of a city
MAX_BYTES = 900_000
NAME = "track_viewer.html"


def draw(
    tracks: Sequence[TrackAnswers],
    training: Mapping[str, ArrayLike] | None = None,
    pictures: Mapping[str, NDArray] | None = None,
    *,
    headings: Sequence[str] | None = None,
    synthetic: bool,
    note: str = "",
) -> OfflinePage:
    """Make the viewer.

    Args:
        tracks: what to choose from; those of one region stand together, in the order given.
        training: region -> (n, 2) degrees, drawn faintly behind its tracks; `MOST_DOTS` of them, evenly taken.
        pictures: name of a track -> uint8 (frames, height, width, 3) of the frames that are shown (`shown_frames`), as
            from `thumbnails`; a track may lack them. They are embedded as JPEG, of a quality that keeps the page within
            `MAX_BYTES` where possible.
        headings: a few words for each track, such as why it was chosen.
        synthetic: whether it shows MiniWorld; the page then says so.
        note: a short remark at its foot, such as the seed.

    Raises InputError where there is no track, headings or pictures do not match, or a picture is not uint8.
    """
    if not tracks:
        raise InputError("there is no track to view; give at least one")
    if headings is not None and len(headings) != len(tracks):
        raise InputError(f"{len(headings)} headings for {len(tracks)} tracks; give one for each")
    by_region: dict[str, list[int]] = {}
    for number, track in enumerate(tracks):
        by_region.setdefault(track.region, []).append(number)
    regions, records = [], {}
    for region in sorted(by_region, key=lambda region: tracks[by_region[region][0]].label.casefold()):
        mine = [tracks[number] for number in by_region[region]]
        known = np.asarray((training or {}).get(region, np.empty((0, 2))), dtype=float)
        middle = mean_place(known if len(known) else np.concatenate([track.true for track in mine]))
        dots = known[:: max(1, -(-len(known) // MOST_DOTS))]
        for number in by_region[region]:
            heading = "" if headings is None else headings[number]
            records[number] = _record(tracks[number], middle, heading)
        listed = [records[number] for number in by_region[region]]
        regions.append({"name": mine[0].label, "dots": _metres(dots, middle).ravel().tolist(), "tracks": listed})
    total = sum(map(len, tracks))
    cities = f"{len(regions)} {'city' if len(regions) == 1 else 'cities'}"
    title = f"{len(tracks)} {'track' if len(tracks) == 1 else 'tracks'} in {cities}, frame by frame"
    foot = " · ".join(text for text in (saving.SYNTHETIC_LABEL if synthetic else "", note) if text)
    parts = {
        "head": offline_page.head(title),
        "title": html.escape(title),
        "note": html.escape(foot),
        "text": TEXT,
        "muted": MUTED,
        "guide": GUIDE,
        "land": LAND,
    }
    kinds = [{"name": k, "colour": COLOURS[k], "mark": MARKERS[k]} for k in KINDS if any(k in t.given for t in tracks)]
    ceiling = {"name": CEILING, "colour": COLOURS[CEILING]}
    about = {"kinds": kinds, "ceiling": ceiling, "jump": 1000 * JUMP_KM, "regions": regions}
    template = (resources.files("cityguessr.figures") / "track_viewer.html").read_text(encoding="utf-8")
    for quality in (75, 65, 55, 45, 35, 25):
        for number, track in enumerate(tracks):
            if pictures and track.name in pictures:
                records[number]["picture"] = _strip(track, pictures[track.name], quality)
        document = offline_page.filled(template, parts | {"data": offline_page.json_text(about)})
        if len(document.encode()) <= MAX_BYTES or not pictures:
            break
    return OfflinePage(document, f"{title}: {total:,} frames. {foot}".rstrip(". ") + ".", NAME, "Track viewer", 690)


def shown_frames(count: int) -> list[int]:
    """Which of a track's frames the viewer shows: all, or `MOST_FRAMES` from the first to the last, evenly spread."""
    return np.linspace(0, count - 1, min(count, MOST_FRAMES)).round().astype(int).tolist()


def thumbnails(tracks: Sequence[Track]) -> dict[str, NDArray[np.uint8]]:
    """Name of a track -> uint8 (frames, 96, 96, 3), its frames that are shown. Raises InputError as `read_frames`."""
    return {track.name: read_frames(track, THUMBNAIL, shown_frames(len(track))) for track in tracks}


def _record(track: TrackAnswers, middle: NDArray, heading: str) -> dict[str, Any]:
    """What the page knows of a track; places in metres from the middle of its city, errors in km."""
    shown = shown_frames(len(track))
    answers = {
        kind: {
            "at": _metres(latlon[shown], middle).tolist(),
            "km": track.error_km(kind)[shown].round(3).tolist(),
            "median": round(float(np.median(track.error_km(kind))), 3),
            "frechet": round(track.frechet(kind), 3),
        }
        for kind, latlon in track.given.items()
    }
    return {
        "name": track.name,
        "heading": heading,
        "length": len(track),
        "frames": [frame + 1 for frame in shown],
        "places": [f"{_degrees(lat, 'NS')}, {_degrees(lon, 'EW')}" for lat, lon in track.true[shown].tolist()],
        "true": _metres(track.true[shown], middle).tolist(),
        "answers": answers,
        "ceiling": None if track.ceiling_km is None else np.round(track.ceiling_km[shown], 3).tolist(),
        "view": _view(track, middle),
    }


def _view(track: TrackAnswers, middle: NDArray) -> list[int]:
    """West, east, south, north, in metres: the true track and the answers that are not farther than a map reaches."""
    answers = np.concatenate(list(track.given.values()))
    near = answers[np.linalg.norm(local_km(answers, track.middle), axis=1) <= REACH_KM]
    x, y = _metres(np.concatenate([track.true, near]), middle).T
    return [int(edge) for edge in (x.min(), x.max(), y.min(), y.max())]


def _metres(latlon: NDArray, middle: NDArray) -> NDArray[np.int64]:
    return (1000 * local_km(latlon, middle)).round().astype(int) if len(latlon) else np.empty((0, 2), int)


def _degrees(value: float, sides: str) -> str:
    return f"{abs(value):.4f}° {sides[0] if value >= 0 else sides[1]}"


def _strip(track: TrackAnswers, pictures: NDArray, quality: int) -> str:
    """The frames of a track side by side in one JPEG, whose tables then come once."""
    frames, shown = np.asarray(pictures), len(shown_frames(len(track)))
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[0] != shown or frames.shape[3] != 3:
        raise InputError(
            f"pictures of track {track.name}: expected uint8 ({shown}, H, W, 3), got {frames.dtype} {frames.shape}"
        )
    return offline_page.jpeg_text(Image.fromarray(np.concatenate(list(frames), axis=1)), quality)
