"""The viewer of tracks: whole, self-contained, safe with names of strangers, and true to its numbers."""

import base64
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from pages import Reader, check_offline
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.figures import track_viewer
from cityguessr.figures.track_answers import KINDS, TrackAnswers
from cityguessr.measures.sphere import great_circle_km
from cityguessr.measures.tracks import frechet_km
from cityguessr.tracks import Track

GENERATOR = np.random.default_rng(0)
CITIES = {"london": (51.5, -0.1), "tokyo": (35.7, 139.7), "suva": (-18.1, 179.99)}


def made(region: str, name: str, frames: int = 20) -> TrackAnswers:
    """A track of a city, whose answers stray by kilometres, one of them to another continent."""
    steps = np.stack([np.linspace(0, 0.005, frames), np.linspace(0, 0.01, frames)], axis=1)
    true = np.array(CITIES[region]) + steps
    true[:, 1] = (true[:, 1] + 180) % 360 - 180
    given = {kind: true + GENERATOR.normal(0, 0.01, true.shape) for kind in KINDS}
    given["retrieved"][3] = 10.0, 20.0
    return TrackAnswers(name, region, true, given, np.linspace(0, 0.1, frames))


TRACKS = [made(region, f"{region}-{n}") for n in range(2) for region in CITIES]
TRAINING = {region: np.array(place) + GENERATOR.normal(0, 0.01, (4000, 2)) for region, place in CITIES.items()}


def thumbnails(tracks: list[TrackAnswers]) -> dict[str, np.ndarray]:
    """Frame k of a track is an even grey of 5 k."""
    shades = np.arange(50, dtype=np.uint8) * 5
    return {
        t.name: np.broadcast_to(shades[: len(t), None, None, None], (len(t), 96, 96, 3)) for t in tracks if len(t) <= 48
    }


@pytest.fixture(scope="module")
def page() -> str:
    return track_viewer.draw(TRACKS, TRAINING, thumbnails(TRACKS), synthetic=True, note="seed 0").document


def known(page: str) -> dict:
    return json.loads(Reader(page).scripts[0])


def records(page: str) -> dict[str, dict]:
    return {track["name"]: track for region in known(page)["regions"] for track in region["tracks"]}


def test_its_errors_are_great_circle_distances(page: str) -> None:
    shown = records(page)
    assert set(shown) == {track.name for track in TRACKS}
    for track in TRACKS:
        record = shown[track.name]
        assert record["ceiling"] == pytest.approx(track.ceiling_km, abs=5e-4)
        for kind, latlon in track.given.items():
            errors = great_circle_km(track.true, latlon)
            assert record["answers"][kind]["km"] == pytest.approx(errors, abs=5e-4)
            assert record["answers"][kind]["median"] == pytest.approx(np.median(errors), abs=5e-4)
            assert record["answers"][kind]["frechet"] == pytest.approx(frechet_km(track.true, latlon), abs=5e-4)


def test_places_lie_as_far_apart_as_on_the_globe_over_the_date_line_too(page: str) -> None:
    for track in TRACKS:
        record = records(page)[track.name]
        true, answered = np.array(record["true"]), np.array(record["answers"]["refined"]["at"])
        steps = np.linalg.norm(np.diff(true, axis=0), axis=1)
        assert steps == pytest.approx(1000 * great_circle_km(track.true[:-1], track.true[1:]), abs=1.6)
        apart = np.linalg.norm(answered - true, axis=1)
        assert apart == pytest.approx(1000 * track.error_km("refined"), rel=1e-3, abs=2)
        west, east, south, north = record["view"]
        assert ((true >= (west, south)) & (true <= (east, north))).all()
        assert max(east - west, north - south) < 20_000  # what is on another continent does not widen the map


def test_cities_and_their_tracks_can_be_chosen(page: str) -> None:
    regions = known(page)["regions"]
    assert [region["name"] for region in regions] == ["London", "suva", "Tokyo"]
    assert [track["name"] for track in regions[0]["tracks"]] == ["london-0", "london-1"]
    assert all(0 < len(region["dots"]) <= 2 * track_viewer.MOST_DOTS for region in regions)
    labelled = {element["id"] for tag in ("select", "input") for element in Reader(page).all(tag)}
    assert labelled == {"city", "track", "frame"}


def test_pictures_stand_in_the_order_of_the_frames(page: str) -> None:
    for record in records(page).values():
        with Image.open(io.BytesIO(base64.b64decode(record["picture"]))) as image:
            strip = np.asarray(image.convert("L"), dtype=float)
        assert strip.shape == (96, 20 * 96)
        shades = strip.reshape(96, 20, 96).mean(axis=(0, 2))
        assert shades == pytest.approx(5 * np.arange(20), abs=2)


def test_a_long_track_is_shown_from_its_first_frame_to_its_last() -> None:
    long = made("london", "long", 1093)
    record = records(track_viewer.draw([long], synthetic=False).document)["long"]
    assert len(record["frames"]) == len(record["true"]) == track_viewer.MOST_FRAMES
    assert (record["frames"][0], record["frames"][-1], record["length"]) == (1, 1093, 1093)
    at = np.array(record["frames"]) - 1
    assert record["answers"]["refined"]["km"] == pytest.approx(long.error_km("refined")[at], abs=5e-4)
    assert record["answers"]["refined"]["median"] == pytest.approx(np.median(long.error_km("refined")), abs=5e-4)


def test_it_needs_nothing_but_itself(page: str) -> None:
    check_offline(page)


def test_it_is_light_with_three_tracks_for_each_of_ten_cities() -> None:
    many = [dataclasses.replace(TRACKS[0], name=str(n), region=f"city {n % 10}") for n in range(30)]
    # As busy as MiniWorld's pictures, which are 64 pixels wide.
    coarse = GENERATOR.integers(0, 255, (30, 20, 12, 12, 3), dtype=np.uint8)
    pictures = {str(n): coarse[n].repeat(8, 1).repeat(8, 2) for n in range(30)}
    page = track_viewer.draw(many, {f"city {n}": TRAINING["london"] for n in range(10)}, pictures, synthetic=True)
    assert len(page.document.encode()) <= track_viewer.MAX_BYTES
    assert all("picture" in record for record in records(page.document).values())


def test_names_are_only_ever_text() -> None:
    evil = '</script><img src=x onerror="alert(1)">&\u2028{{data}}'
    track = dataclasses.replace(TRACKS[0], name=evil, region=evil)
    drawn = track_viewer.draw([track], headings=[evil], synthetic=False, note="<b>bold</b>")
    (frame,) = Reader(drawn._repr_mimebundle_()["text/html"]).all("iframe")
    assert frame["sandbox"] == "allow-scripts"
    inner = Reader(frame["srcdoc"])
    assert [image for image in inner.all("img") if image.get("alt") != ""] == []  # the page's own has no text
    assert len(inner.all("img")) == 1
    assert not inner.all("b")
    assert len(inner.scripts) == 2  # the data and the code: no name has ended either
    assert records(frame["srcdoc"])[evil]["heading"] == evil


def test_synthetic_data_says_so_and_real_data_does_not(page: str) -> None:
    assert "MiniWorld: synthetic data · seed 0" in page
    assert "synthetic" not in track_viewer.draw(TRACKS, synthetic=False).document
    bundle = track_viewer.draw(TRACKS, synthetic=True)._repr_mimebundle_()
    left = re.sub(r"<[^>]+>", "", re.sub(r"</?iframe[^>]*>", "", bundle["text/html"]))
    assert "figures/track_viewer.html" in left  # where the frame is taken out, a sentence is left
    assert bundle["text/plain"] == "6 tracks in 3 cities, frame by frame: 120 frames. MiniWorld: synthetic data."


def test_thumbnails_are_the_tracks_own_pictures(tmp_path: Path) -> None:
    files = []
    for n in range(60):
        files.append(tmp_path / f"{n}.png")
        Image.new("RGB", (64, 48), (4 * n, 0, 0)).save(files[-1])
    latlon = np.tile(CITIES["london"], (60, 1))
    (pictures,) = track_viewer.thumbnails([Track("a", "london", "val", latlon, tuple(files))]).values()
    assert pictures.shape == (track_viewer.MOST_FRAMES, 96, 96, 3)
    assert pictures[:, 0, 0, 0].tolist() == [4 * n for n in track_viewer.shown_frames(60)]


def test_it_is_saved_whole(tmp_path: Path, page: str) -> None:
    drawn = track_viewer.draw(TRACKS, TRAINING, thumbnails(TRACKS), synthetic=True, note="seed 0")
    path = drawn.save(folder=tmp_path)
    assert path.name == "track_viewer.html"
    assert path.read_text(encoding="utf-8") == page


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="no track to view"):
        track_viewer.draw([], synthetic=True)
    with pytest.raises(InputError, match="1 headings for 6 tracks"):
        track_viewer.draw(TRACKS, headings=["a"], synthetic=True)
    with pytest.raises(InputError, match=r"pictures of track london-0: expected uint8 \(20, H, W, 3\), got uint8"):
        track_viewer.draw(TRACKS, None, {"london-0": np.zeros((3, 8, 8, 3), np.uint8)}, synthetic=True)
