"""How far several systems are from where the same clips were filmed, as cumulative curves."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from cityguessr.base.errors import InputError
from cityguessr.figures.style import GUIDE, MUTED, SERIES
from cityguessr.measures.metrics import THRESHOLDS_KM

RADII = {km: name for name, km in THRESHOLDS_KM.items()}
"""The field's radii of a city, a region, a country and a continent."""

_TITLES = {"all": "All clips", "seen": "Clips of seen videos", "unseen": "Clips of unseen videos"}
_COLUMNS = ("system", "clips_of", "km", "share", "low", "high")
_STYLES = ("-", "--", "-.")


def error_curves(curves: pd.DataFrame, title: str, radii: Mapping[float, str] = RADII, least_km: float = 0.3) -> Figure:
    """The share of clips within any distance: a panel for each part of the clips, a line for each system.

    A line is the mean over seeds, the band around it from the least to the most that a seed has.

    Args:
        curves: as `KmErrors.curves` gives them; with seen and unseen videos apart, the panel of all is left out.
        title: what to see.
        radii: distances in km that are marked -> what each is called, which may be empty.
        least_km: where the axis begins.

    Raises InputError for a frame without these columns, and for more systems than there are colours.
    """
    if absent := [name for name in _COLUMNS if name not in curves.columns]:
        raise InputError(f"curves have the columns {', '.join(_COLUMNS)}; these have no {', '.join(absent)}")
    systems, parts = (list(dict.fromkeys(curves[name])) for name in ("system", "clips_of"))
    if len(systems) > len(SERIES):
        raise InputError(f"{len(systems)} systems: draw at most {len(SERIES)} in one figure")
    parts = [part for part in parts if part != "all"] or parts
    fig, axes = plt.subplots(
        1, len(parts), figsize=(7.2 if len(parts) > 1 else 4.6, 3.1), sharey=True, squeeze=False, layout="constrained"
    )
    for ax, part in zip(axes[0], parts, strict=True):
        here = curves[curves["clips_of"] == part]
        for km, name in radii.items():
            ax.axvline(km, color=GUIDE, lw=0.8, zorder=1)
            reached = here.loc[here["km"] <= km, "high"].max()
            at = 1.5 if not reached < 50 else reached + 3  # below the curves where they are high, else above them
            text = f"{name}, {km:,g} km" if name else f"{km:,g} km"
            ax.text(km, at, text, color=MUTED, size=7, rotation=90, ha="right", va="bottom")
        for system, colour, style in zip(systems, SERIES, _STYLES, strict=False):
            line = here[(here["system"] == system) & (here["km"] >= least_km)]
            ax.fill_between(line["km"], line["low"], line["high"], color=colour, alpha=0.2, lw=0)
            ax.plot(line["km"], line["share"], style, color=colour, label=system)
        ax.set(xscale="log", xlim=(least_km, 20_016), ylim=(0, 100), xlabel="error (km)")
        ax.set_title(_TITLES.get(part, part) if len(parts) > 1 else "", fontsize=9)
        ax.xaxis.set_major_formatter(lambda km, _: f"{km:,g}")
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("within that distance (%)")
    axes[0, 0].legend(loc="upper left")
    fig.suptitle(title, x=0.01, ha="left")
    return fig
