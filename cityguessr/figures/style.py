"""The style of every figure: colours with one meaning each, and matplotlib's style sheet.

Sizes are meant for print: make a figure 7.2 inches wide for a full text width or 3.5 for a column, and no text on it
falls under 7 points.
"""

from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap

from cityguessr.taxonomy import LEVELS

# Okabe and Ito's colours (Color Universal Design, 2008), chosen to stay apart with any common colour blindness.
LEVEL_COLOURS = dict(zip(LEVELS, ("#D55E00", "#E69F00", "#009E73", "#0072B2"), strict=True))
"""Level -> colour, from the warm city to the cool continent."""

# Paul Tol's "bright" scheme (technical note SRON/EPS/TN/09-002), its cyan darkened for small marks on white.
CONTINENT_COLOURS = {
    "Africa": "#CCBB44",
    "Asia": "#EE6677",
    "Europe": "#4477AA",
    "North America": "#228833",
    "Oceania": "#AA3377",
    "South America": "#44BBDD",
}
"""Continent -> colour, by the names of the built-in tree."""

# Paul Tol's "muted" scheme, the three that lie farthest from the levels' colours.
SERIES = ("#332288", "#44AA99", "#882255")
"""For what is neither a level nor a continent: splits, losses, one thing beside another (the style sheet's cycle)."""

TEXT, MUTED, LAND, PAPERS_OWN = "#222222", "#6f6f6f", "#dcdcdc", "#8c8c8c"
"""Text; secondary text; the one grey of maps; the paper's own numbers."""

TITLE = "title"
"""The group id of a text that is its figure's title, for those who cannot see it."""

DOUBTFUL = "#C58A00"
"""What is neither this nor that, between the first and the last of `SERIES`: a dark yellow."""

REFERENCE, GUIDE = "#b5b5b5", "#d5d5d5"
"""A curve or bar that another one is seen against; lines that guide the eye."""


def use_style() -> None:
    """Apply the project's style sheet to matplotlib, for this process."""
    with resources.as_file(resources.files("cityguessr.figures") / "cityguessr.mplstyle") as path:
        plt.style.use(path)


def sequential() -> Colormap:
    """The sequential colour map of densities and rates: perceptually even, light to dark, pale yellow to violet."""
    # magma backwards, without its ends: neither white on white paper nor black.
    colours = colormaps["magma_r"](np.linspace(0.06, 0.9, 256))
    return LinearSegmentedColormap.from_list("cityguessr", colours)
