"""Table 1: CityGuessr68k beside Mapillary, what the paper prints and what is counted here."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cityguessr import paper
from cityguessr.base import paths
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.counts import NO_SEQUENCES, TITLES, ClassCounts
from cityguessr.data.mapillary import MapillarySource
from cityguessr.tables.formats import Cell, Grid, Layout
from cityguessr.taxonomy import LEVELS
from cityguessr.training import profiles

NAMES = {dataset: TITLES[dataset] for dataset in ("msls", "cityguessr68k")}
"""The two data sets in the order of the paper's columns."""

LINES = {
    "samples": "Samples",
    "cities": "Cities",
    "states": "States or provinces",
    "countries": "Countries",
    "continents": "Continents",
    "consistent_length": "Consistent sequence length",
    "video": "Video sequence",
    "organised": "Uniformly organised",
    "resolution": "Frame resolution (pixels)",
}
"""The lines of Table 1: quantity -> what it is called here."""

_PAPER_SAYS = {"msls": "No", "cityguessr68k": "Yes"}  # Table 1: of length, video and organisation alike
_NOT_GIVEN = {
    "msls": NO_SEQUENCES,
    "cityguessr68k": "not run, because the folder of the release was not given (data_root)",
}
_NOT_COUNTED = "not counted: what was filmed as a video cannot be told from its frames"
_ABOUT = (
    "Mapillary's samples are its sequences of 15 frames or more; length, organisation and resolution are measured on "
    "those in cities that CityGuessr68k has too."
)
_NO_FRAMES = "not run, because none of the drawn clips has its frames on this disk"


def build(
    profile: str,
    spreads: Mapping[str, ClassCounts | None],
    listed: Mapping[str, ReleaseSource | MapillarySource | None],
    frames: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Table 1 beside what was counted.

    Samples and classes are counted in the spreads, length and resolution in the files on disk. A length is consistent
    where 98 of 100 clips are within a tenth of the median; a data set is uniformly organised where each sample has a
    folder of its own.

    Args:
        profile: what it was counted under.
        spreads, listed, frames: for "cityguessr68k" and "msls" the samples of each city, the source on disk (None where
            there is none) and `data.dimensions.measure` of its clips.

    Columns: table, dataset, quantity, label, paper, measured (texts, a bare number without thousands separators; empty
    where nothing was measured), profile, state (`agrees`, `differs`, `counted in MiniWorld`, `not run, because ...` or
    `not counted: ...`).
    """
    scale, rows = profiles.get(profile), []
    for name in NAMES:
        claims = _claims(name)
        for quantity, label in LINES.items():
            measured, state = _measured(name, quantity, spreads[name], listed[name], frames.get(name))
            if measured and not state:
                agrees = "agrees" if measured.split(":")[0] == claims[quantity] else "differs"
                state = "counted in MiniWorld" if scale.synthetic else agrees
            rows.append(("table1", name, quantity, label, claims[quantity], measured, profile, state))
    columns = ["table", "dataset", "quantity", "label", "paper", "measured", "profile", "state"]
    return pd.DataFrame(rows, columns=columns)


def _claims(name: str) -> dict[str, str]:
    """Quantity -> what the paper's Table 1 says of a data set."""
    numbers = paper.dataset()
    values = numbers[(numbers["where"] == "table1") & (numbers["dataset"] == name)].set_index("quantity")["value"]
    texts = {quantity: f"{values[quantity]:.0f}" for quantity in LINES if quantity in values}
    texts["resolution"] = f"{values['frame_width']:.0f}x{values['frame_height']:.0f}"
    return dict.fromkeys(LINES, _PAPER_SAYS[name]) | texts


def _measured(
    name: str,
    quantity: str,
    spread: ClassCounts | None,
    source: ReleaseSource | MapillarySource | None,
    frames: "pd.DataFrame | None",
) -> tuple[str, str]:
    """What was counted, or an empty text and why nothing was."""
    levels = dict(zip(("cities", "states", "countries", "continents"), LEVELS, strict=True))
    if quantity == "video":
        return "", _NOT_COUNTED
    if quantity == "samples" or quantity in levels:
        if spread is None:
            return "", _NOT_GIVEN[name]
        return str(spread.total if quantity == "samples" else spread.present(levels[quantity])), ""
    if source is None:
        return "", _NOT_GIVEN[name]
    if quantity == "organised":
        clips = source.clips()
        folders = len({clip.path for clip in clips})
        return "Yes: a folder each" if folders == len(clips) else f"No: {len(clips):,} in {folders:,} folders", ""
    opened = None if frames is None else frames[frames["frames"] > 0]
    if opened is None or opened.empty:
        return "", _NO_FRAMES
    if quantity == "consistent_length":
        median, low, high = opened["frames"].median(), opened["frames"].quantile(0.01), opened["frames"].quantile(0.99)
        even = low >= 0.9 * median and high <= 1.1 * median
        least, most = opened["frames"].min(), opened["frames"].max()
        return f"{'Yes' if even else 'No'}: {f'{least} to {most}' if least < most else most} frames", ""
    sizes = (opened["width"].astype(str) + "x" + opened["height"].astype(str)).value_counts()
    others = f": commonest of {len(sizes)}" if len(sizes) > 1 else ""
    return f"{sizes.index[0]}{others}", ""


def write(frame: pd.DataFrame, folder: Path | None = None) -> list[Path]:
    """Write the table as `table1.csv`, `.md` and `.tex`, in `tables` of `paths.figures` or in `folder`."""
    return show(frame).write(folder or paths.figures(frame["profile"].iloc[0]) / "tables", "table1", frame)


def show(frame: pd.DataFrame) -> Layout:
    """The table as a notebook shows it: paper and measured for both data sets."""
    scale = profiles.get(frame["profile"].iloc[0])
    cells = frame.set_index(["quantity", "dataset"])
    columns, groups = [Cell("")], [""]
    for name in NAMES.values():
        columns += [Cell("paper", pale=True), Cell("measured")]
        groups += [name, name]
    lines = []
    for quantity, label in LINES.items():
        line = [Cell(label)]
        for name in NAMES:
            cell = cells.loc[(quantity, name)]
            line += [Cell(_text(cell["paper"]), pale=True), Cell(_text(cell["measured"]) or "–")]
        lines.append(tuple(line))
    grid = Grid(tuple(columns), tuple(groups), tuple(lines), "lrrrr")
    reasons = frame[frame["measured"] == ""].drop_duplicates(["dataset", "state"])
    reasons = reasons.groupby("state", sort=False)["dataset"].agg(lambda ids: ", ".join(NAMES[i] for i in ids))
    notes = [_ABOUT, *(f"–, {names}: {state}." for state, names in reasons.items())]
    caption = f"Paper beside measured. Profile {scale.name} ({scale.note})."
    return Layout("table1", "Table 1: comparison with Mapillary (MSLS)", caption, (grid,), tuple(notes))


def _text(value: str) -> str:
    """A cell: numbers with separators, resolutions with a times sign."""
    return f"{int(value):,}" if value.isdecimal() else value.replace("x", " × ", 1) if value[:1].isdecimal() else value
