"""MiniWorld: the same seed gives the same bytes, near places look alike, and what is on disk is a real release."""

import csv
import dataclasses
import errno
import itertools
import json
import math
import os
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from cityguessr import scenes
from cityguessr.base.errors import InputError
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.measures import inequality
from cityguessr.miniworld import MiniWorld, MiniWorldConfig, VideoPlan, country_facts, write_cityguessr68k
from cityguessr.miniworld.render import light
from cityguessr.miniworld.tiles import atlas, letters, sprites
from cityguessr.miniworld.tiles.atlas import Tile
from cityguessr.miniworld.write import categories
from cityguessr.miniworld.write import cityguessr68k as writing
from cityguessr.taxonomy import LEVELS, Taxonomy

CITIES = ("London", "Manchester", "Tokyo", "Osaka", "Lyon", "Marseille")
TINY = MiniWorldConfig(clips_per_city=6, clips_min=5, clip_source_frames=6, kept_frames=4, height=32, width=48)


@pytest.fixture(scope="module")
def world() -> MiniWorld:
    return MiniWorld(TINY, Taxonomy.cityguessr68k().subset(CITIES))


@pytest.fixture(scope="module")
def full() -> MiniWorld:
    return MiniWorld(MiniWorldConfig.mini())


@pytest.fixture(scope="module")
def written(world: MiniWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_cityguessr68k(world, root, workers=2)
    return root


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


# ---- the world


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(world: MiniWorld) -> None:
    again = MiniWorld(TINY, world.taxonomy)
    other = MiniWorld(MiniWorldConfig(**{**vars(TINY), "seed": 1}), world.taxonomy)
    first = world.render(world.videos[0], 32, 48)
    assert first.dtype == torch.uint8
    assert first.shape == (world.videos[0].frames, 32, 48, 3)
    assert torch.equal(first, again.render(again.videos[0], 32, 48))
    assert not torch.equal(first[:6], other.render(other.videos[0], 32, 48, frames=range(6)))
    assert world.fingerprint == again.fingerprint != other.fingerprint


def test_a_frame_does_not_depend_on_which_others_are_rendered_with_it(world: MiniWorld) -> None:
    video = world.videos[1]
    together = world.render(video, 32, 48)
    alone = world.render(video, 32, 48, frames=[5])
    assert (together[5].int() - alone[0].int()).abs().max() <= 1


def test_a_city_looks_the_same_in_a_world_of_fewer_cities(world: MiniWorld, full: MiniWorld) -> None:
    here, there = world.taxonomy.city_id("Lyon"), full.taxonomy.city_id("Lyon")
    assert world.effects.style(here).traits == full.effects.style(there).traits


def test_the_world_knows_the_frame_of_the_video_that_a_clip_shows(world: MiniWorld) -> None:
    video = world.videos[0]
    clip = video.clips[1]
    assert world.kept_frames(clip) == [6, 7, 9, 10]  # 4 of 6, evenly spread
    for at, frame in ((0.0, 6), (0.5, 9), (1.0, 10)):
        assert world.frame_of(clip.clip_id, at) == (video, frame)
    assert world.frame_of("London_9999", 0.5) is None


def test_the_camera_moves_along_the_street_at_its_height(world: MiniWorld) -> None:
    for video in world.videos:
        camera = world.camera(video, 3)
        assert camera.s == pytest.approx(float(video.positions[3]), rel=1e-6)
        assert camera.y == pytest.approx(video.eye, abs=0.04)
        assert camera.x == pytest.approx(video.lateral, abs=0.4)


def test_near_places_look_more_alike_than_far_ones(full: MiniWorld) -> None:
    looks, ancestors = full.effects.vectors, full.taxonomy.ancestors
    distance = torch.cdist(looks, looks)
    apart = ~torch.eye(len(looks), dtype=torch.bool)
    mean, unlike = {}, apart
    for level in LEVELS[1:]:
        same = ancestors[level][:, None] == ancestors[level][None]
        mean[level] = distance[same & unlike].mean()
        unlike = unlike & ~same
    assert mean["state"] < mean["country"] < mean["continent"] < distance[unlike].mean()


def test_countries_drive_on_their_own_side(full: MiniWorld) -> None:
    for city, left in {"London": True, "Tokyo": True, "Sydney": True, "Berlin": False, "Chicago": False}.items():
        if city not in full.taxonomy.folders:
            continue
        style = full.effects.style(full.taxonomy.city_id(city))
        assert style.drives_left is left
        for video in full.videos:
            if video.city == style.city and not video.walk:
                assert (video.lateral < 0) is left  # the camera's car keeps to its side
    assert set(full.taxonomy.iso2) >= country_facts.DRIVES_LEFT
    assert country_facts.script("JP") == "han"
    assert country_facts.script("FR") == "latin"


def test_the_world_has_the_size_and_the_inequality_of_its_configuration(full: MiniWorld) -> None:
    counts = torch.tensor(full.clip_counts(), dtype=torch.float64)
    assert 3300 <= counts.sum() <= 3600
    assert counts.min() >= 10
    assert inequality.gini(counts) == pytest.approx(0.36, abs=0.02)  # as in the real data (supplement, Fig. S4)


def held_out_of(world: MiniWorld) -> dict[str, Counter[int]]:
    """City -> its clips in training, its held-out clips of videos that training has, and those of videos held out."""
    kinds: dict[str, Counter[int]] = {"train": Counter(), "seen": Counter(), "unseen": Counter()}
    for video in world.videos:
        trained = any(clip.split == "train" for clip in video.clips)
        for clip in video.clips:
            kinds["train" if clip.split == "train" else "seen" if trained else "unseen"][video.city] += 1
    return kinds


def test_a_fifth_is_held_out_of_videos_in_training_and_a_fifth_as_whole_videos(full: MiniWorld) -> None:
    kinds = held_out_of(full)
    total = sum(map(Counter.total, kinds.values()))
    for kind in ("seen", "unseen"):
        assert kinds[kind].total() / total == pytest.approx(0.20, abs=0.005)
        assert kinds[kind].total() >= 650  # enough to tell differences of two or three points
    for clips in kinds.values():
        assert min(clips[city] for city in range(full.taxonomy.size("city"))) >= 2


@pytest.mark.parametrize(("seen", "unseen"), [(0.2, 0.0), (0.0, 0.3), (0.1, 0.1)])
def test_a_world_may_hold_out_clips_or_videos_alone(seen: float, unseen: float) -> None:
    kinds = held_out_of(MiniWorld(MiniWorldConfig(seen=seen, unseen=unseen)))
    total = sum(map(Counter.total, kinds.values()))
    assert kinds["seen"].total() / total == pytest.approx(seen, abs=0.03)
    assert kinds["unseen"].total() / total == pytest.approx(unseen, abs=0.03)


def test_every_class_is_in_both_splits_and_every_city_has_several_videos(full: MiniWorld) -> None:
    seen: dict[str, set[int]] = {"train": set(), "val": set()}
    for video in full.videos:
        for clip in video.clips:
            seen[clip.split].add(video.city)
    for split in seen.values():
        for level in LEVELS:
            assert len({int(full.taxonomy.ancestors[level][c]) for c in split}) == full.taxonomy.size(level)
    videos = torch.bincount(torch.tensor([video.city for video in full.videos]))
    assert videos.min() >= 2
    assert max(len(video.clips) for video in full.videos) > 1


def test_scenes_follow_one_another_within_a_clip_and_all_sixteen_occur(full: MiniWorld) -> None:
    changing, kinds = 0, set()
    for video in full.videos:
        kinds |= set(video.scenes.tolist())
        changing += len(video.scenes[: full.config.clip_source_frames].unique()) > 1
        for here, after in itertools.pairwise(video.plots):
            assert here == after or here >= 6 or after >= 6  # two covered stretches never touch
    assert kinds == set(range(16))
    assert changing > 0.4 * len(full.videos)


def test_categories_are_a_finer_scene_that_the_hierarchy_takes_back_to_the_kind(full: MiniWorld) -> None:
    hierarchy, used = scenes.own_hierarchy(), set()
    for video in full.videos:
        fine = categories.label_frames(video, full.effects.style(video.city))
        assert fine.shape == (video.frames,)
        belongs = hierarchy[fine.numpy()]
        assert (belongs.sum(axis=1) == 1).all()  # to its kind alone
        assert belongs.argmax(axis=1).tolist() == video.scenes.tolist()
        used |= set(fine.tolist())
    assert 100 < len(used) < 150


def test_what_a_category_follows_stands_in_the_picture(full: MiniWorld) -> None:
    helsinki = full.taxonomy.city_id("Helsinki")
    video = next(video for video in full.videos if video.city == helsinki)
    style, ground, names = full.effects.style(helsinki), {}, scenes.categories()
    for key in range(20):  # of one street in the hills, in many winters
        plan = dataclasses.replace(video, key=key, plots=(7,) * len(video.plots), hour=12.0, weather="overcast")
        (category,) = categories.label_frames(plan, style).unique().tolist()
        sides = full.render(plan, 48, 64, frames=[0])[0, 30:, [0, 1, 2, -3, -2, -1]].float().mean()
        ground.setdefault(names[category], []).append(float(sides))
    snow = ground.pop("/m/mountain" if style.traits["relief"] > 0 else "/t/tundra")
    (bare,) = ground.values()
    assert len(snow) > 5
    assert min(snow) > max(bare)


def test_gps_stays_in_the_city_and_moves_at_the_speed_of_the_camera(full: MiniWorld) -> None:
    long = MiniWorld(
        MiniWorldConfig(clips_per_city=40, clips_min=40, clips_per_video=40, clip_source_frames=850, fps=30),
        full.taxonomy.subset(["London", "Bogota"]),
    )
    for world in (full, long):
        for video in world.videos:
            centre = world.taxonomy.latlon[video.city]
            km = torch.stack([_km(point, centre) for point in video.gps[:: max(1, video.frames // 50)]])
            assert km.max() < 10
            way = _km(video.gps[0], video.gps[-1]) * 1000
            seconds = (video.frames - 1) / video.fps
            assert way / seconds == pytest.approx(video.speed, rel=0.36)
            assert (video.positions.diff() > 0).all()
            assert way == pytest.approx(float(video.positions[-1]), rel=0.01)


def _km(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    north = (a[0] - b[0]) * 111.32
    east = (a[1] - b[1]) * 111.32 * math.cos(math.radians(float(a[0])))
    return torch.hypot(north, east)


# ---- the pictures


def test_the_camera_moves_and_neighbouring_frames_are_related(world: MiniWorld) -> None:
    for video in world.videos[:4]:
        frames = world.render(video, 32, 48).float()
        steps = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))
        assert steps.min() > 0.2  # never a still
        assert steps.median() < (frames[0] - frames[-1]).abs().mean() + 40


def test_pictures_show_something_at_any_size(world: MiniWorld) -> None:
    video = world.videos[2]
    small, large = (world.render(video, *size, frames=[0], samples=2)[0] for size in ((36, 64), (180, 320)))
    shrunk = torch.nn.functional.adaptive_avg_pool2d(large.permute(2, 0, 1).float(), (36, 64)).permute(1, 2, 0)
    assert (small.float() - shrunk).abs().mean() < 12  # the same place, whatever the resolution
    assert large.float().std() > 15


def test_each_scene_kind_changes_the_picture(world: MiniWorld) -> None:
    base = world.videos[0]
    pictures = []
    for kind in range(16):
        video = dataclasses.replace(base, plots=(kind,) * len(base.plots), hour=12.0, weather="clear")
        pictures.append(world.render(video, 32, 48, frames=[3])[0].float())
    for i in range(16):
        for j in range(i):
            assert (pictures[i] - pictures[j]).abs().mean() > 1.5, (i, j)


def test_night_is_darker_than_noon_and_fog_hides_the_distance(world: MiniWorld) -> None:
    plots = (15,) * 80

    def view(**change: object) -> torch.Tensor:
        video = dataclasses.replace(world.videos[0], plots=plots, exposure=1.0, **change)
        return world.render(video, 48, 64, frames=[2])[0].float()

    noon, night = view(hour=12.0, weather="clear"), view(hour=23.0, weather="clear")
    fog = view(hour=12.0, weather="fog")
    assert noon.mean() > 1.4 * night.mean()
    assert fog[16:28, 24:40].std() < noon[16:28, 24:40].std()


def test_the_sun_stands_in_the_south_at_noon_in_the_north(full: MiniWorld) -> None:
    video = dataclasses.replace(full.videos[0], hour=12.0, heading=180.0, start=(50.0, 0.0))
    sun = light.make(video, full.effects.style(video.city)).sun
    assert sun[2] > 0.3  # ahead of a street that runs south
    assert sun[1] > 0.3
    assert abs(sun[0]) < 1e-6
    assert math.hypot(*sun) == pytest.approx(1, abs=1e-6)


def test_the_contact_sheet_shows_other_cities_and_is_drawn_by_the_seed(full: MiniWorld) -> None:
    cities, pictures = full.contact_sheet(height=36, width=64, count=4)
    assert pictures.shape == (4, 36, 64, 3)
    assert len({int(full.taxonomy.ancestors["continent"][c]) for c in cities}) == 4
    again, _ = full.contact_sheet(height=36, width=64, count=4)
    assert cities == again
    assert cities != full.contact_sheet(height=36, width=64, count=4, seed=1)[0]


def test_tiles_are_drawn_at_any_size_and_differ_between_cities(full: MiniWorld) -> None:
    pages = [atlas.bake(full.effects.style(city), 16) for city in (0, 1)]
    assert pages[0].image.shape == (1, 5, 2 * atlas.GRID * 16, 2 * atlas.GRID * 16)
    assert torch.isfinite(pages[0].image).all()
    assert pages[0].image.min() >= 0
    assert (pages[0].image - pages[1].image).abs().mean() > 0.01


def test_cars_and_passers_by_are_the_same_in_every_city(full: MiniWorld) -> None:
    painted = [sprites.paint_person(full.effects.style(city), 16, 3) for city in (0, 60)]
    assert torch.equal(*painted)
    cars = [sprites.paint_car(full.effects.style(city), 32, ("front", 0))[:, 18:] for city in (0, 60)]
    assert torch.equal(*cars)  # all but the number plate


def test_trees_stand_clear_of_the_rim_of_their_tile_and_no_leaf_floats_apart(full: MiniWorld) -> None:
    for city in range(0, 160, 8):
        for variant in range(4):
            cover = sprites.paint_tree(full.effects.style(city), 64, variant)[3]
            rim = torch.cat([cover[-1], cover[1:, 0], cover[1:, -1]])
            assert rim.max() < 0.5
            solid = cover > 0.5
            joined = torch.zeros_like(solid)
            joined[1, solid[1].nonzero()[0]] = True  # the foot of the trunk
            for _ in range(200):
                grown = F.max_pool2d(joined[None].float(), 3, 1, 1)[0].bool() & solid
                if torch.equal(grown, joined):
                    break
                joined = grown
            assert (solid & ~joined).sum() <= 0.03 * solid.sum()


def test_the_flank_of_a_town_house_is_its_own_and_that_of_a_fence_the_fence() -> None:
    fronts = torch.tensor([Tile.FRONT, Tile.FRONT + 3, Tile.HOUSE + 1, Tile.TOWER, Tile.HEDGE, Tile.HALL + 2])
    sides = [Tile.SIDE, Tile.SIDE + 3, Tile.SIDE + 7, Tile.TOWER, Tile.HEDGE, Tile.SIDE + 9]
    assert atlas.flank_of(fronts).tolist() == sides


def test_letters_of_every_script_stay_in_their_square() -> None:
    for script in country_facts.SCRIPTS:
        words = [letters.strokes(seed, script) for seed in range(40)]
        assert all(-0.01 <= x <= 1.01 for strokes in words for stroke in strokes for x in stroke)
        assert len({tuple(strokes) for strokes in words}) > 2


# ---- on disk


def test_the_release_is_compiled_from_real_h264_files(world: MiniWorld, written: Path) -> None:
    video = world.videos[0]
    with av.open(str(writing.video_path(world, video, written))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == video.frames
    clip = video.clips[1]
    folder = written / "release" / clip.split / world.taxonomy.folders[video.city] / clip.clip_id
    assert sorted(p.name for p in folder.iterdir()) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    kept = np.asarray(Image.open(folder / "2.jpg")).astype(float)
    decoded = frames[world.kept_frames(clip)[1]].astype(float)
    rendered = world.render(video, 32, 48, frames=[world.kept_frames(clip)[1]])[0].numpy()
    assert np.abs(kept - decoded).mean() < 6
    assert np.abs(kept - rendered).mean() < 14


def test_label_lines_have_21_fields_and_obey_the_tree(world: MiniWorld, written: Path) -> None:
    release, ancestors = written / "release", world.taxonomy.ancestors
    seen = 0
    for split in ("train", "val"):
        for line in (release / f"{split}_labels.txt").read_text().splitlines():
            fields = line.split(",")
            assert len(fields) == 21
            city = int(fields[1])
            assert [int(f) for f in fields[1:5]] == [int(ancestors[level][city]) for level in LEVELS]
            assert sum(map(float, fields[5:])) == pytest.approx(1, abs=1e-4)
            folder = release / split / world.taxonomy.folders[city] / fields[0]
            assert len(list(folder.glob("*.jpg"))) == TINY.kept_frames
            seen += 1
    assert seen == sum(world.clip_counts())
    assert Taxonomy.from_labels_list(release / "labels_list.csv").sizes == world.taxonomy.sizes


def test_the_extra_tables_say_what_only_a_synthetic_world_knows(world: MiniWorld, written: Path) -> None:
    release = written / "release"
    tables = {
        name: list(csv.DictReader((release / f"{name}.csv").read_text().splitlines()))
        for name in ("clips", "frame_scenes", "gps")
    }
    clips = {row["clip"]: row for row in tables["clips"]}
    assert len(tables["frame_scenes"]) == len(tables["gps"]) == len(clips) * TINY.kept_frames
    video = world.videos[3]
    clip = video.clips[0]
    assert clips[clip.clip_id]["video"] == video.video_id
    rows = [row for row in tables["frame_scenes"] if row["clip"] == clip.clip_id]
    assert [int(row["frame"]) for row in rows] == [1, 2, 3, 4]
    numbers = world.kept_frames(clip)
    assert [int(row["scene"]) for row in rows] == video.scenes[numbers].tolist()
    fine = categories.label_frames(video, world.effects.style(video.city))
    assert [int(row["category"]) for row in rows] == fine[numbers].tolist()
    fine = ReleaseSource(release, scene_classes=365)
    (listed,) = (ref for ref in fine.clips() if ref.clip_id == clip.clip_id)
    assert listed.frame_scenes.tolist() == [-1, *(int(row["category"]) for row in rows)]
    about = json.loads((release / "world.json").read_text())
    assert about["synthetic"] is True
    assert about["config"] == vars(TINY)


def test_a_world_that_is_complete_is_left_as_it_is(
    world: MiniWorld, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "encode", lambda *_: pytest.fail("rendered again"))
    before = _files(written)
    write_cityguessr68k(world, written)
    assert _files(written) == before


def test_an_interrupted_world_goes_on_and_ends_with_the_same_bytes(
    world: MiniWorld, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []
    real = writing.encode

    def stops(chunks: object, path: Path, fps: int) -> None:
        calls.append(path)
        if len(calls) == 4:
            path.write_bytes(b"half a video")
            raise KeyboardInterrupt
        real(chunks, path, fps)

    monkeypatch.setattr(writing, "encode", stops)
    with pytest.raises(KeyboardInterrupt):
        write_cityguessr68k(world, tmp_path, workers=1)
    assert not (tmp_path / "release" / "world.json").exists()
    assert not list(tmp_path.rglob("*.part"))  # nothing half-written under any name
    for path in tmp_path.rglob("*.mp4"):
        with av.open(str(path)) as container:
            assert sum(1 for _ in container.decode(video=0)) % TINY.clip_source_frames == 0
    # What a power cut would leave behind: a torn clip of a video that was never marked as done.
    video = world.videos[0]
    clip = video.clips[0]
    torn = tmp_path / "release" / clip.split / world.taxonomy.folders[video.city] / clip.clip_id / "1.jpg"
    torn.write_bytes(b"")
    (tmp_path / ".progress" / video.video_id).unlink()
    monkeypatch.setattr(writing, "encode", real)
    write_cityguessr68k(world, tmp_path, workers=1)
    assert _files(tmp_path) == _files(written)


def test_a_folder_with_another_world_is_refused(world: MiniWorld, written: Path, tmp_path: Path) -> None:
    other = MiniWorld(MiniWorldConfig(**{**vars(TINY), "seed": 5}), world.taxonomy)
    with pytest.raises(InputError, match="another MiniWorld"):
        write_cityguessr68k(other, written)
    (tmp_path / ".progress").mkdir()
    (tmp_path / ".progress" / "fingerprint").write_text("0123456789ab")
    with pytest.raises(InputError, match="another configuration"):
        write_cityguessr68k(other, tmp_path)


def test_a_full_disk_is_one_clear_message_with_what_is_needed(
    world: MiniWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = writing.encode, []

    def full(chunks: object, path: Path, fps: int) -> None:
        calls.append(path)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(chunks, path, fps)

    monkeypatch.setattr(writing, "encode", full)
    with pytest.raises(InputError, match=r"disk is full after 2 of \d+ videos .* MB needed in all.*free some space"):
        write_cityguessr68k(world, tmp_path, workers=1)
    monkeypatch.setattr(writing, "encode", real)
    write_cityguessr68k(world, tmp_path, workers=1)  # and with space again it goes on
    assert (tmp_path / "release" / "world.json").is_file()


def test_no_permission_to_write_names_the_folder(
    world: MiniWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(InputError, match="no permission to write"):
        write_cityguessr68k(world, tmp_path / "locked")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 63}, "height=63"),
        ({"kept_frames": 20}, "cannot keep more frames"),
        ({"clips_per_city": 3}, "clips_per_city"),
        ({"fps": 0}, "fps=0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MiniWorldConfig(**change)


def test_the_paper_scale_has_the_papers_numbers() -> None:
    config = MiniWorldConfig.paper_scale()
    assert (config.height, config.width, config.kept_frames) == (720, 1280, 100)
    assert 800 <= config.clip_source_frames <= 900
    world = MiniWorld(config)
    assert sum(len(video.clips) for video in world.videos) == pytest.approx(68269, rel=0.01)
    minutes = torch.tensor([video.frames / video.fps / 60 for video in world.videos])
    assert 10 <= minutes.median() <= 20  # "long videos of 10-20 minutes" (paper, section 3)
    assert isinstance(world.videos[0], VideoPlan)
