"""A few figures held against kept images, without their words: a font may change, a box or a colour may not.

Renew them with `.venv/bin/python -m pytest tests/figures/test_images.py --mpl-generate-path=tests/figures/baseline`,
and look.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.testing.compare import compare_images

from cityguessr import figures
from cityguessr.config import ModelConfig
from cityguessr.data.counts import ClassCounts
from cityguessr.figures import architecture, dataset, maps, plots
from cityguessr.taxonomy import Taxonomy

HOUSE = str(resources.files("cityguessr.figures") / "cityguessr.mplstyle")
BASELINE = Path(__file__).parent / "baseline"
TOLERANCE = 0.6  # root mean square over all pixels, of 255
SAVED = {"dpi": 55, "metadata": {"Software": None}}

TREE = Taxonomy.cityguessr68k()
PLACES = np.array([[51.5, -0.1], [35.7, 139.7], [-1.3, 36.8], [-33.9, 18.4], [40.7, -74.0], [-41.3, 174.8]])
CLIPS = np.array([400, 900, 60, 150, 700, 80])


def _architecture() -> plt.Figure:
    return architecture.draw(ModelConfig.as_described(), TREE)


def _density() -> plt.Figure:
    fig = plt.figure(figsize=(4.6, 2.6))
    ax = maps.world(fig.add_subplot(projection=maps.projection()))
    maps.density(ax, PLACES, CLIPS, 500)
    maps.points(ax, PLACES, sizes=8)
    return fig


def _arcs() -> plt.Figure:
    fig = plt.figure(figsize=(4.6, 2.4))
    ax = maps.world(fig.add_subplot(projection=maps.projection()))
    colours = list(figures.CONTINENT_COLOURS.values())
    maps.paths(ax, PLACES, np.roll(PLACES, 1, axis=0), CLIPS, colours, 3.0, heads=True, bend=0.1)
    return fig


def _spread(tree: Taxonomy = TREE) -> ClassCounts:
    """Made-up counts, many for few cities and few for many, the same each time."""
    rank = (np.arange(tree.size("city")) * 37) % tree.size("city")
    return ClassCounts("Made up", "clips", tree, (20 + 3000 / (1 + rank)).astype(int), synthetic=False)


def _lorenz() -> plt.Figure:
    few = _spread(TREE.subset([0, 40, 80, 120, 160]))
    return dataset.lorenz_curves({"cityguessr68k": _spread(), "msls": few})[0]


def _histograms() -> plt.Figure:
    return dataset.histograms(_spread())[0]


def _attention() -> plt.Figure:
    fig, ax = plt.subplots(figsize=(3.5, 3.0))
    x = np.linspace(-1, 1, TREE.size("city") + TREE.size("state") + TREE.size("country") + TREE.size("continent"))
    weights = np.exp(2 * np.outer(x, np.sin(9 * x)))
    plots.attention_blocks(ax, weights / weights.sum(axis=1, keepdims=True), TREE.sizes)
    return fig


DRAWN: dict[str, Callable[[], plt.Figure]] = {
    "architecture": _architecture,
    "density": _density,
    "arcs": _arcs,
    "lorenz": _lorenz,
    "histograms": _histograms,
    "attention": _attention,
}


def wordless(fig: plt.Figure) -> plt.Figure:
    """Without words nothing depends on a font, neither what is drawn nor where the layout puts it."""
    mpl.rcParams["savefig.bbox"] = "standard"  # within the style of one test
    for ax in fig.axes:
        ax.tick_params(which="both", **{f"label{side}": False for side in ("left", "right", "top", "bottom")})
        if legend := ax.get_legend():
            legend.set_visible(False)
    for text in fig.findobj(mpl.text.Text):
        text.set_visible(False)
    return fig


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.mpl_image_compare(style=HOUSE, tolerance=TOLERANCE, savefig_kwargs=SAVED, baseline_dir="baseline")
def test_image(name: str) -> plt.Figure:
    return wordless(DRAWN[name]())


def distance(name: str, folder: Path) -> float:
    """How far a figure is now from its kept image, as the comparison counts it."""
    found = compare_images(str(BASELINE / f"test_image_{name}.png"), _rendered(name, folder), tol=0, in_decorator=True)
    return found["rms"] if found else 0.0


def _rendered(name: str, folder: Path) -> str:
    fig = wordless(DRAWN[name]())
    fig.savefig(folder / f"{name}.png", **SAVED)
    return str(folder / f"{name}.png")


def test_images_are_small_and_all_of_them_are_compared(pytestconfig: pytest.Config) -> None:
    kept = sorted(BASELINE.glob("*.png"))
    assert [path.stem for path in kept] == sorted(f"test_image_{name}" for name in DRAWN)
    assert max(path.stat().st_size for path in kept) <= 30_000
    assert pytestconfig.getoption("--mpl"), "pyproject.toml gives pytest --mpl, without which nothing is compared"


@pytest.mark.usefixtures("fresh_style")
@pytest.mark.parametrize("name", DRAWN)
def test_another_font_is_no_difference(name: str, tmp_path: Path) -> None:
    mpl.rcParams.update({"font.family": "DejaVu Serif", "font.size": 9.5, "mathtext.fontset": "cm"})
    assert distance(name, tmp_path) <= TOLERANCE


def _move(monkeypatch: pytest.MonkeyPatch) -> None:
    box = architecture.PLACES["text encoder"]
    monkeypatch.setitem(architecture.PLACES, "text encoder", box.moved(x=-0.06))


def _recolour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(figures.LEVEL_COLOURS, "country", figures.CONTINENT_COLOURS["North America"])


def _add_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "CLIPS", CLIPS + np.array([200, 0, 0, 0, 0, 0]))


def _add_city(monkeypatch: pytest.MonkeyPatch) -> None:
    cities = _spread().cities.copy()
    cities[cities.argmin()] += 1500
    monkeypatch.setitem(globals(), "_spread", lambda tree=TREE: ClassCounts("Made up", "clips", tree, cities, False))


def _grey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "LAND", figures.PAPERS_OWN)


@pytest.mark.usefixtures("fresh_style")
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("architecture", _move),
        ("architecture", _recolour),
        ("density", _add_clips),
        ("density", _grey),
        ("arcs", _add_clips),
        ("histograms", _recolour),
        ("histograms", _add_city),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_change_is_noticed(
    name: str, change: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    assert distance(name, tmp_path) > 2 * TOLERANCE
