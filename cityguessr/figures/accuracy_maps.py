"""Where on Earth the answers are right, where they go when they are wrong, and how far off they are.

The figures of the notebook on world maps: each takes a data frame of `evaluation.confusions`, or plain arrays, and
draws just what is in it.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError
from cityguessr.figures import map_labels, maps
from cityguessr.figures.style import CONTINENT_COLOURS, LEVEL_COLOURS, MUTED, REFERENCE, TEXT
from cityguessr.measures.metrics import THRESHOLDS_KM
from cityguessr.measures.sphere import great_circle_km
from cityguessr.taxonomy import LEVELS, Taxonomy

FEW = 5  # clips; below, a city's accuracy says next to nothing
HALF_WAY_KM = 20_038.0  # half the Earth's circumference, at the equator: no two places are farther apart
BEND, OTHERS = 0.06, 400  # how far arcs bulge; how many pale ones are drawn at most
FINEST = {**{level: f"{level} right" for level in LEVELS}, "nowhere": "continent wrong"}


def correct_predictions(cities: pd.DataFrame, radius_km: float = 400) -> Figure:
    """Fig. S5: the density of the clips, and of those that are right at each level, on one colour scale.

    Args:
        cities: from `confusions.by_city`; cities without coordinates are left out of the maps, not of the shares.
        radius_km: of a blob on the ground.
    """
    placed = _placed(cities)
    latlon = placed[["latitude", "longitude"]].to_numpy()
    fig = plt.figure(figsize=(7.2, 6.9), layout="constrained")
    grid = fig.add_gridspec(3, 2, height_ratios=[1.62, 1, 1])
    places = [grid[0, :], grid[1, 0], grid[1, 1], grid[2, 0], grid[2, 1]]
    axes = [maps.world(fig.add_subplot(place, projection=maps.projection())) for place in places]
    top = maps.density(axes[0], latlon, placed["clips"], radius_km, label=None)
    total = int(cities["clips"].sum())
    axes[0].set_title(f"The data: {total:,} validation clips")
    for ax, level in zip(axes[1:], reversed(LEVELS), strict=True):
        weights = placed[f"right_{level}"]
        maps.density(ax, latlon, weights, radius_km, vmax=top.norm.vmax, label=None)
        share = 100 * cities[f"right_{level}"].sum() / total
        ax.set_title(f"{level.capitalize()} right: {share:.1f} %", fontsize=9)
    maps.colour_bar(top, axes, "clips per million km² (square-root scale, one for all five maps)", scale=1000)
    fig.suptitle("Correct predictions thin out from the continent to the city", x=0.01, ha="left")
    return fig


def city_accuracy(cities: pd.DataFrame, continents: pd.DataFrame, level: str = "city", named: int = 14) -> Figure:
    """Accuracy in each city on a map, and below it that of each continent, where clips are many enough to compare.

    A dot's area is the city's clips; its colour the accuracy drawn towards the overall one (`confusions.shrink`).
    Cities of `FEW` clips and more have a dark rim.

    Args:
        cities: from `confusions.by_city`.
        continents: from `confusions.by_class`; its first column is the class, its last class stands apart.
        level: whose accuracy the map shows.
        named: so many of the cities with most clips are named; of cities with as many, the ones that stand out most.
    """
    overall = 100 * cities[f"right_{level}"].sum() / cities["clips"].sum()
    placed = _placed(cities).sort_values("clips", ascending=False, kind="stable")  # small dots stay on top
    clips, latlon = placed["clips"].to_numpy(), placed[["latitude", "longitude"]].to_numpy()
    shares = placed[f"shrunken_{level}"]
    size = 240 / clips.max()  # points^2 a clip
    fig = plt.figure(figsize=(7.2, 6.4), layout="constrained")
    grid = fig.add_gridspec(2, 1, height_ratios=[1.8, 1])
    upper = maps.world(fig.add_subplot(grid[0], projection=maps.projection()))
    rims = [TEXT if count >= FEW else "white" for count in clips]
    dots = maps.points(
        upper, latlon, shares, size * clips + 6, edgecolors=rims, linewidths=0.8,
        vmin=0, vmax=top_of_scale(shares),
    )  # fmt: skip
    few = int((clips < FEW).sum())
    rough = f"; {few} of {len(clips)} cities have fewer than {FEW} clips" if few else ""
    upper.set_title(f"Accuracy city by city{rough}")
    maps.colour_bar(dots, upper, f"{level} accuracy (%), drawn towards the overall {overall:.1f} % where clips are few")
    steps = sorted({1, max(1, round(clips.max() / 4)), int(clips.max())})
    key = [_dot(size * step + 6, TEXT if step >= FEW else "white", _count(step)) for step in steps]
    key.append(_dot(40, TEXT, f"dark rim: {FEW} clips or more"))
    upper.legend(handles=key, loc="lower left", labelspacing=0.8, fontsize=7, handletextpad=0.4, borderaxespad=0)
    _pooled(fig.add_subplot(grid[1]), continents)
    points = maps.project(latlon)
    first = np.lexsort([-(shares - overall).abs(), -clips])[:named]
    map_labels.place(upper, points[first], list(placed["city"].iloc[first]), size=7, avoid=points)
    return fig


def top_of_scale(shares: ArrayLike) -> int:
    """Where the colours of accuracies end, in percent: the next multiple of 20, the same on every map of these shares.

    Args:
        shares: (n,) in percent; NaN is a city without clips.
    """
    return int(max(20, 20 * np.ceil(np.nanmax(np.asarray(shares, float)) / 20)))


def overlap_by_chance(overlap: pd.DataFrame) -> Figure:
    """The overlap of right clips with the data at each level, beside the range that shuffling gives.

    Args:
        overlap: from `confusions.overlap`; a level where no clip is right has no dot.
    """
    fig, ax = plt.subplots(figsize=(7.2, 2.1), layout="constrained")
    rows = overlap.iloc[::-1].to_dict("records")  # drawn upwards: the continent below, the city on top
    for y, row in enumerate(rows):
        chance = {"color": REFERENCE, "lw": 7, "solid_capstyle": "butt", "zorder": 1}
        ax.plot([row["low"], row["high"]], [y, y], label=None if y else "95 % of the shuffles", **chance)
        ax.plot(row["expected"], y, "|", color=TEXT, ms=9, label=None if y else "their mean")
        ax.plot(row["overlap"], y, "o", color=LEVEL_COLOURS[row["level"]], ms=6, zorder=3)
    handles, labels = ax.get_legend_handles_labels()
    handles.append(Line2D([], [], ls="", marker="o", ms=6, color=MUTED))
    ax.legend(handles, [*labels, "the right clips"], loc="center left", bbox_to_anchor=(1, 0.5))
    below = int((overlap["overlap"] < overlap["low"]).sum())
    where = "at every level" if below == len(rows) else f"at {below} of {len(rows)} levels" if below else "at no level"
    ax.set_title(f"Right clips overlap with the data less than chance allows {where}")
    ax.set_yticks(range(len(rows)), [row["level"] for row in rows])
    ax.set(xlabel="overlap with the map of the data (%)", ylim=(-0.6, len(rows) - 0.4), xmargin=0.04)
    ax.grid(axis="x")
    return fig


def confusion_arcs(pairs: pd.DataFrame, taxonomy: Taxonomy, count: int = 30, named: int = 12) -> Figure:
    """Where wrong answers go: confusions of cities as arcs from the truth to the answer, as wide as their clips.

    The commonest have the colour of the true city's continent and an arrowhead at the answer; the others are thin and
    grey. An arc bulges to the right of its direction, so that there and back stay apart. A dark dot's area is the wrong
    answers that a city draws to itself; a small dot in its colour is where a coloured arc begins.

    Args:
        pairs: from `confusions.commonest` with count=None; pairs without a distance, one of whose cities has no
            coordinates, are left out.
        count: how many are coloured at most; of one clip none is, unless there are no others.
        named: both ends of so many confusions are named, and half as many of the cities that draw most wrong answers.
    """
    pairs = pairs[pairs["km"].notna()]
    common = coloured(pairs, count)
    rest = pairs.drop(common.index).head(OTHERS)
    places, names = taxonomy.latlon.numpy(), taxonomy.names["continent"]
    fig = plt.figure(figsize=(7.2, 4.0), layout="constrained")
    ax = maps.world(fig.add_subplot(projection=maps.projection()))
    maps.paths(
        ax, places[rest["truth"]], places[rest["answer"]], colour=MUTED, max_width=0.45, alpha=0.35, bend=BEND, zorder=3
    )
    continents = taxonomy.ancestors["continent"].numpy()[common["truth"]]
    colours = [CONTINENT_COLOURS.get(names[i], MUTED) for i in continents]
    maps.paths(
        ax, places[common["truth"]], places[common["answer"]], common["clips"], colours, 2.4,
        heads=True, bend=BEND, alpha=0.9, zorder=4,
    )  # fmt: skip
    drawn = np.bincount(pairs["answer"], pairs["clips"], taxonomy.size("city"))
    order = [i for i in np.argsort(-drawn, kind="stable") if drawn[i] > 0]
    size = 110 / max(drawn.max(), 1)
    maps.points(ax, places[order], sizes=size * drawn[order] + 2, colours=TEXT, alpha=0.8, linewidths=0.5, zorder=3.5)
    maps.points(ax, places[common["truth"]], sizes=13, colours=colours, zorder=4.5)  # where the coloured arcs begin
    total = int(pairs["clips"].sum())
    several = f"the {len(common)} commonest confusions" if len(common) > 1 else "the commonest confusion"
    ax.set_title(f"Where {total:,} wrong answers go, in colour {several}" if total else "There is no wrong answer")
    present = sorted(set(continents.tolist()), key=lambda i: -common["clips"].to_numpy()[continents == i].sum())
    tones = {i: CONTINENT_COLOURS.get(names[i], MUTED) for i in present}
    key = [Line2D([], [], color=tone, lw=2, label=f"from {names[i]}") for i, tone in tones.items()]
    key.append(Line2D([], [], color=MUTED, lw=0.6, alpha=0.6, label="any other"))
    if len(order):
        key.append(_dot(size * drawn.max() + 2, "white", f"draws {int(drawn.max()):,} wrong answers", TEXT))
    ax.legend(handles=key, loc="lower left", fontsize=7, borderaxespad=0, handlelength=1.6, labelspacing=0.4)
    ends = [*order[: named // 2], *common[["truth", "answer"]].head(named).to_numpy().ravel()]
    ends = list(dict.fromkeys(int(i) for i in ends))
    points = maps.project(places[ends]).reshape(-1, 2)
    lines = [piece[::2] for arc in maps.arcs(places[common["truth"]], places[common["answer"]], BEND) for piece in arc]
    avoid = np.concatenate([maps.project(places[order]).reshape(-1, 2), *lines])
    map_labels.place(ax, points, [taxonomy.names["city"][i] for i in ends], size=7, avoid=avoid)
    return fig


def coloured(pairs: pd.DataFrame, count: int = 30) -> pd.DataFrame:
    """The commonest of some confusions, `count` at most: those of two clips and more, or, if there are none, of one."""
    several = pairs[pairs["clips"] > 1]
    return (pairs if several.empty else several).head(count)


def error_distances(km: ArrayLike, finest: ArrayLike, shuffled: Mapping[str, NDArray]) -> Figure:
    """How far the answers are from where the clips were taken: a histogram by what is right, and the running share.

    Args:
        km: (N,) distances, as from `measures.distances_km`; NaN, an unknown place, is left out.
        finest: (N,) the finest level that is right, 0 (city) to 3 (continent), 4 where none is.
        shuffled: `km` and `share`, (n,) each, from `dealt_out`: the running share of the same answers given to clips
            at random.

    Raises InputError where no distance is known, or the two do not match.
    """
    km, finest = np.asarray(km, float), np.asarray(finest)
    if km.shape != finest.shape or not np.isfinite(km).any():
        raise InputError(f"give one level per distance, one known at least; got {km.shape} and {finest.shape}")
    known = np.isfinite(km)
    table = distance_table(km, finest)
    edges = np.append(table["from_km"], table["to_km"].iloc[-1])
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.3), layout="constrained", width_ratios=[1.15, 1])
    below = np.zeros(len(table))
    for (name, words), colour in zip(FINEST.items(), [*LEVEL_COLOURS.values(), REFERENCE], strict=True):
        style = {"color": colour, "label": f"{words}: {table[name].sum():,}", "ec": "white", "lw": 0.4}
        left.bar(edges[:-1], table[name], np.diff(edges), below, align="edge", **style)
        below += table[name].to_numpy()
    left.set(title=f"Half of the answers are within {np.median(km[known]):,.0f} km", ylabel="clips", xscale="log")
    left.legend(title="finest level that is right: clips", loc="best", fontsize=7, alignment="left")
    left.set_ylim(0, 1.08 * below.max())
    values = np.sort(np.clip(km[known], edges[0], edges[-1]))
    right.step(values, 100 * np.arange(1, len(values) + 1) / len(values), where="post", color=TEXT, label="the answers")
    dashed = {"color": MUTED, "ls": (0, (4, 2)), "lw": 1.2, "label": "the same answers at random"}
    right.plot(shuffled["km"], 100 * shuffled["share"], **dashed)
    for (name, limit), colour in zip(THRESHOLDS_KM.items(), LEVEL_COLOURS.values(), strict=True):
        share = 100 * (km[known] <= limit).mean()
        right.plot([limit], [share], "o", color=colour, ms=5, zorder=5, label=f"{limit:,} km ({name}): {share:.1f} %")
    city = 100 * (km[known] <= THRESHOLDS_KM["city"]).mean()
    right.set(title=f"{city:.0f} % are within 25 km of the clip", ylabel="clips (%)", ylim=(0, 100), xscale="log")
    right.legend(loc="upper left", fontsize=7)
    for ax in (left, right):
        ax.set(xlabel="error (km, logarithmic)", xlim=(edges[0], edges[-1]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        ax.minorticks_off()
    return fig


def distance_table(km: ArrayLike, finest: ArrayLike) -> pd.DataFrame:
    """The histogram of `error_distances`: one row per bin, `from_km`, `to_km`, and clips by finest right level.

    Bins are equal on a logarithmic scale from 1 km to half the Earth's circumference; what is nearer is in the first.
    """
    km, finest = np.asarray(km, float), np.asarray(finest)
    edges = np.append(np.geomspace(1, 20_000, 26)[:-1], HALF_WAY_KM)
    placed = np.clip(km, edges[0], edges[-1])
    counts = {name: np.histogram(placed[(finest == i) & np.isfinite(km)], edges)[0] for i, name in enumerate(FINEST)}
    return pd.DataFrame({"from_km": edges[:-1], "to_km": edges[1:]} | counts)


def dealt_out(answers: NDArray, places: NDArray, taxonomy: Taxonomy, steps: int = 120) -> dict[str, NDArray]:
    """What the same answers would reach if the clips got them at random: every answer with every place.

    Args:
        answers: (N,) city ids.
        places: (N, 2) degrees of the clips, NaN where unknown.

    Returns `km` (steps,), from 1 km to half the Earth's circumference, and `share` (steps,) in [0, 1] within it.
    """
    cities, counts = np.unique(answers, return_counts=True)
    limits = np.geomspace(1, HALF_WAY_KM, steps)
    within, total = np.zeros(steps), 0.0
    for centre, count in zip(taxonomy.latlon.numpy()[cities], counts, strict=True):
        distances = great_circle_km(centre, places)
        distances = np.sort(distances[np.isfinite(distances)])
        within += count * np.searchsorted(distances, limits, side="right")
        total += count * len(distances)
    return {"km": limits, "share": within / max(total, 1)}


def _pooled(ax: Axes, frame: pd.DataFrame) -> None:
    """Accuracy of classes at the four levels, with intervals; one line per class."""
    of = frame.columns[0]
    names = list(dict.fromkeys(frame[of]))
    counts = frame.drop_duplicates(of).set_index(of)["clips"]
    for number, level in enumerate(LEVELS):
        rows = frame[frame["level"] == level].set_index(of).reindex(names)
        y = np.arange(len(names)) + 0.17 * (number - 1.5)
        ax.hlines(y, rows["low"], rows["high"], color=LEVEL_COLOURS[level], lw=1.6)
        ax.plot(rows["accuracy"], y, "o", color=LEVEL_COLOURS[level], ms=4)
    ax.axhline(len(names) - 1.5, color=MUTED, lw=0.6)
    ax.set_yticks(np.arange(len(names)), [f"{name} ({counts[name]:,})" for name in names])
    ax.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 100), xlabel="accuracy (%), with 95 % intervals over source videos")
    ax.set_title(f"Accuracy of all clips of a {of} together (how many, in brackets)")
    handles = [Line2D([], [], marker="o", ms=4, color=colour, label=level) for level, colour in LEVEL_COLOURS.items()]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4)
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _placed(cities: pd.DataFrame) -> pd.DataFrame:
    """The cities that have clips and coordinates. Raises InputError where there is none."""
    placed = cities[(cities["clips"] > 0) & cities["latitude"].notna() & cities["longitude"].notna()]
    if placed.empty:
        raise InputError("no city has both clips and coordinates; add lat and lon to the label table")
    return placed


def _dot(area: float, edge: str, label: str, face: str = REFERENCE) -> Line2D:
    return Line2D([], [], ls="", marker="o", ms=area**0.5, mfc=face, mec=edge, mew=0.8, label=label)


def _count(clips: int) -> str:
    return f"{clips:,} clip" + ("" if clips == 1 else "s")
