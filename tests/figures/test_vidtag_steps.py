"""Pictures of VidTAG's steps: what is drawn is what was computed, and the numbers are those of the formulas."""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from cityguessr.base.errors import InputError
from cityguessr.figures import city_maps, likeness_maps, vidtag_matrices, vidtag_tracks
from cityguessr.figures.track_answers import local_km
from cityguessr.measures.boxes import around
from cityguessr.measures.sphere import great_circle_km
from cityguessr.measures.tracks import frechet_km
from cityguessr.vidtag import gallery
from cityguessr.vidtag.location import LocationEncoder, RandomFourierFeatures, equal_earth

pytestmark = pytest.mark.usefixtures("fresh_style")

PLACE = np.array([60.0, 25.0])
TRACK = np.stack([60 + np.linspace(0, 0.006, 12), 25 + np.linspace(0, 0.008, 12) ** 1.2], axis=1)
CITY = np.stack(np.meshgrid(np.linspace(59.98, 60.02, 9), np.linspace(24.97, 25.04, 9)), axis=-1).reshape(-1, 2)


def fourier(sigma: float, count: int, seed: int = 0) -> likeness_maps.Encode:
    torch.manual_seed(seed)
    features = RandomFourierFeatures(sigma, count).double()
    return lambda latlon: features(equal_earth(latlon))


def texts(fig: Figure) -> list[str]:
    return [text.get_text() for text in fig.findobj(Text) if text.get_text()]


def check_type(fig: Figure) -> None:
    fig.canvas.draw()
    drawn = [text for text in fig.findobj(Text) if text.get_text().strip() and text.get_visible()]
    assert min(text.get_fontsize() for text in drawn) >= 7


# --- likeness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sigma", "km"), [(1, 3750.6), (8, 468.8), (16, 234.4), (256, 14.65), (1024, 3.66)])
def test_the_kernel_halves_at_the_published_distance_along_the_equator(sigma: float, km: float) -> None:
    assert likeness_maps.halving_km(sigma) == pytest.approx(km, rel=1e-3)
    there = city_maps.places_around([0, 10], np.array([likeness_maps.halving_km(sigma)]), np.zeros(1))
    assert likeness_maps.kernel(there, [0, 10], sigma) == pytest.approx(0.5, abs=1e-6)
    assert likeness_maps.kernel([0, 10], [0, 10], sigma) == 1


def test_many_fourier_features_come_near_to_the_kernel_and_few_leave_a_grain() -> None:
    km = np.geomspace(10, 8000, 60)
    east = city_maps.places_around([0, 10], km, 0 * km)
    wanted = likeness_maps.kernel(east, [0, 10], 1)
    many, few = (likeness_maps.similarity(fourier(1, n), [0, 10], east) for n in (20_000, 128))
    assert np.abs(many - wanted).max() < 0.02
    assert 0.02 < np.abs(few - wanted).max() < 4 / math.sqrt(2 * 128)
    assert likeness_maps.halves_at(km, many) == pytest.approx(3751, rel=0.03)


def test_by_distance_is_a_mean_over_directions_and_places() -> None:
    encode = fourier(8, 20_000)
    found = likeness_maps.by_distance(encode, [[0, 10], [0, -100]], [1e-6, 400])
    assert found[0] == pytest.approx(1)
    turn = np.arange(likeness_maps.DIRECTIONS) * 2 * np.pi / likeness_maps.DIRECTIONS
    around_it = city_maps.places_around([0, 10], 400 * np.sin(turn), 400 * np.cos(turn))
    assert found[1] == pytest.approx(likeness_maps.kernel(around_it, [0, 10], 8).mean(), abs=0.03)


def test_where_a_curve_is_one_half() -> None:
    assert likeness_maps.halves_at([0, 10, 20], [1, 0.75, 0.25]) == pytest.approx(15)
    assert likeness_maps.halves_at([1, 2], [0.4, 0.1]) == 1
    assert math.isnan(likeness_maps.halves_at([1, 2], [1, 0.6]))


def test_places_around_are_where_the_map_puts_them() -> None:
    km = np.array([[0, 0], [3, -4], [900, 1200], [-5000, 2000]], dtype=float)
    for middle in (PLACE, [-33.9, 179.9], [0, 0]):
        there = city_maps.places_around(middle, *km.T)
        assert local_km(there, middle) == pytest.approx(km, abs=1e-6)
        assert np.abs(there[:, 1]).max() <= 180


def test_the_map_is_of_similarities_and_one_at_its_place() -> None:
    torch.manual_seed(0)
    network = LocationEncoder((1.0, 64.0), 32, 16, 8)
    fig = likeness_maps.similarity_maps({"a": network, "b": fourier(8, 64)}, PLACE, training=CITY, title="x")
    drawn = [image for ax in fig.axes for image in ax.images if image.get_gid() == "cosines"]
    assert len(drawn) == 2 * len(likeness_maps.WINDOWS)
    for image in drawn[1:3] + drawn[4:]:  # the near views; a pixel of the world is 100 km wide
        values = image.get_array()
        assert values[60, 60] == pytest.approx(1, abs=1e-6)
        assert values.max() == pytest.approx(1, abs=1e-6)
    west, east, south, north = drawn[1].get_extent()
    assert (east - west, north - south) == (3000, 3000)
    corner = city_maps.places_around(PLACE, np.array([-1500.0]), np.array([1500.0]))
    assert drawn[1].get_array()[-1, 0] == pytest.approx(likeness_maps.similarity(network, PLACE, corner)[0], abs=1e-6)
    check_type(fig)


def test_the_raster_of_the_world_is_the_projection_backwards() -> None:
    latlon, (west, east, south, north) = likeness_maps._everywhere()
    x, y = np.meshgrid(np.linspace(west, east, latlon.shape[1]), np.linspace(south, north, latlon.shape[0]))
    known = np.isfinite(latlon).all(axis=-1)
    back = equal_earth(torch.from_numpy(latlon[known])).numpy()
    assert back == pytest.approx(np.stack([x, y], axis=-1)[known], abs=1e-4)
    assert known[73].all()  # the equator, from edge to edge
    assert not known[0, 0]


def test_the_dashed_line_is_where_the_kernel_is_one_half() -> None:
    def dashed(sigma: float) -> list[np.ndarray]:
        fig = likeness_maps.similarity_maps({"a": fourier(sigma, 64)}, PLACE, sigmas=[sigma])
        return [path.vertices for c in fig.axes[1].collections if c.get_linestyles()[0][1] for path in c.get_paths()]

    assert not [v for v in dashed(0.01) if len(v)]  # it halves far outside of the view
    (line,) = dashed(8)
    there = city_maps.places_around(PLACE, *line.T)
    assert likeness_maps.kernel(there, PLACE, 8) == pytest.approx(0.5, abs=0.01)


def test_circles_on_the_plane_are_circles_on_the_ground() -> None:
    fig = likeness_maps.on_the_plane({"A": PLACE, "B": [0, 30]}, 1000.0)
    circles = [line.get_xydata() for line in fig.axes[0].lines if line.get_gid() == "circle"]
    turn = np.linspace(0, 2 * np.pi, 73)
    for place, circle in zip((PLACE, [0, 30]), circles, strict=True):
        ground = city_maps.places_around(place, 1000 * np.sin(turn), 1000 * np.cos(turn))
        assert great_circle_km(ground, place) == pytest.approx(1000)
        assert circle == pytest.approx(equal_earth(torch.from_numpy(ground)).numpy())
    wide, tall = (np.ptp(circle, axis=0) for circle in circles)
    assert wide[0] > 1.3 * wide[1]  # flat in the north
    assert tall[1] > 1.3 * tall[0]  # tall at the equator


# --- matrices ---------------------------------------------------------------------------------------------------------

NAMES = ["a", "a", "a", "b", "b", "c"]
REGIONS = ["x", "x", "x", "x", "x", "y"]


def test_every_pair_is_of_one_kind() -> None:
    kinds = vidtag_matrices.pairs(NAMES, REGIONS)
    assert (np.sum(list(kinds.values()), axis=0) == 1).all()
    assert {name: int(which.sum()) for name, which in kinds.items()} == {
        vidtag_matrices.OWN: 6,
        vidtag_matrices.SAME_TRACK: 8,
        vidtag_matrices.SAME_CITY: 12,
        vidtag_matrices.ELSEWHERE: 10,
    }


def test_the_means_below_a_matrix_are_its_own() -> None:
    matrix = np.random.default_rng(0).uniform(-1, 1, (6, 6))
    means = vidtag_matrices.pair_means(matrix, NAMES, REGIONS)
    assert means[vidtag_matrices.OWN] == pytest.approx(np.diag(matrix).mean())
    assert means[vidtag_matrices.ELSEWHERE] == pytest.approx(np.concatenate([matrix[5, :5], matrix[:5, 5]]).mean())
    assert math.isnan(vidtag_matrices.pair_means(np.eye(2), ["a", "a"], ["x", "x"])[vidtag_matrices.ELSEWHERE])
    fig = vidtag_matrices.cosines({"m": matrix, "n": np.eye(6)}, NAMES, REGIONS, labels={"x": "Here"}, title="t")
    assert np.array_equal(fig.axes[0].images[0].get_array(), matrix)
    assert f"own coordinate: {np.diag(matrix).mean():.2f}" in fig.axes[0].get_xlabel()
    assert "own coordinate: 1.00" in fig.axes[1].get_xlabel()
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["Here", "y"]
    assert list(fig.axes[0].get_yticks()) == [2, 5]  # the middles of five frames, and of one
    check_type(fig)
    with pytest.raises(InputError, match=r"n: \(5, 5\) cosines for 6 frames"):
        vidtag_matrices.cosines({"n": np.eye(5)}, NAMES, REGIONS)


def test_the_table_has_the_mean_of_every_block() -> None:
    matrix = np.random.default_rng(0).uniform(-1, 1, (6, 6))
    table = vidtag_matrices.table({"m": matrix}, ["b", "b", "b", "a", "a", "c"], REGIONS).set_index(
        ["frames_of", "coordinates_of"]
    )["m"]
    assert len(table) == 9
    assert table["x 1", "x 2"] == pytest.approx(matrix[:3, 3:5].mean())
    assert table["y 3", "x 1"] == pytest.approx(matrix[5, :3].mean())


def test_a_row_names_what_its_own_coordinate_gets_and_marks_what_a_mask_hides() -> None:
    share = np.array([0.1, 0.2, 0.3, 0.25, 0.15])
    near = np.array([True, True, True, False, False])
    fig = vidtag_matrices.row({"after": share}, 2, [False, True, True, True, False], near, title="t")
    (ax,) = fig.axes
    assert ax.get_title(loc="left") == "after: its own gets 0.300"
    assert list(ax.lines[0].get_xdata()) == [0, 1]  # near, and not its own
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(1)
    check_type(fig)


def test_what_a_mask_hides_is_framed() -> None:
    km = np.abs(np.subtract.outer(np.arange(5), np.arange(5))) * 0.06
    fig = vidtag_matrices.neighbours(np.eye(5), km, 0.1)
    for ax in fig.axes[:2]:
        frames = [patch.get_xy() for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_gid()]
        assert len(frames) == 8  # the neighbours, 60 m away; not those at 120 m, nor the diagonal
        assert all(abs(x - y) == 1 for x, y in frames)


def test_attention_and_features_are_drawn_as_they_are() -> None:
    weights = np.full((4, 4), 0.25)
    fig = vidtag_matrices.attention({"layer 1": weights, "layer 2": np.eye(4)}, title="t")
    assert np.array_equal(fig.axes[1].images[0].get_array(), np.eye(4))
    assert {image.get_clim() for ax in fig.axes[:2] for image in ax.images} == {(0, 1)}
    check_type(fig)
    values = np.arange(12.0).reshape(3, 4)
    fig = vidtag_matrices.features(values, {"one": 1, "other": 3}, title="t")
    assert np.array_equal(fig.axes[0].images[0].get_array(), values)
    assert {"one: 1 numbers", "other: 3 numbers"} < set(texts(fig))
    check_type(vidtag_matrices.positions(np.zeros((32, 6)), {"T = 2": [0, 31]}, title="t"))


# --- one track --------------------------------------------------------------------------------------------------------


def test_the_cross_is_at_the_largest_cosine() -> None:
    points = gallery.build({"x": CITY}, 0.5)
    values = np.random.default_rng(1).uniform(0, 1, len(points))
    fig = vidtag_tracks.heat({"X": 0.9, "Y": 0.1}, points, {"frame 3": values}, {"frame 3": TRACK[0]}, "frame 3")
    ax = fig.axes[1]
    best = points[values.argmax()]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    assert ax.lines[-2].get_xydata()[0] == pytest.approx(local_km(best, middle), abs=1e-3)
    assert city_maps.km(float(great_circle_km(best, TRACK[0]))) in ax.get_title(loc="left")
    field = next(c for c in ax.collections if c.get_gid() == "gallery")
    assert np.array_equal(field.get_array(), values)
    centres = np.array([path.vertices[:4].mean(axis=0) for path in field.get_paths()])
    assert centres == pytest.approx(local_km(points, middle), abs=2e-3)
    check_type(fig)


def test_the_lines_to_the_gallery_are_its_ceiling() -> None:
    points = gallery.build({"x": CITY}, 0.3)
    fig = vidtag_tracks.grid(around(CITY).padded(0.005), points, CITY, TRACK, title="t")
    lines = [line.get_xydata() for line in fig.axes[1].lines if line.get_gid() == "nearest"]
    lengths = [np.linalg.norm(np.diff(line, axis=0)) for line in lines]
    assert lengths == pytest.approx(gallery.ceiling_km(TRACK, points), rel=1e-3)
    check_type(fig)


def test_the_leash_is_the_frechet_distance_and_the_way_never_goes_back() -> None:
    random = np.random.default_rng(2)
    for n, m in ((1, 1), (1, 5), (7, 4), (12, 12)):
        a, b = (PLACE + random.normal(0, 0.02, (size, 2)) for size in (n, m))
        km = great_circle_km(a[:, None], b[None])
        length, way = vidtag_tracks.leash(km)
        assert length == pytest.approx(frechet_km(a, b))
        assert max(km[pair] for pair in way) == pytest.approx(length)
        assert (way[0], way[-1]) == ((0, 0), (n - 1, m - 1))
        steps = np.diff(way, axis=0)
        assert ((steps >= 0) & (steps <= 1)).all()
        assert (steps.sum(axis=1) > 0).all()


def test_collapsed_copies_are_crosses_and_the_others_keep_their_place() -> None:
    copies = [TRACK + np.array([0.1, -0.1]), np.tile(TRACK[3] + 0.05, (12, 1)), TRACK + np.array([-0.05, 0.0])]
    fig = vidtag_tracks.noise(TRACK, copies, title="t")
    far = fig.axes[0]
    by_kind = {kind: [line for line in far.lines if line.get_gid() == kind] for kind in ("true", "copy", "collapsed")}
    assert {kind: len(lines) for kind, lines in by_kind.items()} == {"true": 1, "copy": 2, "collapsed": 1}
    moved = by_kind["copy"][0].get_xydata() - by_kind["true"][0].get_xydata()
    assert moved.mean(axis=0) == pytest.approx([-0.1 * 111.195 * np.cos(np.radians(60.1)), 0.1 * 111.195], abs=0.05)
    assert np.ptp(far.get_xlim()) == pytest.approx(np.ptp(far.get_ylim()))
    check_type(fig)


def test_what_lies_off_the_map_is_counted() -> None:
    lost = TRACK.copy()
    lost[[2, 5]] += 30
    fig = vidtag_tracks.beside(TRACK, {"alone": lost, "together": TRACK + 0.001}, title="t")
    assert fig.axes[0].get_title(loc="left") == "frames off the map alone: 2; together: 0"
    errors = [line.get_ydata() for line in fig.axes[1].lines]
    assert errors[0] == pytest.approx(great_circle_km(TRACK, lost))
    check_type(fig)


def test_the_video_s_answer_and_the_task_can_be_drawn() -> None:
    fig = vidtag_tracks.answer(TRACK, TRACK + np.array([0.01, 0]), title="t")
    assert "the video's answer is 1.1 km from its target" in texts(fig)
    assert "the shortest leash: 1.1 km" in texts(fig)
    check_type(fig)
    fig = vidtag_tracks.answer(TRACK, np.concatenate([TRACK[:3] - 40, TRACK[3:]]), title="t")
    assert np.ptp(fig.axes[0].get_xlim()) < 5
    assert "(3 frames off the map)" in fig.axes[0].get_title(loc="left")
    pictures = np.zeros((3, 8, 8, 3), np.uint8)
    fig = vidtag_tracks.task(TRACK, pictures, [0, 5, 11], CITY, title="t")
    assert {"frame 1", "frame 6", "frame 12", "1", "6", "12"} < set(texts(fig))
    check_type(fig)
    plt.close("all")


def test_the_key_and_the_marks_of_the_curves_cross_no_line() -> None:
    km = np.geomspace(0.02, 10_000, 50)
    lines = {"before training": np.full(50, 0.9), "after training": np.linspace(1, 0, 50)}
    marks = {"frame to frame": 0.03, "gallery step": 0.06, "width of a city": 5.0}
    fig = likeness_maps.curves(km, lines, {"kernel, σ = 1": np.exp(-km)}, marks, title="Likeness by distance")
    fig.canvas.draw()
    inside = fig.axes[0].get_window_extent()
    words = [text.get_window_extent() for text in fig.axes[0].texts]
    for box in (fig.legends[0].get_window_extent(), *words):
        assert box.y0 >= inside.y1
    for one, other in itertools.combinations([*words, fig.legends[0].get_window_extent()], 2):
        assert not one.overlaps(other)
    plt.close(fig)
