"""The data set's figures and Table 1: what is plotted is what was counted, and the indices are the supplement's."""

import functools
import itertools
import os
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from support import make_release

from cityguessr import paper
from cityguessr.base.errors import InputError
from cityguessr.data import counts, dimensions
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.counts import ClassCounts
from cityguessr.data.mapillary import MapillarySource, cities
from cityguessr.figures import dataset
from cityguessr.measures import inequality
from cityguessr.measures.sphere import EARTH_RADIUS_KM, kernel_density
from cityguessr.tables import ledger, table1
from cityguessr.taxonomy import LEVELS, Taxonomy

pytestmark = pytest.mark.usefixtures("fresh_style")

TREE = Taxonomy.cityguessr68k()
LABELS, MSLS = "CITYGUESSR_LABELS", "CITYGUESSR_MSLS"


def listed(release: ReleaseSource) -> ClassCounts:
    """The clips that a release lists; their frames need not be there."""
    cities = np.bincount([clip.labels[0] for clip in release.clips()], minlength=release.taxonomy.size("city"))
    return ClassCounts("a release", "clips", release.taxonomy, cities, release.synthetic)


def real_sized() -> ClassCounts:
    """As many clips as the real data set has, from 60 to about 1400 a city."""
    draws = np.random.default_rng(4).lognormal(0, 0.62, 166)
    counts = np.maximum(60, (68269 * draws / draws.sum()).astype(int))
    counts[counts.argmax()] += 68269 - counts.sum()
    return ClassCounts("CityGuessr68k", "clips", TREE, counts, synthetic=False)


def sequences(long: dict[str, int] | None = None, synthetic: bool = False) -> ClassCounts:
    """Mapillary's 30 cities with one to thirty times ten sequences, or some of its cities."""
    long = long or {folder: 10 * k for k, folder in enumerate(cities(), start=1)}
    return counts.of_sequences(SimpleNamespace(counts=SimpleNamespace(long=long), synthetic=synthetic))


def both() -> dict[str, ClassCounts | None]:
    return {"cityguessr68k": real_sized(), "msls": sequences()}


@functools.cache
def drawn(name: str) -> tuple[plt.Figure, pd.DataFrame]:
    """One of the four figures of the real-sized data set, drawn once for all tests that look at it."""
    draw = getattr(dataset, name)
    return draw(both() if name in ("density_maps", "lorenz_curves") else real_sized())


def words(fig: plt.Figure) -> list[str]:
    return [text.get_text() for text in fig.findobj(Text)]


# --- counting ---------------------------------------------------------------------------------------------------------


def test_finer_levels_add_up_to_the_coarser_ones() -> None:
    counts = real_sized().counts
    for below, level in itertools.pairwise(LEVELS):
        sums = np.zeros(TREE.size(level), int)
        np.add.at(sums, TREE.parent[below].numpy(), counts[below])
        np.testing.assert_array_equal(counts[level], sums)
    assert {level: values.sum() for level, values in counts.items()} == dict.fromkeys(LEVELS, 68269)


def test_mapillary_is_counted_in_all_its_cities_not_in_the_shared_ones() -> None:
    found = sequences()
    assert found.taxonomy.sizes == {"city": 30, "state": 29, "country": 24, "continent": 6}
    where = dict(zip(found.taxonomy.folders, found.cities, strict=True))
    assert where["Banglore"] == 10 * (list(cities()).index("bengaluru") + 1)
    part = sequences({"paris": 3, "goa": 0, "sf": 4, "atlantis": 9})  # no sequence of 15 frames, and no known city
    assert (list(part.taxonomy.folders), part.total) == (["Paris", "San_Francisco"], 7)
    with pytest.raises(InputError, match="no known city has a sequence of 15 frames"):
        sequences({"paris": 0, "atlantis": 9})


def test_a_release_is_counted_from_its_lists_alone(tmp_path: Path) -> None:
    root = make_release(tmp_path / "r", clips=4, frames=0)
    release = ReleaseSource(root)
    found = listed(release)
    assert found.cities.tolist() == [4, 4, 4]
    assert found.counts["country"].tolist() == [4, 8]
    assert dimensions.measure(release.clips())["frames"].tolist() == [0] * 12


@pytest.mark.parametrize("synthetic", [True, False])
def test_no_title_gives_a_synthetic_data_set_a_real_one_s_name(synthetic: bool) -> None:
    """Nor does a longer title leave the page."""
    half = torch.arange(166).repeat_interleave(torch.tensor(real_sized().cities // 2))
    clips = SimpleNamespace(taxonomy=TREE, synthetic=synthetic, split=lambda _: SimpleNamespace(labels={"city": half}))
    pair = {"cityguessr68k": counts.of_clips(clips), "msls": sequences(synthetic=synthetic)}
    figs = [draw(pair)[0] for draw in (dataset.density_maps, dataset.lorenz_curves)]
    figs += [draw(pair["cityguessr68k"])[0] for draw in (dataset.bars, dataset.histograms)]
    for fig in figs:
        fig.canvas.draw()
        titles = [
            text for text in fig.findobj(Text) if re.match(r"(MiniWorld for )?(CityGuessr|Mapil)", text.get_text())
        ]
        assert titles
        for title in titles:
            assert title.get_text().startswith("MiniWorld for ") == synthetic
            assert title.get_window_extent().x1 <= fig.bbox.x1
        plt.close(fig)


@pytest.mark.parametrize("counts", [np.ones(3), np.zeros(166), -np.ones(166)])
def test_what_is_no_count_a_city_is_refused(counts: np.ndarray) -> None:
    with pytest.raises(InputError, match="166 cities"):
        ClassCounts("mine", "clips", TREE, counts, synthetic=False)


def test_length_and_size_are_those_of_the_files(tmp_path: Path) -> None:
    clips = ReleaseSource(make_release(tmp_path / "r", clips=4, frames=7)).clips()
    (Path(clips[0].path) / "3.jpg").unlink()
    (Path(clips[1].path) / "1.jpg").write_bytes(b"")  # a damaged first frame: the second gives the size
    found = dimensions.measure(clips)
    assert found["frames"].tolist() == [6] + [7] * 11
    assert set(zip(found["width"], found["height"], strict=True)) == {(64, 48)}
    assert dimensions.commonest(found) == (64, 48)
    some = dimensions.measure(clips, count=5, seed=1)
    assert len(some) == 5
    pd.testing.assert_frame_equal(some, dimensions.measure(clips, count=5, seed=1))


# --- Fig. 2 -----------------------------------------------------------------------------------------------------------


def test_the_densities_hold_every_sample() -> None:
    fig, data = drawn("density_maps")
    for name, part in data.groupby("dataset"):
        expected = next(s for s in both().values() if s.name == name)
        grid = kernel_density(part[["latitude", "longitude"]].to_numpy(), part["samples"], 400)
        assert grid.integral() == pytest.approx(expected.total, rel=0.01)
    texts = words(fig)
    assert any("68,269 clips from 166 cities" in text for text in texts)
    assert any("4,650 sequences from 30 cities" in text for text in texts)
    assert any("the same for both maps" in text for text in texts)


@pytest.mark.parametrize("place", [(0.0, 0.0), (52.5, 13.4), (-41.0, 179.9), (89.9, 0.0)])
def test_the_reach_of_one_city_is_a_cap_of_the_sphere(place: tuple[float, float]) -> None:
    cap = 2 * np.pi * EARTH_RADIUS_KM**2 * (1 - np.cos(1000 / EARTH_RADIUS_KM)) / 1e6
    assert dataset.reach([place], 1000) == pytest.approx(cap, rel=0.02)
    assert dataset.reach([place, place], 1000) == pytest.approx(cap, rel=0.02)


def test_cities_without_a_place_are_said_and_not_drawn() -> None:
    text = TREE.csv().replace(f"{TREE.latlon[0, 0].item()},{TREE.latlon[0, 1].item()}", ",")
    path = tree_of(text)
    lost = ClassCounts("mine", "clips", path, np.full(166, 10), synthetic=False)
    fig, data = dataset.density_maps({"cityguessr68k": lost, "msls": sequences()})
    assert any("10 of cities without a known place not drawn" in text for text in words(fig))
    assert data["latitude"].isna().sum() == 1
    nowhere = Taxonomy(TREE.names, TREE.parent, torch.full((166, 2), float("nan")), TREE.folders, TREE.iso2)
    with pytest.raises(InputError, match="needs coordinates"):
        dataset.density_maps({"mine": ClassCounts("m", "clips", nowhere, np.ones(166, int), False), "msls": None})


def tree_of(text: str) -> Taxonomy:
    """The tree of a CSV text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text(text, encoding="utf-8")
        return Taxonomy.from_csv(path)


# --- Fig. 3 -----------------------------------------------------------------------------------------------------------


def test_every_bar_is_a_city_s_count() -> None:
    shown = real_sized()
    fig, data = drawn("bars")
    found = {}
    for ax in fig.axes:
        names = dict(zip(ax.get_yticks(), (label.get_text() for label in ax.get_yticklabels()), strict=True))
        for bar in ax.patches:
            found[names[bar.get_y() + bar.get_height() / 2]] = bar.get_width()
    assert found == dict(zip(TREE.names["city"], shown.cities, strict=True))
    assert data.set_index("city")["samples"].to_dict() == found
    for _, part in data.groupby("continent"):
        assert part["samples"].is_monotonic_decreasing


def test_all_166_names_can_be_read() -> None:
    """In full, at 7 points or more, none on another, on a page of at most 9.6 inches."""
    fig, _ = dataset.bars(real_sized())
    fig.canvas.draw()
    assert fig.get_size_inches()[1] <= 9.6
    texts = [text for ax in fig.axes for text in (*ax.get_yticklabels(), *ax.texts)]
    boxes = np.array([text.get_window_extent().extents for text in texts])  # (n, 4) pixels: left, bottom, right, top
    width, height = fig.get_size_inches() * fig.dpi
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [width, height]).all()
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    overlap = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - low  # (n, n, 2)
    both_ways = (overlap[..., 0] > 0) & (overlap[..., 1] > 2)  # a line of 7 points has 2 pixels of air above and below
    assert both_ways.sum() == len(texts)  # each with itself alone


def test_any_tree_has_its_bars() -> None:
    """One city; long names and a city without clips; a continent of more cities than a column takes."""
    one = TREE.subset(["Lyon"])
    fig, data = dataset.bars(ClassCounts("one", "clips", one, np.array([1]), synthetic=False))
    assert data.values.tolist() == [["Europe", "Lyon", 1]]
    long = tuple(f"City of a very long name indeed {i}" for i in range(166))
    names = {**TREE.names, "city": long, "continent": ("Pangaea",)}
    parent = {**TREE.parent, "country": torch.zeros(91, dtype=torch.long)}
    flat = Taxonomy(names, parent, TREE.latlon, TREE.folders, TREE.iso2)
    counts = np.arange(166)
    fig, data = dataset.bars(ClassCounts("flat", "clips", flat, counts, synthetic=False))
    assert sum(len(ax.patches) for ax in fig.axes) == len(data) == 166
    assert "Pangaea, continued" in words(fig)


# --- Fig. 4 -----------------------------------------------------------------------------------------------------------


def test_every_class_is_in_one_bin() -> None:
    fig, data = drawn("histograms")
    assert data.groupby("level")["classes"].sum().to_dict() == TREE.sizes
    for ax, level in zip(fig.axes, LEVELS, strict=True):
        heights = [bar.get_height() for bar in ax.patches]
        assert heights == data[data["level"] == level]["classes"].tolist()
        counts = real_sized().counts[level]
        assert [line.get_xdata()[0] for line in ax.lines] == pytest.approx([counts.mean(), np.median(counts)])


def test_continents_are_named_over_their_bins() -> None:
    fig, _ = drawn("histograms")
    named = "\n".join(text.get_text() for text in fig.axes[3].texts).split("\n")
    assert sorted(named) == sorted(TREE.names["continent"])


@pytest.mark.parametrize("most", [0, 1, 5, 29, 30, 41, 249, 250, 1400, 20_123, 68_269])
def test_bins_are_round_few_and_hold_the_largest_count(most: int) -> None:
    edges = dataset.bin_edges([0, most])
    width = edges[1] - edges[0]
    assert edges[0] == 0
    assert set(np.diff(edges)) == {width}
    assert str(width).rstrip("0") in ("1", "2", "5")
    assert len(edges) - 1 <= 60
    assert edges[-2] <= most < edges[-1]


def test_the_summary_is_that_of_the_histogram() -> None:
    found = dataset.summary(real_sized()).set_index("level")
    _, data = drawn("histograms")
    fullest = data.loc[data.groupby("level")["classes"].idxmax()].set_index("level")
    assert found["mode_from"].to_dict() == fullest["low"].to_dict()
    assert found.loc["city", "mean"] == pytest.approx(68269 / 166)


# --- Fig. S4 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "gini", "hoover"),
    [
        ([7, 7, 7, 7, 7], 0, 0),  # even
        ([0, 0, 0, 9], 3 / 4, 3 / 4),  # one holds all: 1 - 1/n, and not 1
        ([4, 2, 1, 3], 2 * (1 + 4 + 9 + 16) / (4 * 10) - 5 / 4, 0.5 * (1.5 + 0.5 + 0.5 + 1.5) / 10),
    ],
)
def test_the_paper_s_definitions_by_hand(counts: list[int], gini: float, hoover: float) -> None:
    """Eq. 1 and 2 of the supplement on vectors whose answers are known: 0, 1 - 1/n, and 0.25 and 0.2 for 1, 2, 3, 4."""
    assert inequality.gini(counts) == pytest.approx(gini)
    assert inequality.hoover(counts) == pytest.approx(hoover)


def test_the_figure_shows_what_the_indices_measure() -> None:
    """The curve runs from (0, 0) to (1, 1); Gini is twice the shaded area exactly, and Hoover the length of the bar.

    The curve joins its points by straight lines, so no term of 1/n is missing: that appears only where the area under
    the curve is added up in steps.
    """
    fig, data = drawn("lorenz_curves")
    for ax, shown in zip(fig.axes, both().values(), strict=True):
        polygon = ax.collections[0].get_paths()[0].vertices
        x, y = polygon.T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        gini, hoover = inequality.gini(shown.cities), inequality.hoover(shown.cities)
        assert 2 * area == pytest.approx(gini)
        steps = inequality.lorenz(shown.cities)[1][1:].mean()
        assert 1 - 2 * steps == pytest.approx(gini - 1 / len(shown.cities))
        (bar,) = [line for line in ax.lines if line.get_gid() == "hoover"]
        assert np.ptp(bar.get_ydata()) == pytest.approx(hoover)
        curve = data[data["dataset"] == shown.name]
        assert curve[["x", "y"]].iloc[[0, -1]].values.tolist() == [[0, 0], [1, 1]]
        assert (curve["x"] - curve["y"]).max() == pytest.approx(hoover)
        assert f"Gini {gini:.2f}" in "\n".join(words(fig))


def test_indices_stand_beside_the_paper_s() -> None:
    found = dataset.inequality_table({"cityguessr68k": real_sized(), "msls": None}).set_index(["dataset", "index"])
    assert found["paper"].to_dict() == {
        ("cityguessr68k", "gini"): 0.36, ("msls", "gini"): 0.65,
        ("cityguessr68k", "hoover"): 0.26, ("msls", "hoover"): 0.51,
    }  # fmt: skip
    assert np.isnan(found.loc[("msls", "gini"), "measured"])


@pytest.mark.skipif(LABELS not in os.environ, reason=f"no real label lists: {LABELS}=<folder of labels_list.csv>")
def test_the_real_label_lists_give_the_paper_s_indices() -> None:
    release = ReleaseSource(os.environ[LABELS])
    found = listed(release)
    assert found.total == 68269
    assert round(inequality.gini(found.cities), 2) == 0.36
    assert round(inequality.hoover(found.cities), 2) == 0.26


@pytest.mark.skipif(MSLS not in os.environ, reason=f"no real metadata of MSLS: {MSLS}=<folder of train_val/ and test/>")
def test_the_real_sequences_of_mapillary_give_the_paper_s_indices(tmp_path: Path) -> None:
    """Counting takes the tables alone, so folders for images are made beside links to them."""
    root = Path(os.environ[MSLS])
    for table in root.glob("*/*/*/seq_info.csv"):
        place = tmp_path / table.parent.relative_to(root)
        (place / "images").mkdir(parents=True)
        (place / table.name).symlink_to(table.resolve())
    found = counts.of_sequences(MapillarySource(tmp_path))
    assert found.total == 14965
    assert round(inequality.gini(found.cities), 2) == 0.65
    assert round(inequality.hoover(found.cities), 2) == 0.51


# --- Table 1 ----------------------------------------------------------------------------------------------------------


def measured(clips: list[tuple[int, int, int]]) -> pd.DataFrame:
    """As `dimensions.measure` gives them: frames, width and height of each clip."""
    return pd.DataFrame(
        [(f"clip {i}", *clip) for i, clip in enumerate(clips)], columns=["clip_id", "frames", "width", "height"]
    )


def table(tmp_path: Path, profile: str = "cityguessr68k") -> pd.DataFrame:
    release = ReleaseSource(make_release(tmp_path / "r", clips=4, frames=7))
    listed = {"cityguessr68k": release, "msls": None}
    frames = {"cityguessr68k": dimensions.measure(release.clips())}
    return table1.build(profile, {"cityguessr68k": real_sized(), "msls": None}, listed, frames)


def test_table_1_has_every_number_the_paper_prints(tmp_path: Path) -> None:
    found = table(tmp_path).set_index(["dataset", "quantity"])
    printed = paper.dataset()
    for line in printed[printed["where"] == "table1"].itertuples():
        size = line.quantity.startswith("frame_")
        claim = found.loc[(line.dataset, "resolution" if size else line.quantity), "paper"]
        assert f"{line.value:.0f}" in (claim.split("x") if size else [claim])
    own = found.loc["cityguessr68k"]
    assert own.loc["samples", ["measured", "state"]].tolist() == ["68269", "agrees"]
    assert own.loc["resolution", ["measured", "state"]].tolist() == ["64x48", "differs"]
    assert own.loc["consistent_length", "measured"] == "Yes: 7 frames"
    assert own.loc["organised", ["measured", "state"]].tolist() == ["Yes: a folder each", "agrees"]
    assert (found.loc["msls", "measured"] == "").all()
    assert found.loc["msls", "state"].str.startswith("not ").all()


def test_lengths_that_differ_are_not_consistent(tmp_path: Path) -> None:
    frames = measured([(15, 64, 48), (22, 64, 48), (60, 96, 54), (0, 0, 0)])
    listed = {"cityguessr68k": None, "msls": SimpleNamespace(clips=lambda: [SimpleNamespace(path="images")] * 4)}
    found = table1.build("mini", both(), listed, {"msls": frames}).set_index(["dataset", "quantity"])["measured"]
    assert found["msls", "consistent_length"] == "No: 15 to 60 frames"
    assert found["msls", "resolution"] == "64x48: commonest of 2"
    assert found["msls", "organised"] == "No: 4 in 1 folders"


def test_table_1_is_written_and_shown(tmp_path: Path) -> None:
    frame = table(tmp_path)
    written = table1.write(frame, tmp_path / "tables")
    assert [path.name for path in written] == ["table1.csv", "table1.md", "table1.tex"]
    back = pd.read_csv(written[0], keep_default_na=False, dtype=str)
    pd.testing.assert_frame_equal(back, frame.astype(str))
    text = written[1].read_text()
    assert "14,965 | – | 68,269 | 68,269" in text
    assert "1280 × 720 | 64 × 48" in text
    assert counts.NO_SEQUENCES in text
    assert r"\toprule" in written[2].read_text()
    assert "68,269" in table1.show(frame)._repr_html_()


def test_the_ledger_reads_the_frames_size(tmp_path: Path) -> None:
    clips = SimpleNamespace(synthetic=False, meta={"counts": {s: {"clips": 6} for s in ("train", "val")}})
    clips.taxonomy, clips.split = TREE, lambda _: SimpleNamespace(labels={"city": torch.arange(166)})
    frames = measured([(99, 1280, 720), (100, 1280, 720), (0, 0, 0)])
    found = ledger.dataset(clips, None, {"cityguessr68k": frames}).set_index(["dataset", "quantity"])
    assert found.loc[("cityguessr68k", "frame_width"), ["found", "state"]].tolist() == [1280, "agrees"]
    assert found.loc[("cityguessr68k", "frame_height"), "found"] == 720
    assert found.loc[("msls", "frame_width"), "state"] == "not tried, because no clips were given"
    bare = ledger.dataset(clips).set_index(["dataset", "quantity"])
    assert bare.loc[("cityguessr68k", "frame_width"), "state"] == "not tried, because no frames were measured"


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [dataset.density_maps, dataset.lorenz_curves])
def test_without_mapillary_its_side_says_why(draw: object) -> None:
    fig, data = draw({"cityguessr68k": real_sized(), "msls": None})
    assert counts.NO_SEQUENCES in [text.replace("\n", " ") for text in words(fig)]
    assert set(data["dataset"]) == {"CityGuessr68k"}


def test_a_single_clip_can_be_drawn() -> None:
    counts = np.zeros(166, int)
    counts[7] = 1
    one = ClassCounts("one", "clips", TREE, counts, synthetic=False)
    pair = {"cityguessr68k": one, "msls": None}
    for fig, _ in (dataset.density_maps(pair), dataset.bars(one), dataset.histograms(one)):
        fig.canvas.draw()
    fig, _ = dataset.lorenz_curves(pair)
    assert any("Gini 0.99" in text for text in words(fig))  # 1 - 1/166


@pytest.mark.parametrize("name", ["density_maps", "bars", "histograms", "lorenz_curves"])
def test_no_type_is_smaller_than_7_points(name: str) -> None:
    fig, _ = drawn(name)
    assert min(text.get_fontsize() for text in fig.findobj(Text) if text.get_text()) >= 7
