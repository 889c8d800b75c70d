"""Pictures of tracks: what is drawn is what was answered, inside the map and off it."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from cityguessr.base.errors import InputError
from cityguessr.figures import track_answers, tracks
from cityguessr.figures.track_answers import CEILING, CENTRE, FILTERED, KINDS, REFINED, RETRIEVED, TrackAnswers
from cityguessr.measures.sphere import great_circle_km
from cityguessr.measures.tracks import KM_PER_DEGREE, score_tracks, within
from cityguessr.training.track_runs import TrackPredictions

pytestmark = pytest.mark.usefixtures("fresh_style")

NORTH = np.linspace(0, 0.01, 12)  # degrees: 1.1 km


def answers(start: tuple[float, float] = (0.0, 20.0), name: str = "a", **moved: np.ndarray) -> TrackAnswers:
    """A track of 12 frames to the north-east; each kind of answer is the truth, moved by that many degrees."""
    true = np.stack([start[0] + NORTH, (start[1] + NORTH + 180) % 360 - 180], axis=1)
    given = {kind: true + moved.get(kind.partition("-")[0], 0.0) for kind in KINDS}
    given = {kind: np.stack([a[:, 0], (a[:, 1] + 180) % 360 - 180], axis=1) for kind, a in given.items()}
    return TrackAnswers(name, "somewhere", true, given, np.full(12, 0.1))


def only(frames: dict[int, tuple[float, float]]) -> np.ndarray:
    """(12, 2) degrees that move those frames alone."""
    moves = np.zeros((12, 2))
    for frame, move in frames.items():
        moves[frame] = move
    return moves


def away(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_gid() == "away"]


def tips(ax: Axes) -> list[tuple[float, float]]:
    return [text.xy for text in ax.texts if isinstance(text, Annotation) and text.arrow_patch is not None]


def drawn(ax: Axes, gid: str) -> np.ndarray:
    (line,) = [line for line in ax.lines if line.get_gid() == gid]
    return np.stack(line.get_data(), axis=1)


def test_a_degree_on_the_map_is_as_long_as_on_the_sphere() -> None:
    assert track_answers.local_km([[61, 10], [60, 11], [60, 9]], [60, 10]) == pytest.approx(
        np.array([[0, 111.195], [55.6, 0.42], [-55.6, 0.42]]), abs=0.02
    )
    places = np.array([[51.5, -0.1], [-33.9, 151.2], [89.9, 0], [10, 179.9]])
    distances = np.linalg.norm(track_answers.local_km(places, [10, -179.9]), axis=1)
    assert distances == pytest.approx(great_circle_km(places, [10, -179.9]))
    # Within a city it is the plain map of scaled degrees, to a metre or so.
    assert track_answers.local_km([[60.02, 10.04]], [60, 10])[0] == pytest.approx(
        [111.195 * 0.04 * np.cos(np.radians(60.01)), 111.195 * 0.02], abs=0.003
    )


def test_a_track_over_the_date_line_is_drawn_in_one_piece() -> None:
    fig = tracks.on_map([answers((0.0, 179.995), retrieved=np.full((12, 2), 0.001))])
    for ax in fig.axes:
        path = drawn(ax, "true")
        assert np.ptp(path[:, 0]) == pytest.approx(1.11195, rel=1e-3)
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 0.2
    assert away(fig.axes[0]) == []
    assert len(drawn(fig.axes[0], "answers")) == 12


def test_an_answer_off_the_map_is_an_arrow_with_its_distance() -> None:
    track = answers(retrieved=only({3: (10.0, 0.0)}))
    ax, *others = tracks.on_map([track]).axes
    assert [text.split(maxsplit=1)[1] for text in away(ax)] == ["1,112 km"]
    assert great_circle_km(track.true[3], track.given[RETRIEVED][3]) == pytest.approx(1111.95, abs=0.01)
    ((x, y),) = tips(ax)
    assert y == pytest.approx(ax.get_ylim()[1], abs=0.05)  # due north: at the upper edge, above the middle
    assert abs(x - np.mean(ax.get_xlim())) < 0.05
    assert len(drawn(ax, "answers")) == 11
    assert all(away(other) == [] for other in others)


def test_an_arrow_leads_along_the_great_circle() -> None:
    """From 60 north, what lies 120 degrees east is reached by way of the north-east, not along the parallel."""
    track = answers((60.0, 20.0), refined=only({0: (0.0, 120.0)}))
    ax = tracks.on_map([track]).axes[2]
    ((x, y),) = tips(ax)
    bearing = np.degrees(np.arctan2(x - np.mean(ax.get_xlim()), y - np.mean(ax.get_ylim())))
    assert bearing == pytest.approx(33.7, abs=0.5)  # tan = sin 120 / (cos 60 tan 60 - sin 60 cos 120)


def test_answers_of_one_place_share_an_arrow_and_labels_keep_apart() -> None:
    moved = only({0: (0.0, 30.0), 1: (0.0, 30.0), 2: (0.1, 30.0), 5: (0.5, 30.0), 7: (-0.5, 30.0), 8: (0.0, -50.0)})
    ax = tracks.on_map([answers(retrieved=moved)]).axes[0]
    assert sorted(away(ax)) == sorted(["→ 3 frames, 3,336 km", "→ 3,336 km", "→ 3,336 km", "← 5,560 km"])
    labels = [text for text in ax.texts if text.get_gid() == "away"]
    heights = np.sort([text.get_position()[1] for text in labels])  # in heights of the map
    assert (np.diff(heights) >= 0.109).all()
    assert 0 < heights[0] <= heights[-1] < 1


def test_the_view_is_the_same_for_all_kinds_and_holds_what_is_near() -> None:
    track = answers(retrieved=np.full((12, 2), 0.02), refined=only({0: (0.05, 0.05)}))  # 3 km off, and 8 km
    axes = tracks.on_map([track]).axes
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in axes}) == 1
    (ax, _, refined) = axes
    assert len(drawn(ax, "answers")) == 12
    assert away(refined) == ["↗ 7.9 km"]
    width, height = np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())
    assert height / width == pytest.approx(ax.get_box_aspect())  # a km is as long in either direction


def test_jumps_are_thin() -> None:
    ax = tracks.on_map([answers(retrieved=only({6: (0.02, 0.0)}))]).axes[0]  # 2.2 km to the north and back
    pieces = [line for line in ax.lines if len(line.get_xdata()) == 2]
    lengths = [np.hypot(*np.ptp(line.get_data(), axis=1)) for line in pieces]
    steps = {bool(length > tracks.JUMP_KM): line.get_linewidth() for length, line in zip(lengths, pieces, strict=True)}
    assert steps[True] < steps[False]


def test_only_the_gallery_and_the_training_of_the_map_are_drawn() -> None:
    track = answers()
    grid = np.array(list(itertools.product(np.arange(-0.01, 0.02, 0.002), np.arange(19.9, 20.1, 0.002))))
    ax = tracks.on_map([track], grid, {"somewhere": track.true + 0.0005, "elsewhere": track.true}).axes[0]
    training, gallery = (dots.get_offsets() for dots in ax.collections)
    (west, east), (south, north) = ax.get_xlim(), ax.get_ylim()
    assert len(training) == 12
    inside = track_answers.local_km(grid, track.middle)
    inside = inside[(inside[:, 0] > west) & (inside[:, 0] < east) & (inside[:, 1] > south) & (inside[:, 1] < north)]
    assert 0 < len(inside) < len(grid)
    assert np.asarray(gallery) == pytest.approx(inside)


def test_errors_along_a_track_are_great_circles_on_a_logarithmic_axis() -> None:
    track = answers(retrieved=only({3: (10.0, 0.0)}), refined=np.full((12, 2), 0.01))
    (ax,) = tracks.error_along([track]).axes
    assert ax.get_yscale() == "log"
    lines = {line.get_color(): line for line in ax.lines}
    for kind in KINDS:
        assert lines[tracks.COLOURS[kind]].get_ydata() == pytest.approx(great_circle_km(track.true, track.given[kind]))
        assert list(lines[tracks.COLOURS[kind]].get_xdata()) == list(range(1, 13))
    assert lines[tracks.COLOURS[CEILING]].get_ydata() == pytest.approx(np.full(12, 0.1))


def predictions() -> TrackPredictions:
    generator = np.random.default_rng(0)
    shown = [answers((n, 20.0), str(n)) for n in range(3)]
    true = np.concatenate([track.true for track in shown])
    retrieved, refined = (true + generator.normal(0, size, true.shape) for size in (0.02, 0.005))
    regions, lengths = ("here",) * 3, np.full(3, 12)
    best, mean = true + np.array([0.2 / KM_PER_DEGREE, 0]), true.mean(axis=0)
    return TrackPredictions(("0", "1", "2"), regions, lengths, true, retrieved, refined, best, mean + 0 * true, mean)


def test_the_curves_pass_through_the_tables_shares() -> None:
    run = predictions()
    errors = track_answers.errors_km(run)
    assert list(errors) == [CENTRE, *KINDS, CEILING]
    (ax,) = tracks.distribution(errors).axes
    curves = {line.get_color(): line for line in ax.lines if len(line.get_xdata()) > 2}
    scores = score_tracks(run.by_track(run.true), run.by_track(run.refined)).metrics
    for kind, values in errors.items():
        x, y = curves[tracks.COLOURS[kind]].get_data()
        for threshold in (0.5, 1, 5, 25):
            share = y[np.searchsorted(x, threshold, side="right") - 1]
            assert share == pytest.approx(within(values, threshold))
            if kind == REFINED:
                assert share == pytest.approx(scores[f"frame_{threshold:g}km"])
    marked = {line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2}
    assert marked == {0.5, 1, 5, 25}
    kept = tracks.distribution_table(errors).set_index(["kind", "frames_percent"])["within_km"]
    assert kept[REFINED, 50] == pytest.approx(scores["frame_median_km"])
    assert kept[CEILING, 100] == pytest.approx(0.2)


def test_tracks_of_a_run_are_picked_by_number_with_the_filtered_one_beside() -> None:
    run = predictions()
    second, first = track_answers.select(run, [1, 0])
    assert (second.name, first.name) == ("1", "0")
    assert np.array_equal(second.true, run.true[12:24])
    assert np.array_equal(second.given[FILTERED], run.smoothed(5)[12:24])
    scores = score_tracks(run.by_track(run.true), run.by_track(run.refined))
    assert [t.frechet(REFINED) for t in track_answers.select(run)] == pytest.approx(scores.dfd.tolist())
    with pytest.raises(InputError, match="track 3: the run has tracks 0 to 2"):
        track_answers.select(run, [3])


def test_what_is_drawn_is_kept_as_numbers() -> None:
    track = answers(retrieved=only({3: (10.0, 0.0)}))
    frame = track_answers.table([track])
    assert len(frame) == 4 * 12
    row = frame.query("kind == 'retrieved' and frame == 4").iloc[0]
    assert row["error_km"] == pytest.approx(1111.95, abs=0.01)
    assert frame.query("kind == 'true'")["error_km"].isna().all()
    shown = drawn(tracks.on_map([track]).axes[0], "true")
    assert frame.query("kind == 'true'")[["x_km", "y_km"]].to_numpy() == pytest.approx(shown)


def test_no_word_is_smaller_than_seven_points() -> None:
    for fig in (tracks.on_map([answers()], title="A title"), tracks.error_along([answers()] * 4, title="A title")):
        sizes = [text.get_fontsize() for text in fig.findobj(plt.Text) if text.get_text().strip()]
        assert min(sizes) >= 7


def test_bad_input_is_named() -> None:
    track = answers()
    with pytest.raises(InputError, match="no track to draw"):
        tracks.on_map([])
    with pytest.raises(InputError, match="2 headings for 1 tracks"):
        tracks.error_along([track], headings=["one", "two"])
    with pytest.raises(InputError, match=r"track a: refined has the shape \(11, 2\); give 12 frames"):
        TrackAnswers("a", "b", track.true, {REFINED: track.true[1:]})
    with pytest.raises(InputError, match="no kind of answer in track a 'guessed'"):
        TrackAnswers("a", "b", track.true, {"guessed": track.true})
    fewer = TrackAnswers("c", "b", track.true, {RETRIEVED: track.true})
    with pytest.raises(InputError, match="track c has other kinds of answers than a"):
        tracks.on_map([track, fewer])
    with pytest.raises(InputError, match="at least one error"):
        tracks.distribution({})
