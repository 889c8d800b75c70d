"""Distances and densities on the sphere, and maps that need no network."""

import socket

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from cityguessr import figures
from cityguessr.base.errors import InputError
from cityguessr.figures import map_labels, maps
from cityguessr.measures.sphere import EARTH_RADIUS_KM, great_circle_arcs, great_circle_km, interpolate, kernel_density
from cityguessr.taxonomy import Taxonomy

CITIES = Taxonomy.cityguessr68k().latlon.numpy()


pytestmark = pytest.mark.usefixtures("fresh_style")


def test_distances_that_everyone_knows() -> None:
    assert great_circle_km([0, 0], [90, 0]) == pytest.approx(10_007.6, abs=0.1)  # a quarter of a meridian
    assert great_circle_km([0, 0], [0, 180]) == pytest.approx(np.pi * EARTH_RADIUS_KM)
    tree = Taxonomy.cityguessr68k()
    between = {
        ("London", "Tokyo"): 9560,
        ("Edinburgh", "Glasgow"): 67,
        ("Wellington", "Montevideo"): 9900,  # across the date line
    }
    for (a, b), km in between.items():
        assert great_circle_km(CITIES[tree.city_id(a)], CITIES[tree.city_id(b)]) == pytest.approx(km, rel=0.02)
    assert great_circle_km(CITIES[:, None], CITIES[None]).shape == (166, 166)


@pytest.mark.parametrize("radius_km", [100, 300, 1000])
@pytest.mark.parametrize(
    "place", [(0, 0), (52.5, 13.4), (-41.3, 179.99), (0, -180), (89.5, 20), (-90, 0)], ids=lambda p: f"{p[0]},{p[1]}"
)
def test_a_blob_holds_its_weight_wherever_it_lies(place: tuple[float, float], radius_km: float) -> None:
    grid = kernel_density([place], [250], radius_km)
    assert grid.integral() == pytest.approx(250, rel=0.01)


def test_the_density_of_all_cities_holds_all_their_clips() -> None:
    clips = np.random.default_rng(0).integers(50, 900, 166)
    assert kernel_density(CITIES, clips).integral() == pytest.approx(clips.sum(), rel=0.01)
    assert kernel_density(CITIES, clips, 150, step_deg=0.5).integral() == pytest.approx(clips.sum(), rel=0.01)


def test_a_blob_has_its_size_in_km_at_every_latitude() -> None:
    for lat in (0.0, 40.0, 70.0):
        grid = kernel_density([(lat, 20.0)], radius_km=400, step_deg=0.25)
        peak = interpolate(grid, np.array([lat, 20.0]))
        north = interpolate(grid, np.array([lat + np.degrees(400 / EARTH_RADIUS_KM), 20.0]))
        arc = great_circle_arcs(np.array([[lat, 20.0]]), np.array([[lat, 60.0]]), 2001)[0]
        east = arc[np.abs(great_circle_km([lat, 20.0], arc) - 400).argmin()]
        for edge in (north, interpolate(grid, east)):
            assert edge / peak == pytest.approx(np.exp(-0.5), abs=0.01)


def test_blobs_wrap_over_the_date_line_and_the_poles() -> None:
    grid = kernel_density([(0.0, 180.0)], radius_km=500)
    np.testing.assert_allclose(grid.values, grid.values[:, ::-1], rtol=1e-9)
    pole = kernel_density([(90.0, 0.0)], radius_km=500).values
    np.testing.assert_allclose(pole, np.repeat(pole[:, :1], pole.shape[1], 1), rtol=1e-9, atol=1e-18)


def test_arcs_run_along_great_circles() -> None:
    tree = Taxonomy.cityguessr68k()
    a, b = CITIES[[tree.city_id("London")]], CITIES[[tree.city_id("Tokyo")]]
    arc = great_circle_arcs(a, b)[0]
    np.testing.assert_allclose(arc[[0, -1]], np.concatenate([a, b]), atol=1e-9)
    steps = great_circle_km(arc[1:], arc[:-1])
    assert steps.sum() == pytest.approx(float(great_circle_km(a, b)[0]), rel=1e-9)
    assert arc[:, 0].max() > 65  # over Siberia, far north of both


def test_a_map_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    ax = maps.world()
    maps.density(ax, CITIES)
    maps.points(ax, CITIES, values=np.arange(166))
    maps.paths(ax, CITIES[:20], CITIES[20:40])
    ax.figure.canvas.draw()


def test_land_is_one_grey_and_where_it_should_be() -> None:
    ax = maps.world()
    (land,) = [c for c in ax.collections if c.get_gid() == "land"]
    assert {mpl.colors.to_hex(c) for c in land.get_facecolor()} == {figures.LAND}
    inside = [any(path.contains_point(place) for path in land.get_paths()) for place in maps.project(CITIES)]
    assert np.mean(inside) > 0.8  # at 1:110m, islands and harbour cities may lie off the coast
    sea = maps.project([[0, -30], [30, -150], [-30, 90]])
    assert not any(path.contains_point(place) for path in land.get_paths() for place in sea)


def test_paths_are_cut_at_the_date_line() -> None:
    ax = maps.world()
    arcs = maps.paths(ax, [[-41.3, 174.8], [51.5, 0.0]], [[-34.9, -56.2], [48.9, 2.4]])
    pieces = arcs.get_segments()
    assert len(pieces) == 3
    assert all(np.abs(np.diff(piece[:, 0])).max() < 3e6 for piece in pieces)  # none runs back across the whole map


@pytest.mark.parametrize("lon", [*np.linspace(178, 179.99, 9), *np.linspace(-179.99, -178, 9)])
def test_an_arc_that_ends_beside_the_date_line_reaches_it_and_its_end(lon: float) -> None:
    start, end = [[21.3, -157.9]] if lon > 0 else [[-36.8, 174.8]], [[-18.1, lon]]
    first, last = maps.arcs(start, end)[0]
    edges = maps.extent()[:2] if lon > 0 else maps.extent()[1::-1]
    at_equator = np.array([first[-1, 0], last[0, 0]]) / edges
    assert (at_equator > 0.9).all()  # on the edge of the globe, which the Robinson projection narrows a little
    assert np.ptp(at_equator) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(last[-1], maps.project(end)[0], atol=1)
    maps.paths(maps.world(), start, end, heads=True)


@pytest.mark.parametrize("names", [["Milan", "Genoa", "Florence", "Venice", "Lyon"], ["Seoul", "Incheon", "Busan"]])
def test_labels_of_neighbouring_guesses_do_not_overlap(names: list[str]) -> None:
    tree = Taxonomy.cityguessr68k()
    ids = [tree.city_id(name) for name in names]
    ax = maps.world()
    shares = np.linspace(0.4, 0.02, len(ids))
    maps.guess_map(ax, CITIES[ids], shares, ["Milan", "Lombardy", "Italy", "Europe"], CITIES[0], names=names)
    written = [text for text in ax.texts if text.get_gid() == "label"]
    assert len(written) == len(names) + 1
    assert written[0].get_text() == f"{names[0]} 40%"
    boxes = [text.get_window_extent().extents for text in written]
    frame = ax.get_window_extent().extents
    for i, box in enumerate(boxes):
        assert (frame[:2] <= box[:2]).all()
        assert (box[2:] <= frame[2:]).all()
        for other in boxes[:i]:
            assert map_labels.overlap(box, other) == 0
    assert [t.get_text() for t in ax.texts if t.get_gid() == "path"] == [
        "predicted path: Europe › Italy › Lombardy › Milan"
    ]


def test_a_name_is_only_ever_text() -> None:
    ax = maps.world()
    map_labels.place(ax, maps.project([[0, 0]]), ["$\\frac{ of $1_$"])  # as a formula it could not be read
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    "spots",
    [
        [(130, 150), (145, 140), (141, 148), (152, 140), (141, 121), (150, 165)],
        [(152, 151), (144, 150), (138, 128), (159, 148), (125, 134), (138, 147)],
    ],
)
def test_the_leader_of_a_label_passes_no_other_named_point(spots: list[tuple[int, int]]) -> None:
    _, ax = plt.subplots(figsize=(4, 4), dpi=72)  # a pixel is a point
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.figure.canvas.draw()
    points = np.array(spots, float)
    names = ["Jerusalem", "Cairo", "Beirut", "Amman", "Nicosia", "Aleppo"]
    map_labels.place(ax, ax.transData.inverted().transform(points), names)
    assert ax.lines
    for line in ax.lines:
        way = np.linspace(*ax.transData.transform(line.get_xydata()), 50)
        for other in points[np.linalg.norm(points - way[0], axis=1) > 1]:
            assert np.linalg.norm(way - other, axis=1).min() > 4


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: kernel_density([[np.nan, 0]]), r"place 0: \[nan, 0.0\]"),
        (lambda: kernel_density([[91, 0]]), "no latitude and longitude"),
        (lambda: kernel_density([[0, 0, 0]]), r"\(n, 2\)"),
        (lambda: kernel_density([[0, 0]], [-1]), "at least 0"),
        (lambda: kernel_density([[0, 0]], radius_km=3), "25 to 6371"),
        (lambda: kernel_density([[0, 0]], radius_km=100, step_deg=3), "at most 1.28"),
        (lambda: maps.world(plt.figure().add_subplot()), "projection"),
        (lambda: maps.paths(maps.world(), [[0, 0]], [[1, 1], [2, 2]]), "1 starts for 2 ends"),
    ],
)
def test_what_does_not_fit_is_named(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()
