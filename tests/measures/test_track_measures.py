"""VidTAG's measures of tracks, against values worked out by hand (paper, section 5 and supplement, E.1, as quoted)."""

import csv
from pathlib import Path

import numpy as np
import pytest

import cityguessr.paper
from cityguessr.base.errors import InputError
from cityguessr.measures import tracks
from cityguessr.measures.sphere import great_circle_km

DEGREE_KM = 111.19508  # of latitude, on the sphere of 6371.0088 km
EQUATOR = np.array([[0, 0], [0, 0.01], [0, 0.02]])
NORTH = EQUATOR + np.array([0.01, 0])


def walk(seed: int, frames: int = 30, start: tuple[float, float] = (51.5, -0.1)) -> np.ndarray:
    """A random walk of about 20 m a step."""
    steps = np.random.default_rng(seed).normal(0, 2e-4, (frames, 2))
    return np.array(start) + steps.cumsum(axis=0)


# ---- distances


def test_a_degree_of_the_sphere_and_of_wgs84_differ_by_half_a_percent() -> None:
    degree = float(great_circle_km([0, 0], [1, 0]))
    assert degree == pytest.approx(DEGREE_KM, abs=1e-4)
    assert degree / 110.574 - 1 == pytest.approx(0.0056, abs=1e-4)


def test_exactly_one_kilometre_counts_as_within_one() -> None:
    assert tracks.within([1.0, 1.0000001], 1.0) == 50
    with pytest.raises(InputError, match="at least one frame"):
        tracks.within([], 1.0)


# ---- the discrete Frechet distance


def test_frechet_distance_of_parallel_and_of_reversed_tracks() -> None:
    assert tracks.frechet_km(EQUATOR, NORTH) == pytest.approx(1.11195, abs=1e-5)
    assert tracks.frechet_km(EQUATOR, EQUATOR[::-1]) == pytest.approx(2.22390, abs=1e-5)
    assert tracks.frechet_km(EQUATOR, EQUATOR[[1, 1, 1]]) == pytest.approx(1.11195, abs=1e-5)


def test_one_frame_astray_is_worth_nearly_its_whole_error() -> None:
    astray = EQUATOR.copy()
    astray[1] = [0, 1]  # while it is out there, the other walker waits at the end, 0.98 degrees away
    assert tracks.frechet_km(EQUATOR, astray) == pytest.approx(108.971, abs=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_frechet_distance_is_a_distance(seed: int) -> None:
    a, b, c = walk(seed), walk(seed + 100, frames=21), walk(seed + 200, frames=40)
    assert tracks.frechet_km(a, a) == 0
    assert tracks.frechet_km(a, b) == pytest.approx(tracks.frechet_km(b, a), abs=1e-12)
    assert tracks.frechet_km(a, b) >= max(great_circle_km(a[0], b[0]), great_circle_km(a[-1], b[-1])) - 1e-12
    assert tracks.frechet_km(a, c) <= tracks.frechet_km(a, b) + tracks.frechet_km(b, c) + 1e-9
    north = a + np.array([0.01, 0])
    assert tracks.frechet_km(a, north) <= great_circle_km(a, north).max() + 1e-12


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (6, 1), (7, 4), (4, 7), (9, 9)])
def test_frechet_distance_is_that_of_its_definition(n: int, m: int) -> None:
    a, b = walk(n, n), walk(m + 50, m)
    d = great_circle_km(a[:, None], b[None])

    def f(i: int, j: int) -> float:
        if i == j == 0:
            return d[0, 0]
        steps = [f(*step) for step in ((i - 1, j), (i - 1, j - 1), (i, j - 1)) if min(step) >= 0]
        return max(d[i, j], min(steps))

    assert tracks.frechet_km(a, b) == pytest.approx(f(n - 1, m - 1), abs=1e-12)


def test_over_the_date_line_and_over_the_pole_neighbours_are_near() -> None:
    west, east = np.array([[0, 179.99], [0, -179.99]]), np.array([[0, -180.0], [0, -179.98]])
    assert tracks.frechet_km(west, east) == pytest.approx(0.01 * DEGREE_KM, abs=1e-6)
    over = np.array([[89.99, 20.0], [89.99, -160.0]])  # 2.2 km, over the pole
    assert tracks.frechet_km(over, over[[0, 0]]) == pytest.approx(0.02 * DEGREE_KM, abs=1e-6)
    assert float(great_circle_km(tracks.mean_place(over), [90, 0])) == pytest.approx(0, abs=1e-6)


# ---- one prediction for a video


def test_the_centroid_of_two_places_beside_the_date_line_lies_on_it() -> None:
    both = np.array([[0.0, 179.0], [0.0, -179.0]])
    assert float(great_circle_km(tracks.centroid(both), [0, 180])) == pytest.approx(0, abs=1e-6)
    assert float(great_circle_km(tracks.mean_place(both), [0, 180])) == pytest.approx(0, abs=1e-6)
    assert float(great_circle_km(both.mean(axis=0), [0, 180])) == pytest.approx(20_015, abs=1)
    with pytest.raises(InputError, match="no centroid"):
        tracks.centroid([[0, 0], [0, 180]])


def test_the_prediction_nearest_to_the_centroid_stands_for_the_video() -> None:
    assert tracks.representative([[10, 10], [10.1, 10], [10.05, 10.001], [10, 10.1]]) == 2
    assert tracks.representative([[0, 1], [0, -1]]) == 0  # equally near, the first
    assert tracks.representative([[0, -1], [0, 1], [0, -1], [0, 1]]) == 0
    assert tracks.representative([[40.3, 78.0], [40.3, 78.1]]) == 0  # equally near but for rounding
    assert tracks.representative([[0, 0], [0, 180]]) == 0  # no centroid
    assert tracks.representative([[0, 179], [0, -179.999], [0, -179]]) == 1


def test_a_video_is_right_where_its_representative_is_near_the_mean_of_the_truth() -> None:
    true = np.array([[0.0, 179.9], [0.0, -179.9]])  # its mean is (0, 180)
    found = tracks.score_tracks([true], [np.array([[0.0, 179.995], [0.0, 179.995]])])
    assert found.video_km == pytest.approx([0.005 * DEGREE_KM], abs=1e-6)
    assert found.metrics["video_1km"] == 100
    assert found.metrics["frame_1km"] == 0  # each frame is 10 km away from its own place


# ---- extents


def test_mean_range_difference_at_sixty_degrees_north() -> None:
    true = np.array([[60.0, 20.0], [60.02, 20.02]])  # ranges 0.02 / 0.02
    guess = np.array([[60.0, 20.0], [60.01, 20.04]])  # ranges 0.01 / 0.04
    assert tracks.range_difference_km(true, guess) == pytest.approx(1.1118, abs=5e-5)
    assert tracks.range_difference_km(true, true) == 0


def test_a_track_over_the_date_line_has_a_small_range() -> None:
    over = np.array([[0, 179.9], [0, -179.9]])
    still = np.array([[0, 179.9], [0, 179.9]])
    assert tracks.range_difference_km(over, still) == pytest.approx(0.2 * DEGREE_KM / 2, abs=1e-4)
    assert np.ptp(tracks.unwrapped(over[:, 1])) == pytest.approx(0.2)
    assert tracks.wrapped([180, -180, 540, 179.5, -181]) == pytest.approx([-180, -180, -180, 179.5, 179])


# ---- whole sets


def test_frames_are_pooled_and_not_averaged_video_by_video() -> None:
    right, wrong = np.zeros((1, 2)), np.zeros((9, 2))
    found = tracks.score_tracks([right, wrong], [right, wrong + 10])
    assert found.metrics["frame_1km"] == pytest.approx(10)  # videos of 1 (right) and 9 (wrong) frames
    assert found.metrics["video_1km"] == 50
    assert np.bincount(found.frame_video).tolist() == [1, 9]


def test_frames_without_a_coordinate_are_left_out_and_counted() -> None:
    true = [np.array([[0, 0], [np.nan, np.nan], [0, 0.02]]), np.full((2, 2), np.nan)]
    guess = [np.array([[0, 0], [50, 50], [0, 0.02]]), np.zeros((2, 2))]
    found = tracks.score_tracks(true, guess)
    assert (found.unplaced_frames, found.unplaced_videos) == (3, 1)
    assert found.frame_km.tolist() == [0, 0]
    assert found.dfd[0] == found.mrd[0] == 0
    assert np.isnan([found.video_km[1], found.dfd[1], found.mrd[1]]).all()
    assert found.metrics["frame_1km"] == found.metrics["video_5km"] == 100
    assert found.metrics["dfd"] == 0


def test_means_have_heavy_tails_and_medians_have_not() -> None:
    near, far = EQUATOR, EQUATOR.copy()
    far[1] = [0, 90]
    found = tracks.score_tracks([EQUATOR] * 3, [near, near, far])
    assert found.metrics["dfd_median"] == 0
    assert found.metrics["dfd"] == pytest.approx(found.dfd[2] / 3)
    assert found.metrics["dfd"] > 3000
    assert found.metrics["frame_median_km"] == 0
    assert found.metrics["video_median_km"] == pytest.approx(0, abs=1e-9)


def test_the_metrics_are_those_of_the_papers_table() -> None:
    with open(Path(cityguessr.paper.__file__).with_name("results.csv"), newline="") as file:
        published = {row["metric"] for row in csv.DictReader(file) if row["table"] == "vidtag_msls"}
    found = tracks.score_tracks([EQUATOR], [NORTH]).metrics
    assert set(found) == published | {"dfd_median"}
    assert found["dfd"] == pytest.approx(1.11195, abs=1e-5)
    assert (found["frame_1km"], found["frame_5km"]) == (0, 100)


def test_a_place_has_the_city_whose_centre_is_nearest() -> None:
    centres = np.array([[48.85, 2.35], [51.51, -0.13], [np.nan, np.nan], [-36.85, 179.9]])
    places = [[48.9, 2.3], [51, 0], [-36, -179.9]]
    assert tracks.nearest_centre(places, centres).tolist() == [0, 1, 3]
    with pytest.raises(InputError, match="no centre"):
        tracks.nearest_centre(places, centres[[2]])


def test_wrong_input_is_named() -> None:
    with pytest.raises(InputError, match="2 true tracks and 1 predicted"):
        tracks.score_tracks([EQUATOR, EQUATOR], [EQUATOR])
    with pytest.raises(InputError, match="video 0: 3 true frames and 2 predicted"):
        tracks.score_tracks([EQUATOR], [EQUATOR[:2]])
    with pytest.raises(InputError, match=r"predicted track 0, frame 1: \[139.7, 35.7\] is no latitude"):
        tracks.score_tracks([EQUATOR[:2]], [[[35.7, 139.7], [139.7, 35.7]]])
    with pytest.raises(InputError, match="predicted track 0, frame 0"):
        tracks.score_tracks([EQUATOR], [np.full((3, 2), np.nan)])
    with pytest.raises(InputError, match="nothing to score"):
        tracks.score_tracks([np.full((3, 2), np.nan)], [EQUATOR])
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        tracks.frechet_km([0, 0], EQUATOR)
