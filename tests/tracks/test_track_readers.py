"""Tracks of MSLS, GAMa and CityGuessr68k: a coordinate for every frame, and what is left out of a set, and why."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import make_release, make_video, picture, write_csv

from cityguessr.base.errors import InputError
from cityguessr.measures.sphere import great_circle_km
from cityguessr.taxonomy import Taxonomy
from cityguessr.tracks import Track, Tracks, read_cityguessr68k, read_frames, read_gama, read_msls, read_shaped
from cityguessr.tracks.fixes import interpolate
from cityguessr.tracks.gama import BOXES
from cityguessr.tracks.track import Tally, split_of

KNOWN = [2, 8, 20, 30, 31, 32, 36, 37]  # which of london/0 to london/39 are for validation, of a fifth

# ---- MSLS


def make_side(place: Path, lengths: list[int], at: tuple[float, float] = (51.5, -0.1), raw: bool = True) -> None:
    """A side of a city: the k-th frame of a sequence is a grey of 4 k and lies k thousandths north and east of `at`."""
    (place / "images").mkdir(parents=True)
    stem, info, where = f"{place.parent.name}{place.name}", [], []
    for number, length in enumerate(lengths):
        for k in range(length):
            key = f"{(k * 37 + 11) % 101:03d}_{stem}{number}"  # in another order than the frames
            Image.fromarray(picture(4 * k, 24, 16)).save(place / "images" / f"{key}.jpg")
            info.append([key, f"{stem}-{number}", k + 3])
            where.append([key, at[1] + k / 1000, at[0] + k / 1000, "False"])
    info.sort()
    write_csv(
        place / "seq_info.csv", ["", "key", "sequence_key", "frame_number"], [[n, *r] for n, r in enumerate(info)]
    )
    if raw:
        write_csv(place / "raw.csv", ["", "key", "lon", "lat", "pano"], [[n, *r] for n, r in enumerate(where)])


@pytest.fixture
def msls(tmp_path: Path) -> Path:
    """London and Trondheim with coordinates, Bengaluru, of the test part, without; 17 tracks' worth of London."""
    root = tmp_path / "msls"
    make_side(root / "train_val" / "london" / "query", [20, 15, 16])
    make_side(root / "train_val" / "london" / "database", [17] * 8)
    make_side(root / "train_val" / "trondheim" / "query", [18], at=(63.4, 10.4))
    make_side(root / "train_val" / "trondheim" / "database", [18], at=(63.4, 10.4))
    make_side(root / "test" / "bengaluru" / "query", [20, 20], raw=False)
    make_side(root / "test" / "bengaluru" / "database", [20], raw=False)
    return root


def edit_raw(root: Path, key: str, **fields: object) -> None:
    """Change the line of an image of London's queries in `raw.csv`."""
    path = root / "train_val" / "london" / "query" / "raw.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("key")
    for name, value in fields.items():
        table.loc[key, name] = str(value)
    table.reset_index()[["Unnamed: 0", "key", "lon", "lat", "pano"]].to_csv(path, index=False)


def key(frame: int, side: str = "londonquery0") -> str:
    return f"{(frame * 37 + 11) % 101:03d}_{side}"


def by_name(tracks: Tracks, name: str) -> Track:
    return next(track for track in tracks.tracks if track.name == name)


def counted(tracks: Tracks, what: str, reason: str) -> int:
    rows = tracks.counts[(tracks.counts["what"] == what) & tracks.counts["reason"].str.contains(reason, regex=False)]
    return int(rows["count"].sum())


def test_frames_follow_their_numbers_each_with_its_own_coordinate(msls: Path) -> None:
    track = by_name(read_msls(msls), "london_query_londonquery-0")
    assert (track.region, len(track), track.video) == ("london", 20, None)
    assert track.latlon == pytest.approx(np.array([[51.5 + k / 1000, -0.1 + k / 1000] for k in range(20)]))
    assert [path.stem for path in track.pictures] == [key(k) for k in range(20)]
    frames = read_frames(track, 8)
    assert (frames.shape, frames.dtype) == ((20, 8, 8, 3), np.uint8)
    assert frames.mean((1, 2, 3)) == pytest.approx(np.arange(20) * 4.0, abs=1.5)
    assert read_frames(track, 8, [7, 2]).mean((1, 2, 3)) == pytest.approx([28, 8], abs=1.5)
    shaped = read_shaped(track, 8, [7, 2])  # pictures of 24 x 16: nothing is squashed
    assert [picture.shape for picture in shaped] == [(8, 12, 3)] * 2
    assert [picture.mean() for picture in shaped] == pytest.approx([28, 8], abs=1.5)


def test_cities_of_the_test_part_have_no_coordinates_and_are_left_out_with_the_reason(msls: Path) -> None:
    tracks = read_msls(msls)
    assert tracks.regions == ("london", "trondheim")  # Trondheim is none of CityGuessr's 21 cities, and is here
    assert counted(tracks, "sequences", "no raw.csv") == 3
    assert counted(tracks, "sequences", "fewer than 16 frames") == 1
    assert len(tracks) == 2 + 8 + 2
    assert {track.region for track in read_msls(msls, cities=["trondheim"]).tracks} == {"trondheim"}
    with pytest.raises(InputError, match=r"no raw.csv, so no coordinates; leave bengaluru out"):
        read_msls(msls, cities=["london", "bengaluru"])
    with pytest.raises(InputError, match="no city 'atlantis'; it is one of london, trondheim, bengaluru"):
        read_msls(msls, cities=["atlantis"])
    with pytest.raises(InputError, match="cities is the text 'london'"):
        read_msls(msls, cities="london")


def test_frames_that_cannot_be_used_are_left_out_and_counted(msls: Path) -> None:
    edit_raw(msls, key(0), lat="", lon="")
    edit_raw(msls, key(4), pano="True")
    edit_raw(msls, key(7), lat=0, lon=0)
    (msls / "train_val" / "london" / "query" / "images" / f"{key(9)}.jpg").write_bytes(b"")
    tracks = read_msls(msls)
    track = by_name(tracks, "london_query_londonquery-0")
    kept = [k for k in range(20) if k not in (0, 4, 7, 9)]
    assert [path.stem for path in track.pictures] == [key(k) for k in kept]
    assert track.latlon[:, 0] == pytest.approx([51.5 + k / 1000 for k in kept])
    for reason in ("no coordinates", "panorama", "exactly (0, 0)", "missing or empty"):
        assert counted(tracks, "frames", reason) == 1
    assert tracks.left_out().set_index("reason").loc["a panorama", "example"].endswith(f"{key(4)}.jpg")
    (msls / "train_val" / "london" / "query" / "images" / f"{key(10)}.jpg").unlink()
    shorter = read_msls(msls)  # 15 frames are too few
    assert len(shorter) == len(tracks) - 1
    assert counted(shorter, "sequences", "fewer than 16 frames can be used") == 1
    assert shorter.fingerprint != tracks.fingerprint


def test_a_damaged_picture_is_named_or_left_out_where_all_are_looked_into(msls: Path) -> None:
    path = msls / "train_val" / "london" / "query" / "images" / f"{key(9)}.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=f"{key(9)}.jpg: not a whole image"):
        read_frames(by_name(read_msls(msls), "london_query_londonquery-0"), 8)
    looked = read_msls(msls, check=True)
    assert len(by_name(looked, "london_query_londonquery-0")) == 19
    assert counted(looked, "frames", "msls_patch_v1.1.zip") == 1


def test_a_coordinate_off_the_earth_is_refused_with_its_line(msls: Path) -> None:
    edit_raw(msls, key(3), lat=91)
    with pytest.raises(InputError, match=r"query/raw.csv, line 5: the latitude '91' is not a number from -90 to 90"):
        read_msls(msls)


def test_a_sequence_has_its_split_whatever_else_is_there(msls: Path) -> None:
    before = {track.name: track.split for track in read_msls(msls).tracks}
    assert set(before.values()) == {"train", "val"}
    make_side(msls / "train_val" / "cph" / "query", [20])
    make_side(msls / "train_val" / "cph" / "database", [20])
    for name in ("seq_info.csv", "raw.csv"):  # and one sequence less
        path = msls / "train_val" / "london" / "database" / name
        path.write_text("".join(line for line in path.open() if "londondatabase5" not in line))
    after = {track.name: track.split for track in read_msls(msls).tracks}
    assert after.keys() - before.keys() == {"cph_query_cphquery-0", "cph_database_cphdatabase-0"}
    assert before.keys() - after.keys() == {"london_database_londondatabase-5"}
    assert all(after[name] == before[name] for name in before.keys() & after.keys())


def test_the_draw_is_the_same_in_every_process_and_grows_with_its_share() -> None:
    keys = [f"london/{n}" for n in range(3000)]
    drawn = [split_of(key, 0.2) == "val" for key in keys]
    assert np.mean(drawn) == pytest.approx(0.2, abs=0.03)
    assert all(split_of(key, 0.5) == "val" for key, val in zip(keys, drawn, strict=True) if val)
    assert [n for n in range(40) if drawn[n]] == KNOWN  # in this process as in that which wrote the list
    with pytest.raises(InputError, match="between 0 and 1"):
        split_of("x", 1)


def test_parts_of_one_sequence_fall_into_one_split(msls: Path) -> None:
    for side in ("query", "database"):
        path = msls / "train_val" / "trondheim" / side / "seq_info.csv"
        path.write_text(path.read_text().replace(f"trondheim{side}-0", "same"))
    parts = read_msls(msls).split("train", "trondheim") or read_msls(msls).split("val", "trondheim")
    assert {track.name for track in parts} == {"trondheim_query_same", "trondheim_database_same"}


def test_the_fingerprint_goes_with_the_set_and_not_with_its_place(msls: Path, tmp_path: Path) -> None:
    before = read_msls(msls)
    moved = msls.rename(tmp_path / "elsewhere")
    assert read_msls(moved).fingerprint == before.fingerprint
    edit_raw(moved, key(0), lat=51.49)
    assert read_msls(moved).fingerprint != before.fingerprint


# ---- GAMa

RIDES = {"train": ["0000f77c-62c2a288", "0000f77c-cb820c98"], "val": ["b1c66a42-6f7d68ca"]}
START = 1_503_828_163_000  # milliseconds


def make_ride(root: Path, split: str, ride: str, fixes: list[tuple[float, float, float]], seconds: float = 40) -> Path:
    """A ride whose fixes are (second, lat, lon); its video is an empty file where there is none yet."""
    video = root / "videos" / "100k" / split / f"{ride}.mov"
    video.parent.mkdir(parents=True, exist_ok=True)
    video.touch()  # one that is there already stays
    info = root / "info" / "100k" / split / f"{ride}.json"
    info.parent.mkdir(parents=True, exist_ok=True)
    locations = [
        {"timestamp": START + round(1000 * t), "latitude": lat, "longitude": lon, "speed": 9.1, "course": 90.0}
        for t, lat, lon in fixes
    ]
    times = {"startTime": START, "endTime": START + round(1000 * seconds)}
    info.write_text(json.dumps({"rideID": "x", "filename": "wrong.mov", **times, "locations": locations}))
    return info


def drive(lat: float = 37.7, lon: float = -122.4, seconds: int = 41) -> list[tuple[float, float, float]]:
    """A fix at every second, each 0.0001 degrees east of the one before; the order of the file is not that of time."""
    return [(t, lat, lon + t / 10_000) for t in (*range(0, seconds, 2), *range(1, seconds, 2))]


@pytest.fixture
def gama(tmp_path: Path) -> Path:
    root = tmp_path / "bdd"
    (root / "list").mkdir(parents=True)
    (root / "list" / "train.list").write_text("".join(f"{ride} 1202\n" for ride in RIDES["train"]))
    (root / "list" / "val_day_vid.list").write_text("".join(f"{ride}\n" for ride in RIDES["val"]))
    make_ride(root, "train", RIDES["train"][0], drive())
    make_ride(root, "train", RIDES["train"][1], drive(40.7, -74.0))
    make_ride(root, "val", RIDES["val"][0], drive(32.0, 34.8))
    return root


def test_a_ride_has_a_frame_at_every_second_and_the_region_of_its_box(gama: Path) -> None:
    tracks = read_gama(gama)
    assert [(t.name, t.split, t.region) for t in tracks.tracks] == [
        (RIDES["train"][0], "train", "california"),
        (RIDES["train"][1], "train", "new_york"),
        (RIDES["val"][0], "val", "israel_north"),
    ]
    ride = tracks.tracks[0]
    assert ride.seconds is not None
    assert ride.seconds.tolist() == list(range(1, 40))  # of a video of 40 s
    assert ride.latlon == pytest.approx(np.array([[37.7, -122.4 + t / 10_000] for t in range(1, 40)]), abs=1e-9)
    assert ride.video == gama / "videos" / "100k" / "train" / f"{ride.name}.mov"
    assert tracks.counts.empty


def test_positions_lie_between_two_fixes_in_proportion_to_time(gama: Path) -> None:
    make_ride(gama, "val", RIDES["val"][0], [(0, 32.0, 34.8), (4, 32.004, 34.7), (44, 32.004, 34.7)])
    track = read_gama(gama, longest_gap_s=60).split("val")[0]
    assert track.latlon[:4] == pytest.approx(
        np.array([[32.001, 34.775], [32.002, 34.75], [32.003, 34.725], [32.004, 34.7]])
    )


def test_over_the_date_line_the_way_between_two_fixes_is_the_short_one() -> None:
    times, fixes = np.array([0.0, 2.0, 4.0]), np.array([[-17.0, 179.9], [-17.0, -179.9], [-17.0, 179.9]])
    found = interpolate(np.array([0.5, 1.0, 1.5, 3.0]), times, fixes)
    assert found == pytest.approx(np.array([[-17, 179.95], [-17, -180], [-17, -179.95], [-17, -180]]))
    assert np.isnan(interpolate(np.array([-0.1, 4.1]), times, fixes)).all()
    assert np.isnan(interpolate(np.array([0.5, 2.0]), times, fixes, longest_gap=1)).any(axis=1).tolist() == [
        True,
        False,
    ]


def test_frames_outside_the_time_of_the_fixes_are_left_out_and_counted(gama: Path) -> None:
    early = [(t, lat, lon) for t, lat, lon in drive(32.0, 34.8) if 2.5 <= t <= 35]
    late = [(t, lat, lon) for t, lat, lon in early if not 10 < t < 20]  # and a gap of ten seconds
    make_ride(gama, "val", RIDES["val"][0], late)
    tracks = read_gama(gama)
    track = tracks.split("val")[0]
    assert track.seconds is not None
    assert track.seconds.tolist() == [*range(3, 11), *range(20, 36)]
    assert counted(tracks, "frames", "before the first fix or after the last") == 2 + 4
    assert counted(tracks, "frames", "between fixes more than 5 s apart") == 9
    assert counted(read_gama(gama, least=30), "rides", "fewer than 30 frames") == 1


def test_rides_without_gps_without_fixes_and_without_video_are_counted(gama: Path) -> None:
    names = ["ceb71da2-b6f6d3d9", "0000aaaa-00000001", "0000aaaa-00000002", "0000aaaa-00000003", "0000aaaa-00000004"]
    with open(gama / "list" / "train.list", "a") as file:
        file.writelines(f"{name} 1200\n" for name in names)
    make_ride(gama, "train", names[0], drive()).unlink()
    make_ride(gama, "train", names[1], [])
    make_ride(gama, "train", names[2], drive()).write_text("{")
    make_ride(gama, "train", names[3], drive())
    (gama / "videos" / "100k" / "train" / f"{names[3]}.mov").unlink()
    make_ride(gama, "train", names[4], [(0, 0.0, 0.0), (1, 95.0, 10.0), (2, 37.0, -122.0)])
    tracks = read_gama(gama)
    assert len(tracks) == 3
    for reason in ("no GPS file", "no fix in its GPS file", "cannot be read", "no video", "fewer than two fixes"):
        assert counted(tracks, "rides", reason) == 1
    assert counted(tracks, "fixes", "exactly (0, 0)") == counted(tracks, "fixes", "no place on Earth") == 1


def test_a_ride_outside_every_box_is_kept_with_the_nearest_and_counted(gama: Path) -> None:
    make_ride(gama, "train", RIDES["train"][1], drive(38.5, -74.5))  # off New Jersey, half a degree south of the box
    tracks = read_gama(gama)
    assert tracks.tracks[1].region == "new_york"
    assert counted(tracks, "rides", "outside every box") == 1
    assert counted(tracks, "frames", "outside the box of their ride") == 39
    assert tracks.counts["kept"].all()
    assert tracks.left_out().empty
    box = BOXES["new_york"]
    assert box.distance_km(np.array([38.5, -74.5])) == pytest.approx(great_circle_km([38.5, -74.5], [39, -74.5]))
    assert box.distance_km(np.array([40.7, -74.0])) == 0


def test_lists_that_make_no_sense_are_named(gama: Path) -> None:
    path = gama / "list" / "val_day_vid.list"
    path.write_text(f"{RIDES['val'][0]}\n{RIDES['train'][0]}\n")
    with pytest.raises(InputError, match=r"val_day_vid.list, line 2: 0000f77c-62c2a288 is in train.list too"):
        read_gama(gama)
    path.write_text("../b1c66a42\n")
    with pytest.raises(InputError, match=r"val_day_vid.list, line 1: '../b1c66a42' is no name of a ride"):
        read_gama(gama)
    path.write_text("".join(f"{RIDES['val'][0]} {second} 154379_197218\n" for second in range(1, 5)))
    assert len(read_gama(gama).split("val")) == 1  # a ride counts once, however many queries it has
    path.unlink()
    with pytest.raises(InputError, match=r"no such list; take it from the folder list/"):
        read_gama(gama)


def test_a_frame_of_a_video_is_the_one_shown_at_its_second(gama: Path) -> None:
    make_video(gama / "videos" / "100k" / "val" / f"{RIDES['val'][0]}.mov", frames=40)  # 30 a second, grey 5 k + 20
    make_ride(gama, "val", RIDES["val"][0], drive(32.0, 34.8), seconds=1.3)
    track = read_gama(gama, every_s=0.25, least=4).split("val")[0]
    assert track.seconds is not None
    assert track.seconds.tolist() == [0.25, 0.5, 0.75, 1, 1.25]
    frames = read_frames(track, 16)
    assert frames.mean((1, 2, 3)) == pytest.approx([5 * k + 20 for k in (7, 15, 22, 30, 37)], abs=3)
    assert read_frames(track, 16, [3, 0]).mean((1, 2, 3)) == pytest.approx([170, 55], abs=3)
    make_ride(gama, "val", RIDES["val"][0], drive(32.0, 34.8), seconds=2.3)  # longer than the video
    with pytest.raises(InputError, match=r"has 40 frames, 1.33 s, and a frame at 2.25 s"):
        read_frames(read_gama(gama, every_s=0.25, least=4).split("val")[0], 16)
    looked = read_gama(gama, every_s=0.25, least=4, check=True)
    assert len(looked.split("val")[0]) == 5
    assert counted(looked, "frames", "after the end of the video") == 4
    assert counted(looked, "rides", "fewer than 4 frames") == 2  # the empty files of the other rides are no videos


# ---- CityGuessr68k


def test_every_frame_of_a_clip_stands_at_the_centre_of_its_city(tmp_path: Path) -> None:
    root = make_release(tmp_path / "release", frames=20)
    tracks = read_cityguessr68k(root, frames=5)
    track = by_name(tracks, "Lyon_0003")
    whole = Taxonomy.cityguessr68k()
    assert (track.latlon == whole.latlon[whole.city_id("Lyon")].numpy()).all()
    assert (track.region, track.split, track.latlon.shape) == ("Lyon", "val", (5, 2))
    assert [path.name for path in track.pictures] == ["3.jpg", "7.jpg", "11.jpg", "15.jpg", "19.jpg"]
    assert len(by_name(read_cityguessr68k(root, frames=None), "Lyon_0003")) == 20
    assert read_frames(track, 8).shape == (5, 8, 8, 3)


def test_clips_without_frames_and_cities_without_a_centre_are_counted(tmp_path: Path) -> None:
    root = make_release(tmp_path / "release", frames=20)
    for path in (root / "train" / "Lyon" / "Lyon_0000").glob("*.jpg"):
        path.unlink()
    tracks = read_cityguessr68k(root)
    assert tracks.regions == ("Abu_Dhabi", "Lyon")  # Paris is none of CityGuessr68k's cities
    assert counted(tracks, "clips", "no coordinates in the taxonomy") == 4
    assert counted(tracks, "clips", "too few") == 1
    assert len(tracks) + tracks.left_out()["count"].sum() == 12
    with pytest.raises(InputError, match="no sampling 'every'"):
        read_cityguessr68k(root, sampling="every")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no track is left \(.*too few"):
        read_cityguessr68k(root, frames=21)


# ---- what a track is


def test_a_track_has_as_many_coordinates_as_frames_and_all_of_them_on_earth(tmp_path: Path) -> None:
    two = (tmp_path / "1.jpg", tmp_path / "2.jpg")
    track = Track("a", "x", "train", np.zeros((2, 2)), two)
    for wrong in (
        {"latlon": np.zeros((3, 2))},
        {"latlon": np.array([[0.0, 0.0], [np.nan, 0.0]])},
        {"latlon": np.array([[0.0, 0.0], [90.1, 0.0]])},
        {"latlon": np.array([[0.0, 181.0], [0.0, 0.0]])},
        {"pictures": (), "latlon": np.zeros((0, 2))},
        {"video": tmp_path / "a.mov"},
        {"split": "test"},
    ):
        with pytest.raises(InputError):
            Track(**{**track.__dict__, **wrong})
    with pytest.raises(InputError, match="two tracks are called a"):
        Tracks("set", (track, track), Tally().frame())
    tracks = Tracks("set", (track,), Tally().frame())
    assert tracks.split("train", "x") == (track,)
    with pytest.raises(InputError, match="no region 'y'; it is one of x"):
        tracks.split("train", "y")
    with pytest.raises(InputError, match="no split 'test'"):
        tracks.split("test")
