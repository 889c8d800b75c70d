"""The data set's own figures: where its samples are, how many each class has, and how evenly they are spread.

Fig. 2 (`density_maps`), Fig. 3 (`bars`), Fig. 4 (`histograms`) and the supplement's Fig. 4 (`lorenz_curves`), all from
`ClassCounts`. Each returns the figure and a frame of what it plots. The pictures are in `sheets`.
"""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from cityguessr import paper
from cityguessr.base.errors import InputError
from cityguessr.data.counts import NO_SEQUENCES, PLURALS, TITLES, ClassCounts
from cityguessr.figures import maps
from cityguessr.figures.style import CONTINENT_COLOURS, LEVEL_COLOURS, MUTED, REFERENCE, TEXT
from cityguessr.measures import inequality
from cityguessr.measures.sphere import EARTH_RADIUS_KM, great_circle_km, kernel_density
from cityguessr.taxonomy import LEVELS

_MOST_BINS = 60
_LONGEST_GROUP = 64  # cities of one continent in a column of the bar chart
_FEW = 8  # continents that a histogram can name


# --- Fig. 2 -----------------------------------------------------------------------------------------------------------


def reach(latlon: ArrayLike, radius_km: float, step_deg: float = 0.5) -> float:
    """How much of the globe lies within `radius_km` of one of the places (n, 2) degrees, in millions of km2."""
    latlon = np.asarray(latlon, dtype=float)
    lat = np.arange(-90 + step_deg / 2, 90, step_deg)
    near = np.zeros((len(lat), 2 * len(lat)), dtype=bool)
    grid = np.stack(np.meshgrid(lat, np.arange(-180 + step_deg / 2, 180, step_deg), indexing="ij"), axis=-1)
    for place in latlon[np.isfinite(latlon).all(axis=1)]:
        band = np.abs(lat - place[0]) <= np.degrees(radius_km / EARTH_RADIUS_KM) + step_deg
        near[band] |= great_circle_km(grid[band], place) <= radius_km
    half = np.radians(step_deg) / 2
    cell = EARTH_RADIUS_KM**2 * 2 * half * (np.sin(np.radians(lat) + half) - np.sin(np.radians(lat) - half))
    return float((near * cell[:, None]).sum() / 1e6)


def density_maps(spreads: Mapping[str, ClassCounts | None], radius_km: float = 400) -> tuple[Figure, pd.DataFrame]:
    """Where the samples of two data sets are (Fig. 2): soft blobs of one size in km, one colour scale for both.

    One scale in samples per 1000 km2 shows at once how far a data set reaches and how much it has there. Cities whose
    place is not known are not drawn, and the map says how many.

    Returns the figure and a frame with one row per city: dataset, city, latitude, longitude, samples.
    """
    fig = plt.figure(figsize=(7.2, 7.1), layout="constrained")
    axes = [maps.world(fig.add_subplot(2, 1, row, projection=maps.projection())) for row in (1, 2)]
    lines, drawn = [], []
    for ax, spread in zip(axes, spreads.values(), strict=True):
        if spread is None:
            ax.set_title(TITLES["msls"])
            _explain(ax, NO_SEQUENCES)
            continue
        latlon = spread.taxonomy.latlon.numpy()
        known = np.isfinite(latlon).all(axis=1) & (spread.cities > 0)
        where, number = latlon[known], spread.cities[known]
        if len(where):
            drawn.append((ax, where, number))
        hidden = spread.total - int(number.sum())
        missing = f"\n({hidden:,} of cities without a known place not drawn)" if hidden else ""
        ax.set_title(f"{spread.name}: {spread.total:,} {spread.unit} from {spread.present('city')} cities{missing}")
        area = f"{reach(where, radius_km):.0f} million km² lie\nwithin {radius_km:,.0f} km of a sample"
        ax.text(0.49, 0.03, area, transform=ax.transAxes, ha="center", fontsize=8, gid="reach")  # the South Atlantic
        places = {"latitude": latlon[:, 0], "longitude": latlon[:, 1], "samples": spread.cities}
        lines.append(pd.DataFrame({"dataset": spread.name, "city": spread.taxonomy.names["city"]} | places))
    if not drawn:
        raise InputError("no city has a known place: a map needs coordinates (columns lat and lon of the label tree)")
    top = max(kernel_density(where, number, radius_km).values.max() for _, where, number in drawn)
    for ax, where, number in drawn:
        scale = maps.density(ax, where, number, radius_km, vmax=float(top), label=None)
        maps.points(ax, where, sizes=1.5, colours=TEXT, alpha=0.55, linewidths=0)
    maps.colour_bar(scale, axes, "samples per 1000 km² (square-root scale, the same for both maps); dots are cities")
    return fig, pd.concat(lines, ignore_index=True)


# --- Fig. 3 -----------------------------------------------------------------------------------------------------------


def bars(spread: ClassCounts, columns: int = 3) -> tuple[Figure, pd.DataFrame]:
    """Samples of every city as horizontal bars, by continent and from the most to the fewest (Fig. 3).

    A full page of print; all bars have one scale, and the line behind them is the mean over all cities. A continent
    stays in one column unless it has more than 64 cities.

    Returns the figure and a frame with one row per bar, in the order of the drawing: continent, city, samples.
    """
    names, tree = spread.taxonomy.names, spread.taxonomy.ancestors["continent"].numpy()
    order = sorted(range(len(spread.cities)), key=lambda city: (-spread.cities[city], names["city"][city]))
    groups = []
    for continent in np.argsort(-np.bincount(tree, minlength=len(names["continent"])), kind="stable"):
        cities = [city for city in order if tree[city] == continent]
        for start in range(0, len(cities), _LONGEST_GROUP):
            heading = names["continent"][continent] + (", continued" if start else f" ({len(cities)} cities)")
            groups.append((int(continent), heading, cities[start : start + _LONGEST_GROUP]))
    filled: list[list[tuple[int, str, list[int]]]] = [[] for _ in range(min(columns, len(groups)))]
    for group in groups:  # the largest first, each into the column with most room
        min(filled, key=_height).append(group)
    height = max(map(_height, filled))
    fig, axes = plt.subplots(1, len(filled), figsize=(7.2, 1.0 + 0.132 * height), squeeze=False, layout="constrained")
    fig.get_layout_engine().set(w_pad=0.02, wspace=0.01)
    most, mean = int(spread.cities.max()), spread.cities.mean()
    for ax, column in zip(axes[0], filled, strict=True):
        line, ticks = 0.0, {}
        for continent, heading, cities in column:
            name = names["continent"][continent]
            out = ax.get_yaxis_transform()  # a little to the left of the bars, or the longest would leave the page
            ax.text(-0.12, line, heading, va="center", fontsize=8, fontweight="bold", gid="heading", transform=out)
            at = line + 1 + np.arange(len(cities))
            colour = CONTINENT_COLOURS.get(name, f"C{continent}")
            ax.barh(at, spread.cities[cities], height=0.72, color=colour, gid=name)
            for y, city in zip(at, cities, strict=True):
                place = spread.cities[city] + 0.02 * most, y
                number = ax.text(*place, f"{spread.cities[city]:,}", va="center", fontsize=7)
                number.set_bbox({"facecolor": "white", "linewidth": 0, "pad": 0.6})  # clear of the mean's line
                ticks[float(y)] = textwrap.shorten(names["city"][city], 24, placeholder=" …")
            ax.plot([mean, mean], [at[0] - 0.5, at[-1] + 0.5], color=REFERENCE, lw=1, zorder=0)
            line = at[-1] + 2
        ax.set_yticks(list(ticks), list(ticks.values()), fontsize=7)
        ax.set(ylim=(height - 1, -1), xlim=(0, 1.2 * most))
        ax.tick_params(axis="y", length=0, pad=2)
        ax.tick_params(axis="x", labelsize=7.5)
        ax.locator_params(axis="x", nbins=4, integer=True)
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.set_xlabel(spread.unit, fontsize=8)
    fig.suptitle(
        f"{spread.name}: {spread.unit} of each of {len(order)} cities, {int(spread.cities.min()):,} to {most:,} "
        f"(line: the mean, {_figure(mean)})",
        x=0.01, ha="left", fontsize=10,
    )  # fmt: skip
    drawn = [(names["continent"][k], city) for column in filled for k, _, cities in column for city in cities]
    rows = [(continent, names["city"][city], spread.cities[city]) for continent, city in drawn]
    return fig, pd.DataFrame(rows, columns=["continent", "city", "samples"])


def _height(column: Sequence[tuple[int, str, list[int]]]) -> int:
    """Lines that a column of the bar chart takes: a heading and a gap for each group."""
    return sum(len(cities) + 2 for _, _, cities in column)


# --- Fig. 4 -----------------------------------------------------------------------------------------------------------


def bin_edges(counts: ArrayLike) -> NDArray:
    """The bins of a histogram of counts: from 0, of one round width, at most 60.

    The same rule at every level: the width is that of Freedman and Diaconis (1981), 2 IQR / n^(1/3), rounded down to 1,
    2 or 5 times a power of ten. A count on an edge belongs to the bin above.
    """
    counts = np.asarray(counts)
    wanted = 2 * np.subtract(*np.percentile(counts, (75, 25))) / len(counts) ** (1 / 3)
    widths = [unit * 10**power for power in range(16) for unit in (1, 2, 5)]
    width = max([width for width in widths if width <= wanted], default=1)
    width = next(other for other in widths if other >= width and counts.max() // other < _MOST_BINS)
    return np.arange(counts.max() // width + 2) * width


def summary(spread: ClassCounts) -> pd.DataFrame:
    """One row per level: classes, fewest, most, mean, median, and the bounds of the fullest bin of Fig. 4 (`mode_from`,
    `mode_below`; the first of several that are equally full), in samples per class."""
    rows = []
    for level in LEVELS:
        counts = spread.counts[level]
        edges = bin_edges(counts)
        fullest = int(np.histogram(counts, edges)[0].argmax())
        rows.append({
            "level": level, "classes": len(counts), "fewest": counts.min(), "most": counts.max(),
            "mean": counts.mean(), "median": float(np.median(counts)),
            "mode_from": edges[fullest], "mode_below": edges[fullest + 1],
        })  # fmt: skip
    return pd.DataFrame(rows)


def histograms(spread: ClassCounts) -> tuple[Figure, pd.DataFrame]:
    """How many classes of each level have how many samples, with their mean and median (Fig. 4).

    Returns the figure and a frame with one row per bin: level, low, high (samples per class, low <= n < high), classes.
    """
    fig, axes = plt.subplots(2, 2, figsize=(7.2, 5.0), layout="constrained")
    rows = []
    for ax, level in zip(axes.flat, LEVELS, strict=True):
        counts = spread.counts[level]
        edges = bin_edges(counts)
        classes = np.histogram(counts, edges)[0]
        ax.bar(edges[:-1], classes, np.diff(edges), align="edge", color=LEVEL_COLOURS[level], ec="white", lw=0.4)
        for style, name, value in (("-", "mean", counts.mean()), ("--", "median", np.median(counts))):
            ax.axvline(value, color=TEXT, lw=1.1, ls=style, label=f"{name} {_figure(value)}")
        for low, height, i in _blocks(counts, edges) if level == LEVELS[-1] and len(counts) <= _FEW else ():
            name = spread.taxonomy.names[level][i]
            text = ax.text(low + edges[1] / 2, height + 0.5, name if len(edges) < 5 else name.replace(" ", "\n"))
            text.set(ha="center", va="center", fontsize=7, color="white")
            text.set_path_effects([withStroke(linewidth=2.5, foreground=LEVEL_COLOURS[level])])
        ax.set_title(f"{len(counts)} {PLURALS[level]}")
        ax.set(xlabel=f"{spread.unit} of a {level} (bins of {edges[1]:,})", xlim=(0, edges[-1]))
        ax.set_ylabel(f"number of {PLURALS[level]}")
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        beside_title = {"loc": "lower right", "bbox_to_anchor": (1.02, 0.98), "ncols": 2, "fontsize": 7}
        ax.legend(**beside_title, handlelength=1.4, handletextpad=0.4, columnspacing=0.8)
        bins = {"level": level, "low": edges[:-1], "high": edges[1:], "classes": classes}
        rows.append(pd.DataFrame(bins))
    fig.suptitle(f"{spread.name}: how many {spread.unit} the classes of each level have", x=0.01, ha="left")
    return fig, pd.concat(rows, ignore_index=True)


def _blocks(counts: NDArray, edges: NDArray) -> list[tuple[float, int, int]]:
    """Classes stacked in their bins, those with fewest samples below: (lower edge, place from the ground, class)."""
    blocks, filled = [], dict.fromkeys(edges.tolist(), 0)
    for i in np.argsort(counts, kind="stable").tolist():
        low = int(edges[counts[i] // edges[1]])
        blocks.append((low, filled[low], i))
        filled[low] += 1
    return blocks


# --- Fig. S4 ----------------------------------------------------------------------------------------------------------


def lorenz_curves(spreads: Mapping[str, ClassCounts | None]) -> tuple[Figure, pd.DataFrame]:
    """The Lorenz curves of two data sets with what Gini and Hoover measure on them (supplement, Fig. 4).

    In each panel the shaded area is half the Gini coefficient and the upright bar is as long as the Hoover index; the
    other data set's curve is there in grey. The paper's values stand beside.

    Returns the figure and a frame with one row per point: dataset, x, y (shares in [0, 1]).
    """
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.9), sharey=True, layout="constrained")
    colours = {"cityguessr68k": LEVEL_COLOURS["city"], "msls": TEXT}
    curves = {key: inequality.lorenz(spread.cities) for key, spread in spreads.items() if spread is not None}
    for ax, (key, spread) in zip(axes, spreads.items(), strict=True):
        ax.plot([0, 1], [0, 1], color=MUTED, lw=1, ls="--")
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="share of the cities, the smallest first")
        ax.set_xticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
        ax.set_yticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
        ax.text(0.36, 0.385, "even", rotation=45, rotation_mode="anchor", color=MUTED, fontsize=8)
        if spread is None:
            ax.set_title(TITLES["msls"])
            _explain(ax, NO_SEQUENCES)
            continue
        for other in curves.keys() - {key}:
            ax.plot(*curves[other], color=REFERENCE, lw=1.2)
            ax.text(0.98, 0.03, f"grey: {spreads[other].name}", ha="right", color=MUTED, fontsize=8)
        x, y = curves[key]
        ax.fill_between(x, y, x, color=colours[key], alpha=0.16, lw=0)
        ax.plot(x, y, color=colours[key], lw=2, clip_on=False)
        widest = int((x - y).argmax())
        ax.plot([x[widest]] * 2, [y[widest], x[widest]], color=colours[key], lw=3, solid_capstyle="butt", gid="hoover")
        gini, hoover = inequality.gini(spread.cities), inequality.hoover(spread.cities)
        given = "drawn to the paper's" if spread.synthetic else "paper"  # MiniWorld's counts are drawn from this index
        indices = (
            f"Gini {gini:.2f} ({given} {_claim(key, 'gini'):.2f})\ntwice the shaded area\n\n"
            f"Hoover {hoover:.2f} (paper {_claim(key, 'hoover'):.2f})\nlength of the bar"
        )
        ax.text(0.04, 0.96, indices, va="top", fontsize=8.5, transform=ax.transAxes, linespacing=1.35)
        ax.set_title(f"{spread.name}, {len(spread.cities)} cities")
    axes[0].set_ylabel("share of the samples that they hold")
    fig.suptitle("How evenly are the samples spread over cities?", x=0.01, ha="left")
    rows = [pd.DataFrame({"dataset": spreads[key].name, "x": x, "y": y}) for key, (x, y) in curves.items()]
    return fig, pd.concat(rows, ignore_index=True)


def inequality_table(spreads: Mapping[str, ClassCounts | None]) -> pd.DataFrame:
    """Gini and Hoover beside the paper's: columns dataset, index, paper, measured (NaN without samples)."""
    rows = [
        (key, index, _claim(key, index), float("nan") if spread is None else getattr(inequality, index)(spread.cities))
        for index in ("gini", "hoover")
        for key, spread in spreads.items()
    ]
    return pd.DataFrame(rows, columns=["dataset", "index", "paper", "measured"])


def _claim(dataset: str, quantity: str) -> float:
    numbers = paper.dataset()
    return float(numbers.loc[(numbers["dataset"] == dataset) & (numbers["quantity"] == quantity), "value"].iloc[0])


def _figure(value: float) -> str:
    """A number of samples with one decimal where it is small."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _explain(ax: Axes, text: str) -> None:
    """Why a panel is empty."""
    words = ax.text(0.5, 0.5, textwrap.fill(text, 44), transform=ax.transAxes, ha="center", va="center", color=MUTED)
    words.set_bbox({"facecolor": "white", "linewidth": 0, "pad": 4})
