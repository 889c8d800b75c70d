"""Sheets of pictures: every picture and every word is there, and no caption meets another."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import cartopy.crs as ccrs
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cityguessr import figures
from cityguessr.base.errors import InputError
from cityguessr.figures import maps, saving, sheets
from cityguessr.figures.page import CAPTION, text_width, wrapped
from cityguessr.taxonomy import LEVELS

pytestmark = pytest.mark.usefixtures("fresh_style")

LONG = (
    "Thiruvananthapuram\nIndia",
    "Autonomous City of Buenos Aires\nArgentina",
    "Sarajevo\nBosnia and Herzegovina",
    "Bandar Seri Begawan\nBrunei",
    "São Tomé\nSão Tomé and Príncipe",
    "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogoch\nWales",
    "A$AP$\nx_1^2",  # no mathematics
)


def frames(count: int, height: int = 40, width: int = 60) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def captions(count: int) -> list[str]:
    return [LONG[i % len(LONG)] for i in range(count)]


def layout(fig: Figure) -> tuple[list, list, list]:
    """Boxes in pixels of the texts and of the pictures, and the texts."""
    fig.canvas.draw()
    renderer = fig.canvas.get_renderer()
    ax = fig.axes[0]
    return (
        [text.get_window_extent(renderer) for text in ax.texts],
        [image.get_window_extent(renderer) for image in ax.images],
        [text.get_text() for text in ax.texts],
    )


def nothing_overlaps(fig: Figure) -> None:
    texts, images, words = layout(fig)
    slack = 1.0  # pixel: letters with tails
    for (a, first), (b, second) in combinations(zip(texts, words, strict=True), 2):
        met = min(a.x1, b.x1) - max(a.x0, b.x0) > slack and min(a.y1, b.y1) - max(a.y0, b.y0) > slack
        assert not met, f"{first!r} meets {second!r}"
    for box, word in zip(texts, words, strict=True):
        assert box.x0 >= -slack, word
        assert box.x1 <= fig.bbox.x1 + slack, word
        assert box.y0 >= -slack, word
        for image in images:
            met = min(box.x1, image.x1) - max(box.x0, image.x0) > slack
            assert not (met and min(box.y1, image.y1) - max(box.y0, image.y0) > slack), word
    assert min(text.get_fontsize() for text in fig.axes[0].texts) >= 7


def texts(fig: Figure) -> str:
    return " ".join(text.get_text() for text in fig.axes[0].texts)


def letters(text: str) -> str:
    """A text without spaces, line breaks and hyphens."""
    return "".join(text.split()).replace("-", "")


def test_wrapped_lines_fit_and_lose_no_letter() -> None:
    for text in LONG:
        for width in (0.5, 0.84, 1.4):
            lines = wrapped(text, width, CAPTION)
            assert letters("".join(lines)) == letters(text)
            assert all(text_width(line, CAPTION) <= width for line in lines)
    assert wrapped("", 1, CAPTION) == []
    assert wrapped("12,434\u00a0km off", 0.65, CAPTION) == [
        "12,434\u00a0km",
        "off",
    ]  # a number stays with its unit


def test_quartets_of_six_continents() -> None:
    pictures = {name: frames(4) for name in figures.CONTINENT_COLOURS}
    fig = sheets.quartets(pictures, {name: captions(4) for name in pictures})
    nothing_overlaps(fig)
    images = fig.axes[0].images
    assert len(images) == 24
    every = [picture for block in pictures.values() for picture in block]
    for image, picture in zip(images, every, strict=True):
        np.testing.assert_array_equal(image.get_array(), picture)
    assert "24 street views from 6 continents" in texts(fig)
    assert all(name in texts(fig) for name in pictures)
    rules = {mpl.colors.to_hex(patch.get_facecolor()) for patch in fig.axes[0].patches}
    assert rules == {colour.lower() for colour in figures.CONTINENT_COLOURS.values()}
    assert fig.get_figwidth() == 7.2


def test_quartets_take_what_there_is() -> None:
    fig = sheets.quartets({"Atlantis": frames(1), "Asia": frames(3)}, {"Atlantis": ["Poseidonis"], "Asia": captions(3)})
    nothing_overlaps(fig)
    assert len(fig.axes[0].images) == 4


@pytest.mark.parametrize("count", [1, 6, 7, 15, 61])
def test_cities_of_a_continent(count: int) -> None:
    fig = sheets.cities("Asia", frames(count), captions(count))
    nothing_overlaps(fig)
    assert len(fig.axes[0].images) == count
    assert (f"each of {count} cities" if count > 1 else "its one city") in texts(fig)
    assert letters("".join(captions(count))) in letters(texts(fig).replace("Asia: one street view from ", ""))
    assert fig.get_figheight() < 11  # inches: a page, even of names as long as these


def test_a_picture_of_another_shape_is_shown_whole() -> None:
    """A prepared frame is a square among frames of 16:9."""
    fig = sheets.cities("Asia", [*frames(3, 36, 64), *frames(1, 64, 64)], captions(4))
    boxes = np.array([image.get_extent() for image in fig.axes[0].images])
    wide = (boxes[:, 1] - boxes[:, 0]) / (boxes[:, 2] - boxes[:, 3])
    np.testing.assert_allclose(wide, [64 / 36] * 3 + [1], rtol=1e-2)
    nothing_overlaps(fig)


def described(finest: str, count: int) -> pd.DataFrame:
    """Rows as `examples.describe` gives them, with long names."""
    rows = []
    for i in range(count):
        row = {"clip_id": f"c{i}", "city": "Thiruvananthapuram", "state": "Kerala", "country": "Bosnia and Herzegovina"}
        row |= {"continent": "South America"} | {f"answer_{level}": "Bandar Seri Begawan" for level in LEVELS}
        if finest in LEVELS:
            row |= {f"answer_{level}": row[level] for level in LEVELS[LEVELS.index(finest) :]}
        km = [0.4, 12.3, 19999.0, float("nan")][i % 4]
        rows.append(row | {"finest_right": finest, "probability": [1.0, 0.004, 0.5][i % 3], "km": km})
    return pd.DataFrame(rows, columns=[*(rows[0] if rows else ["clip_id", "finest_right"])])


@pytest.mark.parametrize("finest", [*LEVELS, "nowhere"])
def test_examples_say_truth_answer_and_distance(finest: str) -> None:
    fig = sheets.examples(frames(10), described(finest, 10), finest, 1234)
    nothing_overlaps(fig)
    words = texts(fig)
    assert words.startswith("10 of the 1,234 clips placed ")
    for part in ("<1\u00a0km", "12\u00a0km", "19,999\u00a0km", "distance unknown", "(100%)", "(<1%)", "(50%)"):
        assert letters(part) in letters(words)
    assert (finest == "state") == ("bothinKerala" in letters(words))
    assert (finest == "nowhere") == ("notSouthAmerica" in letters(words))
    colour = figures.LEVEL_COLOURS.get(finest, figures.MUTED).lower()
    assert {mpl.colors.to_hex(patch.get_facecolor()) for patch in fig.axes[0].patches} == {colour}


def test_a_class_without_clips_says_so(tmp_path: Path) -> None:
    fig = sheets.examples([], described("state", 0), "state", 0)
    nothing_overlaps(fig)
    assert texts(fig).startswith("No clip is placed in the right state or province and the wrong city Nothing to show")
    assert not fig.axes[0].images
    figures.save(fig, "fig_s7_right_state", described("state", 0), synthetic=True, folder=tmp_path)
    for count, words in ((1, "The one clip placed in the right city"), (3, "All 3 clips placed in the right city")):
        assert texts(sheets.examples(frames(count), described("city", count), "city", count)).startswith(words)


def listed(places: Sequence[tuple[float, float]], probabilities: Sequence[float], clip: str = "c") -> pd.DataFrame:
    """Rows as `examples.likeliest` gives them; the second city is the true one."""
    rows = []
    for rank, ((lat, lon), p) in enumerate(zip(places, probabilities, strict=True), 1):
        row = {"clip_id": clip, "city": "Sarajevo", "country": "Bosnia and Herzegovina", "outcome": "right within five"}
        row |= {"rank": rank, "answer": "Sarajevo" if rank == 2 else "Autonomous City of Buenos Aires"}
        row |= {"answer_country": "Bosnia and Herzegovina", "probability": p, "km": 19999.0, "right": rank == 2}
        rows.append(row | {"latitude": lat, "longitude": lon, "true_latitude": 43.85, "true_longitude": 18.4})
    return pd.DataFrame(rows)


NEAR = [(44.4, 26.1), (43.9, 18.4), (42.7, 23.3), (41.3, 19.8), (45.8, 16.0)]
FAR = [(-34.6, -58.4), (43.9, 18.4), (-41.3, 174.8), (61.2, -149.9), (35.7, 139.7)]
SHARES = [0.6, 0.25, 0.1, 0.004, 0.0]


def test_bars_are_the_probabilities_and_the_truth_is_in_colour() -> None:
    table = pd.concat([listed(NEAR, SHARES, "a"), listed(FAR, SHARES, "b")])
    fig = sheets.top5(frames(2), table)
    nothing_overlaps(fig)
    track, *_ = (p for p in fig.axes[0].patches if mpl.colors.to_hex(p.get_facecolor()) == figures.GUIDE)
    colours = {figures.MUTED: [0.6, 0.1, 0.004, 0.0], figures.LEVEL_COLOURS["city"].lower(): [0.25]}
    for colour, shares in colours.items():
        bars: list[Rectangle] = [p for p in fig.axes[0].patches if mpl.colors.to_hex(p.get_facecolor()) == colour]
        np.testing.assert_allclose([bar.get_width() / track.get_width() for bar in bars], shares * 2)
    words = texts(fig)
    for part in ("Right within five: Sarajevo, Bosnia and Herzegovina", "60%", "25%", "<1%", "19,999\u00a0km"):
        assert part in words


def test_maps_show_the_part_of_the_world_with_every_place() -> None:
    table = pd.concat([listed(NEAR, SHARES, "a"), listed(FAR, SHARES, "b")])
    fig = sheets.top5(frames(2), table)
    near, far = fig.axes[1:]
    whole = maps.world()
    assert np.ptp(near.get_xlim()) == pytest.approx(6e6)
    assert np.ptp(far.get_xlim()) == pytest.approx(np.ptp(whole.get_xlim()))
    for ax, places in ((near, NEAR), (far, FAR)):
        shown = [dots.get_offsets() for dots in ax.collections if dots.get_gid() != "land"]
        assert [len(dots) for dots in shown] == [5, 1]
        for x, y in np.concatenate(shown):
            assert ax.get_xlim()[0] < x < ax.get_xlim()[1]
            assert ax.get_ylim()[0] < y < ax.get_ylim()[1]
        likeliest = maps.projection().transform_point(*places[0][::-1], ccrs.PlateCarree())
        np.testing.assert_allclose(shown[0][0], likeliest)


def test_unknown_places_are_left_off_the_map() -> None:
    table = listed([(float("nan"), float("nan")), *NEAR[1:]], SHARES)
    table.loc[0, "km"] = float("nan")
    table["true_latitude"] = float("nan")
    fig = sheets.top5(frames(1), table)
    (dots,) = [dots for dots in fig.axes[1].collections if dots.get_gid() != "land"]
    assert len(dots.get_offsets()) == 4
    assert "distance unknown" in texts(fig)
    nothing_overlaps(fig)
    table["latitude"] = float("nan")
    assert len(sheets.top5(frames(1), table).axes[1].collections) == 1  # the land alone


def test_a_saved_sheet_is_light_and_its_words_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "MAX_BYTES", 200_000)
    fig = sheets.cities("Asia", frames(24), captions(24))
    clips = pd.DataFrame({"clip_id": ["a"]})
    png, pdf, data = figures.save(fig, "fig_s3e_asia", clips, synthetic=True, folder=tmp_path)
    assert png.stat().st_size <= 200_000
    assert pdf.stat().st_size <= 1_000_000
    assert data.read_text() == "clip_id\na\n"
    foot = next(text for text in fig.texts if text.get_gid() == "foot")
    boxes, _, _ = layout(fig)
    assert foot.get_window_extent().y1 <= min(box.y0 for box in boxes) + 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sheets.quartets({}, {}), "at least one continent"),
        (lambda: sheets.quartets({"Asia": []}, {"Asia": []}), "Asia: a sheet needs at least one picture"),
        (lambda: sheets.quartets({"Asia": frames(2)}, {}), "Asia: 0 captions for 2 pictures"),
        (lambda: sheets.cities("Asia", frames(2), ["a"]), "Asia: 1 captions for 2 pictures"),
        (
            lambda: sheets.cities("Asia", [np.zeros((4, 4, 3))], ["a"]),
            r"picture 0: expected uint8 \(H, W, 3\), got float64",
        ),
        (lambda: sheets.cities("Asia", [np.zeros((4, 4), np.uint8)], ["a"]), r"got uint8 \(4, 4\)"),
        (lambda: sheets.examples(frames(1), described("city", 2), "city", 2), "2 captions for 1 pictures"),
        (lambda: sheets.examples(frames(2), described("city", 2), "state", 2), "right at 'state'"),
        (lambda: sheets.examples(frames(2), described("city", 2), "city", 1), "a class of 1"),
        (
            lambda: sheets.examples(frames(2), described("city", 2), "town", 2),
            "no finest level 'town'",
        ),
        (lambda: sheets.top5(frames(2), listed(NEAR, SHARES)), "1 captions for 2 pictures"),
        (lambda: sheets.top5([], pd.DataFrame()), "at least one picture"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
