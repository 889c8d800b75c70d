"""Cities of VidTAG's coordinates, and how far it and CityGuessr are from where the same clips were filmed."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_world import BRISTOL, LIMA, LONDON, LYON, TOKYO, TREE, made

from cityguessr.base.errors import InputError
from cityguessr.evaluation import km_errors, track_cities
from cityguessr.evaluation.km_errors import KmErrors
from cityguessr.measures.sphere import great_circle_km
from cityguessr.measures.tracks import nearest_centre
from cityguessr.taxonomy import LEVELS
from cityguessr.tracks import Track
from cityguessr.training.track_runs import TrackPredictions
from cityguessr.vidtag.noise import noised

CENTRES = TREE.latlon.numpy()


def answered(truths: list[int], frames: list[list[int]], names: list[str] | None = None) -> TrackPredictions:
    """Tracks whose frames are answered with the centres of cities, without a refiner."""
    lengths = np.array([len(each) for each in frames])
    return TrackPredictions(
        names=tuple(names or [f"clip{i}" for i in range(len(truths))]),
        regions=tuple(TREE.folders[city] for city in truths),
        lengths=lengths,
        true=np.repeat(CENTRES[truths], lengths, axis=0),
        retrieved=CENTRES[np.concatenate(frames)],
        refined=None,
        best=np.repeat(CENTRES[truths], lengths, axis=0),
        centres=np.repeat(CENTRES[truths], lengths, axis=0),
        mean=CENTRES[truths[0]],
    )


def run(predictions: Any, seed: int = 0) -> Any:
    return SimpleNamespace(folder=f"seed{seed}", provenance={"seed": seed}, predictions=predictions)


def test_a_clip_whose_frames_vote_three_to_two_for_the_right_city_is_right() -> None:
    tracks = answered([LONDON], [[TOKYO, LONDON, TOKYO, LONDON, LONDON]])
    assert track_cities.cities(tracks, TREE).tolist() == [LONDON]
    split = answered([LONDON, LONDON], [[TOKYO, LONDON, LONDON, TOKYO], [LONDON, TOKYO, TOKYO, LONDON]])
    assert track_cities.cities(split, TREE).tolist() == [TOKYO, LONDON]  # of equals, the one named first


def test_the_representative_frame_may_name_another_city_than_the_vote() -> None:
    """Two of five frames say Lima; Bristol, London and Lyon have one each, and the middle of all is nearest to them."""
    tracks = answered([LONDON], [[LIMA, LIMA, BRISTOL, LONDON, LYON]])
    assert track_cities.cities(tracks, TREE).tolist() == [LIMA]
    assert track_cities.cities(tracks, TREE, "representative").tolist() != [LIMA]
    with pytest.raises(InputError, match="no vote of a video's frames 'mean'"):
        track_cities.cities(tracks, TREE, "mean")  # type: ignore[arg-type]


def test_a_wrong_city_may_lie_in_the_right_country() -> None:
    tracks, clips = answered([LONDON], [[BRISTOL] * 4]), made([LONDON], [LONDON])
    assert TREE.chain(torch.tensor([LONDON, BRISTOL]))["country"].unique().numel() == 1
    right = track_cities.right([run(tracks)], clips)
    assert {level: hits.tolist() for level, hits in right.items()} == {
        "city": [[False]], "state": [[False]], "country": [[True]], "continent": [[True]],
    }  # fmt: skip


def test_between_two_centres_that_are_equally_near_the_first_is_named() -> None:
    centres = np.array([[0.0, 20.0], [0.0, 10.0], [0.0, -10.0], [np.nan, np.nan]])
    assert nearest_centre([[0, 0], [0, 15], [0, -90]], centres).tolist() == [1, 0, 2]


def test_the_refiner_s_noise_seldom_reaches_another_city() -> None:
    """Of the tree's 166 cities few are near enough to another, and none as near as Kawasaki and Tokyo."""
    true = torch.tensor(CENTRES)[:, None].repeat(40, 4, 1)
    generator = torch.Generator().manual_seed(0)
    named = nearest_centre(noised(true, generator).flatten(0, 1), CENTRES).reshape(40, 166, 4)
    moved = named != np.arange(166)[:, None]
    assert 0.001 < moved.mean() < 0.01
    often = [TREE.folders[city] for city in np.argsort(moved.mean(axis=(0, 2)))[-2:]]
    assert sorted(often) == ["Kawasaki", "Tokyo"]


def test_clips_go_by_their_ids_whatever_the_order() -> None:
    clips = made([LONDON, LYON, TOKYO], [LONDON, LYON, LIMA], videos=["a", "a", "b"])
    tracks = answered([TOKYO, LONDON, LYON], [[TOKYO], [LONDON], [LIMA]], ["clip2", "clip0", "clip1"])
    assert track_cities.in_order_of(clips, tracks) == [1, 2, 0]
    assert track_cities.right([run(tracks)], clips)["city"].tolist() == [[True, False, True]]
    table = track_cities.accuracies([run(tracks)], clips).set_index("level")
    assert table["top1"].tolist() == pytest.approx([200 / 3] * 4)
    assert table.loc["city", ["clips", "videos"]].tolist() == [3, 2]


def test_other_clips_are_refused_by_name() -> None:
    clips = made([LONDON, LYON], [LONDON, LYON])
    with pytest.raises(InputError, match="2 clips of CityGuessr and 2 tracks are not the same, the first clip1"):
        track_cities.shared(clips, [answered([LONDON, LYON], [[LONDON], [LYON]], ["clip0", "clip7"])])
    with pytest.raises(InputError, match="clip1 was filmed in Lyon for one run and in Tokyo"):
        track_cities.in_order_of(clips, answered([LONDON, TOKYO], [[LONDON], [LYON]]))


def test_seen_and_unseen_videos_are_counted_apart() -> None:
    clips = dataclasses.replace(made([LONDON, LYON], [LONDON, LYON]), seen=torch.tensor([True, False]))
    tracks = answered([LONDON, LYON], [[LONDON], [TOKYO]])
    values = track_cities.measure(run(tracks), clips)
    assert [values["top1", level] for level in LEVELS] == [100] * 4
    assert [values["top1_unseen", level] for level in LEVELS] == [0] * 4
    assert set(track_cities.accuracies([run(tracks)], clips)["clips_of"]) == {"all", "seen", "unseen"}


def test_an_error_in_km_is_from_where_the_clip_was_filmed_not_from_its_city_s_centre() -> None:
    """Both name London, 3.3 km from the camera; VidTAG's two frames in Bristol and one in Tokyo are 170 km away."""
    places = torch.tensor(CENTRES[[LONDON, LONDON, LONDON]] + [[0.03, 0], [0, 0], [0, 0]])
    places[2] = torch.nan  # not known: the centre of its true city
    clips = dataclasses.replace(made([LONDON] * 3, [LONDON, LONDON, LYON], videos=["a", "a", "b"]), places=places)
    tracks = answered([LONDON] * 3, [[LONDON] * 3, [BRISTOL, TOKYO, BRISTOL], [LONDON] * 3])
    errors = km_errors.of_clips([run(clips)], {"VidTAG": [run(tracks)]})
    assert errors.km["CityGuessr"][0, 0] == pytest.approx(0.03 * 111.195, rel=1e-3)
    assert errors.km["CityGuessr"][0, 2] == pytest.approx(great_circle_km(CENTRES[LYON], CENTRES[LONDON]))
    assert errors.km["VidTAG"][0, 1] == pytest.approx(great_circle_km(CENTRES[BRISTOL], CENTRES[LONDON]))
    table = errors.table().set_index(["system", "metric"])
    assert table.loc[("CityGuessr", "within_1km"), "value"] == pytest.approx(100 / 3)
    assert table.loc[("CityGuessr", "within_25km"), "value"] == pytest.approx(200 / 3)
    assert table.loc[("VidTAG", "within_25km"), ["value", "difference"]].tolist() == pytest.approx([200 / 3, 0])
    assert table.loc[("VidTAG", "within_200km"), ["value", "difference"]].tolist() == pytest.approx([100, 100 / 3])
    line = table.loc[("VidTAG", "median_km")]
    assert line["difference"] == pytest.approx(0, abs=1e-9)
    assert line["difference_low"] <= 0 <= line["difference_high"]
    assert table[["clips", "videos"]].drop_duplicates().to_numpy().tolist() == [[3, 2]]


def test_only_seeds_that_both_have_are_compared() -> None:
    clips, tracks = made([LONDON], [LONDON]), answered([LONDON], [[TOKYO]])
    some = km_errors.of_clips([run(clips, k) for k in (0, 1, 2)], {"VidTAG": [run(tracks, k) for k in (2, 0)]})
    assert {errors.shape for errors in some.km.values()} == {(2, 1)}
    with pytest.raises(InputError, match="CityGuessr, VidTAG: no seed that all have"):
        km_errors.of_clips([run(clips, 0)], {"VidTAG": [run(tracks, 1)]})


def test_a_city_s_name_is_worth_the_mean_of_its_training_coordinates_on_every_frame() -> None:
    """Two frames of Tokyo, 11 km apart, trained around a point between them: 5.6 km each, where VidTAG finds one."""
    places = np.array([[35.6, 139.7], [35.7, 139.7]])
    training = [Track("t", "Tokyo", "train", places, tuple("ab"))]
    tracks = dataclasses.replace(answered([TOKYO], [[TOKYO] * 2]), true=places, retrieved=places[[0, 0]])
    errors = km_errors.of_frames([run(made([TOKYO], [TOKYO]))], {"VidTAG": [run(tracks)]}, training)
    assert errors.km["CityGuessr"][0] == pytest.approx([5.56, 5.56], abs=0.01)
    assert errors.km["VidTAG"][0] == pytest.approx([0, 11.12], abs=0.01)
    assert errors.videos.tolist() == ["clip0", "clip0"]
    other = made([TOKYO, LIMA], [TOKYO, LIMA])
    with pytest.raises(InputError, match="validated on other tracks"):
        km_errors.of_frames([run(other)], {"VidTAG": [run(tracks)]}, training)


def test_curves_rise_to_all_clips_and_pass_through_the_shares_of_the_table() -> None:
    km = {"a": np.array([[0.5, 30.0, 9000.0, 100.0], [0.5, 30.0, 9000.0, 300.0]])}
    errors = KmErrors(km, np.arange(4), np.array([True, True, False, False]))
    curves = errors.curves()
    assert set(curves["clips_of"]) == {"all", "seen", "unseen"}
    whole = curves[curves["clips_of"] == "all"]
    assert (np.diff(whole["share"]) >= 0).all()
    assert whole["share"].iloc[-1] == 100
    near = whole[whole["km"] <= 200].iloc[-1]
    assert near[["share", "low", "high"]].tolist() == [62.5, 50, 75]
    assert errors.table().set_index(["clips_of", "metric"]).loc[("all", "within_200km"), "value"] == 62.5


def test_errors_that_do_not_belong_together_are_refused() -> None:
    one = np.zeros((1, 2))
    with pytest.raises(InputError, match=r"errors of a, b are \(seeds, N\) each"):
        KmErrors({"a": one, "b": np.zeros((2, 2))}, np.arange(2), np.zeros(2, bool))
    with pytest.raises(InputError, match="there are 3 source videos"):
        KmErrors({"a": one}, np.arange(3), np.zeros(3, bool))


def test_a_clip_that_one_side_left_out_for_a_damaged_picture_is_left_out_of_both() -> None:
    truths = [LONDON] * 30 + [TOKYO] * 10
    clips = made(truths, truths)
    tracks = answered(truths[:-1], [[LONDON]] * 39)  # the last clip has no track; of the others, 30 are in London
    both = track_cities.shared(clips, [tracks])
    assert both.clip_ids == clips.clip_ids[:-1]
    assert track_cities.measure(run(tracks), clips)["top1", "city"] == pytest.approx(100 * 30 / 39)
    few = answered(truths[:30], [[LONDON]] * 30)
    with pytest.raises(InputError, match="40 clips of CityGuessr and 30 tracks are not the same"):
        track_cities.measure(run(few), clips)
