"""TrackWorld: a place shows in its pictures, by districts that change smoothly and by landmarks seen from nearby."""

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.data.mapillary import MapillarySource
from cityguessr.measures.sphere import great_circle_km
from cityguessr.miniworld import TrackConfig, TrackWorld, write_tracks
from cityguessr.miniworld.plan import INDOOR
from cityguessr.miniworld.tracks import districts, street
from cityguessr.miniworld.tracks.field import Field
from cityguessr.miniworld.tracks.plan import TrackPlan

FEW = TrackConfig(cities=("london", "nairobi"), sequences_per_city=6, height=32, width=32)
MANY = TrackConfig(cities=("nairobi",), sequences_per_city=40, height=32, width=32)


@pytest.fixture(scope="module")
def world() -> TrackWorld:
    return TrackWorld(FEW)


@pytest.fixture(scope="module")
def many() -> TrackWorld:
    return TrackWorld(MANY)


@pytest.fixture(scope="module")
def written(world: TrackWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tracks(world, tmp_path_factory.mktemp("tracks"), workers=1)


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


# ---- the world


def test_the_same_seed_gives_the_same_pixels_and_another_seed_does_not(world: TrackWorld) -> None:
    again, other = TrackWorld(FEW), TrackWorld(dataclasses.replace(FEW, seed=1))
    for key in list(world.sequences)[::5]:
        first = world.render(world.sequences[key])
        assert first.dtype == torch.uint8
        assert first.shape == (world.sequences[key].video.frames, 32, 32, 3)
        assert torch.equal(first, again.render(again.sequences[key]))
    assert not set(world.sequences) & set(other.sequences)
    assert world.fingerprint == again.fingerprint != other.fingerprint


def test_a_sequence_does_not_depend_on_the_others(world: TrackWorld, many: TrackWorld) -> None:
    for key in [key for key, sequence in world.sequences.items() if sequence.folder == "nairobi"][:3]:
        assert torch.equal(world.render(world.sequences[key]), many.render(many.sequences[key]))
        assert torch.equal(world.sequences[key].video.gps, many.sequences[key].video.gps)


def test_frames_stand_20_to_60_metres_apart_within_3_km_of_the_centre(many: TrackWorld) -> None:
    centre = many.taxonomy.latlon[many.city("nairobi")]
    for video in many.videos:
        assert 16 <= video.frames <= 24
        gaps = 1000 * great_circle_km(video.gps[:-1], video.gps[1:])
        assert gaps.min() >= 20
        assert gaps.max() <= 60
        assert great_circle_km(video.gps, centre.double().expand(video.frames, 2)).max() <= 3


def test_tracks_turn_and_do_not_turn_back(many: TrackWorld) -> None:
    turned = 0
    for video in many.videos:
        turns = (video.headings.diff() + 180) % 360 - 180
        assert turns.abs().max() < 150
        turned += bool(turns.abs().max() > 45)
        east, north = video.km.diff(dim=0).T
        along = torch.deg2rad(video.headings[:-1])
        straight = video.streets.diff() == 0
        assert torch.allclose(torch.atan2(east, north)[straight].sin(), along[straight].sin(), atol=1e-6)
        corners = [tuple(corner) for corner in video.way.corners.tolist()]
        assert len(set(corners)) == len(corners)
    assert turned > len(many.videos) / 2


def test_hour_weather_and_camera_are_those_of_one_sequence_and_no_street_is_under_a_roof(many: TrackWorld) -> None:
    assert len({video.weather for video in many.videos}) >= 4
    assert len({round(video.hour, 6) for video in many.videos}) == len(many.videos)
    assert not {kind for video in many.videos for kind in video.plots} & set(INDOOR)


# ---- districts


def test_the_correlation_of_a_field_is_a_half_at_1_km() -> None:
    """1 / (1 + d^2) at a distance of d km, measured over 3,000 fields at one pair of places."""
    field = Field(7, [str(k) for k in range(3000)])
    for distance, expected in ((0.0, 1.0), (0.5, 0.8), (1.0, 0.5), (2.0, 0.2), (3.0, 0.1)):
        here, there = field(torch.tensor([[0.3, -1.1], [0.3 + 0.6 * distance, -1.1 + 0.8 * distance]]))
        assert float((here * there).mean()) == pytest.approx(expected, abs=0.07)
    values = field(torch.tensor([[2.0, 1.0]]))
    assert float(values.mean()) == pytest.approx(0, abs=0.06)
    assert float(values.std()) == pytest.approx(1, abs=0.05)


def test_a_trait_of_a_place_is_the_citys_and_the_places_part(many: TrackWorld) -> None:
    city, km = many.districts["nairobi"], torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 4 - 2
    own, styles = city.style.traits, city.styles(km)
    heights = torch.tensor([style.traits["height"] for style in styles])
    assert 0.2 < heights.std() < 1.2
    for trait in ("road_width", "sidewalk", "plot", "dashes"):  # a street has them from end to end
        assert {style.traits[trait] for style in styles} == {own[trait]}
    shares = city.shares("front", km)
    assert torch.allclose(shares.sum(1), torch.ones(500).double())
    assert shares.max(0).values.min() > 0.3  # every kind is at home somewhere


def _describe(pictures: Tensor) -> Tensor:
    """The mean colour of the upper and of the lower half, each relative to its lightness: (n, 6)."""
    mean = pictures.float().view(len(pictures), 2, -1, 3).mean(2).add(4)
    return (mean / mean.mean(2, keepdim=True)).flatten(1)


def test_frames_of_one_place_are_more_alike_than_frames_2_km_apart(many: TrackWorld) -> None:
    """Frames of different sequences, whose hour and weather have nothing to do with each other."""
    looks = torch.cat([_describe(many.render(sequence)) for sequence in many.sequences.values()])
    km = torch.cat([video.km for video in many.videos])
    owner = torch.cat([torch.full((video.frames,), number) for number, video in enumerate(many.videos)])
    away, unlike = torch.cdist(km, km), torch.cdist(looks, looks)
    others = owner[:, None] != owner[None]
    near, far = others & (away < 0.25), others & (away > 1.9) & (away < 2.1)
    assert near.sum() > 500
    assert unlike[near].mean() < 0.85 * unlike[far].mean()


# ---- landmarks


def _toward(video: TrackPlan, place: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """How far a place is from every frame in metres, and the cosine of its bearing off the direction of travel."""
    away = 1000 * (torch.tensor(place) - video.km)
    along = torch.deg2rad(video.headings)
    distance = away.norm(dim=1)
    return distance, (away[:, 0] * along.sin() + away[:, 1] * along.cos()) / distance


def test_a_landmark_shows_within_200_metres_and_not_outside(many: TrackWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    (city,), stretch = many.districts.values(), street.stretch
    shown, clear = 0, 0
    for sequence in list(many.sequences.values())[:20]:
        seen = many.render(sequence).int()
        with monkeypatch.context() as patch:
            patch.setattr(street, "stretch", lambda *given: dataclasses.replace(stretch(*given), sights=()))
            differs = (many.render(sequence).int() - seen).abs().amax((1, 2, 3)) > 0
        toward = [_toward(sequence.video, landmark.place) for landmark in city.landmarks]
        # The camera keeps to its lane, a few metres beside the middle of the road, from which places are measured.
        within = torch.stack([distance < districts.SIGHT + 8 for distance, _ in toward]).any(0)
        ahead = torch.stack([(distance < 160) & (distance > 50) & (cosine > 0.93) for distance, cosine in toward]).any(
            0
        )
        assert not differs[~within].any()
        shown += int(differs[ahead].sum())
        clear += int(ahead.sum())
    assert clear >= 10
    assert shown > 0.7 * clear  # houses hide some


def test_landmarks_stand_beside_streets_apart_from_each_other(many: TrackWorld) -> None:
    (city,) = many.districts.values()
    assert len(city.landmarks) == 5
    for one, other in itertools.combinations(city.landmarks, 2):
        assert math.dist(one.place, other.place) > 0.8
    assert len({city.landmark_style(landmark).pick("landmark", range(10)) for landmark in city.landmarks}) == 5
    passed = [min(float(_toward(video, mark.place)[0].min()) for mark in city.landmarks) for video in many.videos]
    assert sum(distance < 150 for distance in passed) > len(passed) / 3


# ---- on disk


def test_the_reader_of_mapillary_finds_every_frame_with_its_place(world: TrackWorld, written: Path) -> None:
    source = MapillarySource(written)
    assert source.synthetic
    assert source.name == "MiniWorld tracks"
    assert list(source.taxonomy.names["city"]) == ["London", "Nairobi"]
    assert source.counts.kept == len(world.sequences)
    assert source.counts.unplaced == 0
    clips = {clip.video_id.split("_", 1)[1]: clip for clip in source.clips()}
    for key, sequence in world.sequences.items():
        clip = clips[key]
        assert clip.gps is not None
        assert clip.gps == pytest.approx(sequence.video.gps.numpy(), abs=1e-6)
        assert clip.frame_scenes is not None
        assert clip.frame_scenes.tolist() == sequence.video.scenes.tolist()
    picture = np.asarray(Image.open(Path(clip.path) / clip.files[3])).astype(float)
    assert np.abs(picture - world.render(sequence)[3].numpy()).mean() < 12


def test_the_compass_angle_of_every_image_is_the_direction_of_its_street(world: TrackWorld, written: Path) -> None:
    angles = {}
    for path in written.rglob("raw.csv"):
        _, *rows = [line.split(",") for line in path.read_text().splitlines()]
        angles |= {row[1]: float(row[4]) for row in rows}
    for sequence in world.sequences.values():
        keys = [sequence.image_key(frame) for frame in range(sequence.video.frames)]
        assert [angles[key] for key in keys] == pytest.approx(sequence.video.headings.tolist(), abs=0.006)


def test_the_split_is_by_sequence_within_every_city(written: Path) -> None:
    clips = MapillarySource(written).clips()
    for city in ("London", "Nairobi"):
        split = {clip.video_id: clip.split for clip in clips if clip.video_id.startswith(city)}
        assert sorted(split.values()) == ["train"] * 4 + ["val"] * 2  # a fifth, rounded up
    assert len({clip.video_id for clip in clips}) == len(clips)


def test_an_interrupted_tree_goes_on_and_workers_change_no_byte(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = TrackWorld.render, []

    def stops(*arguments: object) -> Tensor:
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(TrackWorld, "render", stops)
    with pytest.raises(KeyboardInterrupt):
        write_tracks(FEW, tmp_path / "tree", workers=1)
    assert not (tmp_path / "tree" / "world.json").exists()
    monkeypatch.undo()
    write_tracks(FEW, tmp_path / "tree", workers=2)
    assert _files(tmp_path / "tree") == _files(written)
    with pytest.raises(InputError, match="this folder holds another MiniWorld"):
        write_tracks(dataclasses.replace(FEW, seed=1), written)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cities": ("miami",)}, "whose images have coordinates: trondheim, london"),
        ({"cities": ("london", "london")}, "give different ones"),
        ({"sequences_per_city": 1}, "a city needs 2"),
        ({"min_frames": 14}, "must lie between 15 and 64"),
        ({"landmarks": 7}, "must lie between 0 and 6"),
        ({"width": 8}, "width=8 must be 16 or more"),
    ],
)
def test_a_world_that_cannot_be_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrackConfig(**change)
