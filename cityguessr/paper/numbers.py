"""What the paper claims: every number of its tables, its data set, and where its sources disagree.

Tables carry the paper's numbers as ids: `table2` to `table6`, `table_s1` to `table_s3` for the supplement, and
`vidtag_*` for the public result tables of the authors' follow-up, VidTAG. A number is found by table, row, metric
(`top1`, `top5`, or a distance metric of VidTAG) and level (`city`, `state`, `country`, `continent`; `gps` for VidTAG's
distances). Accuracies are percentages in [0, 100]; metrics that end in `km`, and `dfd`, are kilometres.
"""

import csv
from functools import cache
from importlib import resources

import pandas as pd

from cityguessr.base.errors import InputError, one_of
from cityguessr.taxonomy import LEVELS

TITLES = {
    "table2": "Table 2: image and video backbones",
    "table3": "Table 3: scene recognition and TextLabel Alignment",
    "table4": "Table 4: hierarchical evaluation",
    "table5": "Table 5: state of the art",
    "table6": "Table 6: Mapillary (MSLS)",
    "table_s1": "Table S1: number of scenes",
    "table_s2": "Table S2: text encoders",
    "table_s3": "Table S3: top-1 and top-5",
    "vidtag_cityguessr68k": "VidTAG: CityGuessr68k",
    "vidtag_msls": "VidTAG: Mapillary (MSLS), frame by frame",
    "vidtag_gama": "VidTAG: GAMa, frame by frame",
    "vidtag_ablation_msls": "VidTAG: ablation on Mapillary (MSLS)",
    "vidtag_encoders_msls": "VidTAG: encoders on Mapillary (MSLS)",
    "vidtag_unified_msls": "VidTAG: one model for three data sets, on Mapillary (MSLS)",
}
"""Table id -> title, in the paper's order."""

NO_SWITCH = "no switch: "


def results() -> pd.DataFrame:
    """Every number of the result tables, one row per number, in the order of print.

    Columns: table, row, label, metric, level, value (float), source, note (empty where there is nothing to add).
    """
    return _results().copy()


def value(table: str, row: str, metric: str, level: str) -> float:
    """One number of a result table, for example `value("table4", "codependent", "top1", "city")` = 69.6.

    Raises InputError where the paper has no such number; the message lists the known tables, rows, or metrics.
    """
    frame = _table(table)
    if row not in set(frame["row"]):
        raise one_of(f"row of {table}", row, dict.fromkeys(frame["row"]))
    frame = frame[frame["row"] == row]
    hit = frame[(frame["metric"] == metric) & (frame["level"] == level)]
    if hit.empty:
        known = ", ".join(f"{m}/{v}" for m, v in zip(frame["metric"], frame["level"], strict=True))
        raise InputError(f"{table}, row {row}, has no {metric}/{level}; it has {known}")
    return float(hit["value"].iloc[0])


def rows(table: str) -> list[tuple[str, str]]:
    """The rows of a table as (id, label), in the order of print.

    An id appears once for each label: in Table S3 the one system `cityguessr` is `CityGuessr top-1` and `CityGuessr
    top-5`. Raises InputError for an unknown table.
    """
    frame = _table(table)
    return list(dict.fromkeys(zip(frame["row"], frame["label"], strict=True)))


def dataset() -> pd.DataFrame:
    """The counts, split sizes and inequality indices that the paper prints.

    Columns: where (`table1`, `split`, `fig_s3`, `fig_s4`), dataset (`cityguessr68k`, `msls`, `msls_filtered` for the
    sequences of the 21 shared cities, or a continent for `fig_s3`), quantity, value (float), source.
    """
    return pd.DataFrame(_read("dataset.csv")).astype({"value": float})


def disagreements() -> pd.DataFrame:
    """Where the paper, the authors' slides and the released code disagree, one row per point.

    Columns: what, paper, released, note, switch. `switch` names the fields of `cityguessr.model.ModelConfig` that
    cover the point, separated by commas, or starts with `no switch: ` and says why there is none.
    """
    return pd.DataFrame(_read("disagreements.csv"))


def _read(name: str) -> list[dict[str, str]]:
    with (resources.files("cityguessr.paper") / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def _results() -> pd.DataFrame:
    numbers = [
        {k: line[k] for k in ("table", "row", "label", "metric")}
        | {"level": level, "value": float(line[level]), "source": line["source"], "note": line["note"]}
        for line in _read("results.csv")
        for level in (*LEVELS, "gps")
        if line[level]
    ]
    return pd.DataFrame(numbers)


def _table(table: str) -> pd.DataFrame:
    if table not in TITLES:
        raise one_of("table", table, TITLES)
    frame = _results()
    return frame[frame["table"] == table]
