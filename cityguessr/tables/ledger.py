"""The ledger: every number that the paper prints, which notebook produces it, and how far it was tried.

`results` goes through the numbers of the result tables, `dataset` through those of the data set, `effects` through the
points on which paper and released code disagree. All take what was measured from where it was written or can be
counted, never from a list of their own.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from scipy import stats

from cityguessr import paper
from cityguessr.base import paths
from cityguessr.base.errors import CannotRun
from cityguessr.data import mapillary
from cityguessr.data.clips import PreparedClips
from cityguessr.data.counts import count_mapillary
from cityguessr.data.dimensions import commonest
from cityguessr.data.mapillary import MapillarySource
from cityguessr.data.sources import SPLITS
from cityguessr.evaluation.results import gain, reason
from cityguessr.measures import inequality
from cityguessr.tables.claims import CLAIMS
from cityguessr.tables.formats import write_frame
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training import experiments, jobs, profiles, track_experiments
from cityguessr.training.runs import Run

PRODUCERS = {
    "table2": "30_table2_image_vs_video",
    "table3": "31_table3_scenes_and_text",
    "table4": "32_table4_hierarchical_evaluation",
    "table5": "33_table5_state_of_the_art",
    "table6": "34_table6_mapillary",
    "table_s1": "35_table_s1_number_of_scenes",
    "table_s2": "36_table_s2_text_encoders",
    "table_s3": "37_table_s3_top5",
    **dict.fromkeys(track_experiments.TABLES, "51_tables_vidtag"),
    "vidtag_unified_msls": "51_tables_vidtag",
}
"""Table -> the notebook that produces its numbers, or says why there are none."""

_PROFILES = {"table6": "msls", "vidtag_gama": "gama"} | dict.fromkeys(
    (table for table in paper.TITLES if table.startswith("vidtag") and table.endswith("msls")), "msls"
)  # the real profile that a table takes; the others take cityguessr68k
UNIFIED = "it takes Mapillary, GAMa and CityGuessr68k on one machine, and how they were mixed is not public"
"""Why one model was not trained for all three of VidTAG's data sets."""
_SAME_SYSTEMS = {"vidtag_cityguessr68k": "table5"}
"""A table -> the table whose systems it repeats, where their claims are."""

DIRECTIONS = {
    "holds": "same direction",
    "contradicted": "opposite",
    "undecided": "undecided",
    "not tested": "not tested",
}
"""A verdict on one of the paper's claims -> what it says of the numbers that the claim compares."""

COVERAGE = 0.95
"""How often the number of one more run lies in the interval that `compare` draws around the runs there are."""


def results(profile: str = "mini", conclusions: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every number of the result tables beside what was measured under a profile.

    Args:
        conclusions: `claims.check` of the same profile, with at least its columns claim and verdict; without it a
            ledger of MiniWorld does not know the directions.

    Columns: table, row, label, metric, level, paper, producer, measured, std, half_width, n_seeds, profile, state.
    Measured values are those that the producer wrote into `tables/<table>.csv` of `paths.figures`; where it has not run
    here, those of the table in git. Where they are of both kinds, a line is printed that says which (`origins`).
    `half_width` is that of the interval for one more run. On real data `state` is

    - `reproduced`: the mean over seeds rounds to the printed number;
    - `within spread of n seeds`: the printed number lies where one more run of ours would, 95 times in 100;
    - `differs`, or `differs; one seed, no spread`: it does neither.

    On MiniWorld, whose numbers cannot be the paper's, it is `tried on MiniWorld: ` and what the paper's claims that
    compare this number came to: `same direction`, `opposite`, `undecided`, `not tested`, with the number of claims
    where there are several; or `in no claim`, or `claims not checked`.

    `not tried, because ...`: there is no measurement.
    """
    if words := origins(profile):
        print(words)
    return _results(profile, conclusions)


def _results(profile: str, conclusions: pd.DataFrame | None) -> pd.DataFrame:
    numbers = paper.results().rename(columns={"value": "paper"}).drop(columns=["source", "note"])
    scale = profiles.get(profile)
    measured = pd.concat([_measured(table, profile) for table in PRODUCERS])
    keys = ["table", "row", "metric", "level"]
    frame = numbers.merge(measured, on=keys, how="left", validate="one_to_one")
    frame["producer"] = frame["table"].map(PRODUCERS)
    frame["profile"] = [_scale(table, profile) for table in frame["table"]]
    frame["n_seeds"] = frame["n_seeds"].fillna(0).astype(int)
    frame["half_width"] = [half_width(s, n) for s, n in zip(frame["std"], frame["n_seeds"], strict=True)]
    known = directions(conclusions)
    frame["state"] = [_state(line, scale, known) for line in frame.to_dict("records")]
    order = [
        "table",
        "row",
        "label",
        "metric",
        "level",
        "paper",
        "producer",
        "measured",
        "std",
        "half_width",
        "n_seeds",
    ]
    return frame[[*order, "profile", "state"]]


def directions(conclusions: pd.DataFrame | None) -> dict[tuple[str, str, str], str] | None:
    """What the paper's claims say of each number that they compare: (table, row, level) -> words; None without claims.

    Claims of our own say nothing about the paper, and those that were not run say nothing at all.
    """
    if conclusions is None:
        return None
    verdicts = dict(zip(conclusions["claim"], conclusions["verdict"], strict=True))
    found: dict[tuple[str, str, str], list[str]] = {}
    for claim in CLAIMS:
        word = DIRECTIONS.get(verdicts.get(claim.text, ""))
        if word and claim.section != "ours":
            for row in (claim.better, claim.worse):
                found.setdefault((claim.table, row, claim.level), []).append(word)
    return {key: _count(words) for key, words in found.items()}


def _count(words: Sequence[str]) -> str:
    if len(words) == 1:
        return words[0]
    return ", ".join(f"{word} {words.count(word)}" for word in DIRECTIONS.values() if word in words)


def _scale(table: str, profile: str) -> str:
    """The profile under which a table is run: Mapillary's real sequences have one of their own."""
    return profile if profiles.get(profile).synthetic else _PROFILES.get(table, profile)


def _measured(table: str, profile: str) -> pd.DataFrame:
    """What a table's producer wrote here, or what is kept of it: table, row, metric, level, measured, ..., reason."""
    profile = _scale(table, profile)
    file = paths.rendered(f"tables/{table}.csv", profile)
    columns = ["row", "metric", "level", "measured", "std", "n_seeds", "state"]
    written = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=[*columns, "profile"], dtype=object)
    written = written[written["profile"] == profile]
    return written[columns].rename(columns={"state": "reason"}).assign(table=table)


def origins(profile: str = "mini") -> str:
    """Which of the tables behind `results` were made here, in a sentence; empty while those in git are being made."""
    own, kept = paths.figures(profile) / "tables", paths.kept_figures(profile) / "tables"
    files = {table: paths.rendered(f"tables/{table}.csv", _scale(table, profile)) for table in PRODUCERS}
    made = [table for table, file in files.items() if file.is_file() and file.parent != kept]
    others = [table for table, file in files.items() if file.is_file() and file.parent == kept]
    mine, theirs = (os.path.relpath(folder, paths.root()) for folder in (own, kept))
    if paths.keeping() or not (made or others):
        return ""
    if not made:
        return f"Measured numbers are those of the kept tables ({theirs}): no table was made here."
    rest = f"; the others are the kept ones ({theirs})." if others else "."
    return f"Measured numbers of {', '.join(made)} are from your own tables ({mine}){rest}"


def _state(
    line: Mapping[str, object], scale: profiles.Profile, known: Mapping[tuple[str, str, str], str] | None
) -> str:
    table, row, reason = str(line["table"]), str(line["row"]), line["reason"]
    if table == "vidtag_unified_msls":
        return f"not tried, because {UNIFIED}"
    if isinstance(reason, str) and reason.startswith("not run"):
        return reason.split(";")[0].replace("not run", "not tried", 1)
    if not line["n_seeds"]:
        return f"not tried, because {PRODUCERS[table]} has not been run under {_scale(table, scale.name)}"
    if scale.synthetic:
        tried = f"tried on {scale.note.split(':')[0]}: "
        if line["level"] == "gps":  # the claims are about CityGuessr's four levels
            return tried + "in no claim"
        if known is None:
            return tried + "claims not checked"
        key = (_SAME_SYSTEMS.get(table, table), row, str(line["level"]))
        return tried + (known.get(key, "in no claim") if line["metric"] == "top1" else "in no claim")
    digits = 2 if str(line["metric"]) in ("dfd", "mrd") or str(line["metric"]).endswith("median_km") else 1
    return compare(float(line["measured"]), float(line["std"]), int(line["n_seeds"]), float(line["paper"]), digits)


def half_width(std: float, n: int) -> float:
    """Half the width of the interval in which one more run lies 95 times in 100: t * std * sqrt(1 + 1/n).

    Args:
        std: standard deviation over seeds, with n - 1 in its denominator.
        n: how many seeds; NaN comes back for fewer than two.

    The printed number is one run too, so its own spread counts beside that of our mean; t is Student's, for n - 1
    degrees of freedom (4.30 for three seeds).
    """
    if n < 2:
        return math.nan
    return float(stats.t.ppf((1 + COVERAGE) / 2, n - 1) * std * math.sqrt(1 + 1 / n))


def compare(measured: float, std: float, n: int, printed: float, digits: int = 1) -> str:
    """How a mean over n seeds compares with a number printed with so many decimals; see `results` for the words."""
    gap = abs(measured - printed)
    if gap < 0.5 * 10**-digits:
        return "reproduced"
    if n < 2:
        return "differs; one seed, no spread"
    return f"within spread of {n} seeds" if gap <= half_width(std, n) else "differs"


# --- the data set -----------------------------------------------------------------------------------------------------

DATASET_PRODUCER = "11_explore_dataset"
"""The notebook that counts the numbers of the data set: Table 1, the splits, Figs. S3 and S4."""

_TREE_LEVELS = dict(zip(("cities", "states", "countries", "continents"), LEVELS, strict=True))


def dataset(
    clips: PreparedClips | None = None,
    sequences: MapillarySource | None = None,
    frames: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Every number of the data set beside what can be counted.

    The sizes of the label trees are counted in those that ship with the package: CityGuessr68k's is the released one.
    Samples and indices of inequality are counted in clips and sequences, the frames' size in the files on disk.

    Args:
        clips: the prepared clips of CityGuessr68k, or of a profile's stand-in for it.
        sequences: Mapillary's, or the stand-in's.
        frames: for "cityguessr68k" and "msls", `data.dimensions.measure` of the clips as they stand on disk.

    Columns: where, dataset, quantity, paper, found (NaN where nothing could be counted), producer, state: `agrees by
    construction` (label trees: those that ship were made from the released ones), `agrees`, `differs`, or `not tried,
    because ...`.
    """
    lines = []
    for line in paper.dataset().rename(columns={"value": "paper"}).drop(columns="source").to_dict("records"):
        where, name, quantity = line["where"], line["dataset"], line["quantity"]
        count, state = _in_tree(where, name, quantity), None
        in_tree = count is not None
        if count is None:
            source, sizes = sequences if name.startswith("msls") else clips, (frames or {}).get(name)
            size = None if sizes is None else commonest(sizes)
            if source is None or (quantity.startswith("frame_") and size is None):
                missing = "no clips were given" if source is None else "no frames were measured"
                count, state = math.nan, f"not tried, because {missing}"
            else:
                count = _in_clips(name, quantity, clips, sequences, size)
                state = "not tried, because it takes the real data; counted in MiniWorld" if source.synthetic else None
        digits = 2 if quantity in ("gini", "hoover") else 0
        agrees = "agrees by construction" if in_tree else "agrees"
        exact = agrees if count == count and round(count, digits) == line["paper"] else "differs"
        lines.append(line | {"found": count, "producer": DATASET_PRODUCER, "state": state or exact})
    return pd.DataFrame(lines)


def _in_tree(where: str, name: str, quantity: str) -> float | None:
    """A number that the label trees alone give; None for any other."""
    trees = {"cityguessr68k": Taxonomy.cityguessr68k, "msls": mapillary.tree, "msls_filtered": _shared_tree}
    if where == "fig_s3":
        tree = Taxonomy.cityguessr68k()
        return float((tree.ancestors["continent"] == tree.names["continent"].index(name)).sum())
    return float(trees[name]().size(_TREE_LEVELS[quantity])) if quantity in _TREE_LEVELS else None


def _shared_tree() -> Taxonomy:
    """The label tree of the cities that Mapillary shares with CityGuessr68k."""
    shared = [row["city"] for row in mapillary.cities().values() if row["kept"] == "1"]
    return Taxonomy.cityguessr68k().subset(shared)


def _in_clips(
    name: str,
    quantity: str,
    clips: PreparedClips | None,
    sequences: MapillarySource | None,
    size: tuple[int, int] | None,
) -> float:
    """A number that clips (for CityGuessr68k), sequences (for Mapillary) or their commonest frame size give."""
    if quantity.startswith("frame_"):
        return float(size[("frame_width", "frame_height").index(quantity)])
    if name.startswith("msls"):
        return float(count_mapillary(sequences)[name, quantity])
    counts = {split: clips.meta["counts"][split]["clips"] for split in SPLITS}
    if quantity in ("gini", "hoover"):
        cities = torch.cat([clips.split(split).labels["city"] for split in SPLITS])
        return getattr(inequality, quantity)(cities.bincount(minlength=clips.taxonomy.size("city")).tolist())
    return float({"samples": sum(counts.values()), **counts}[quantity])


# --- where paper and released code disagree ---------------------------------------------------------------------------

EFFECTS = {
    "FFN_t": "two_layer_ffn_t",
    "text loss": "summed_text_loss",
    "normalisation": "no_normalisation",
}
"""A point of `paper.disagreements` -> the experiment that follows the released code in it, and the paper elsewhere."""

RELEASED_BATCH = 12
"""Clips per batch in the released code: a text loss summed over the batch counts so many times as much."""

TOGETHER = "all points with a switch"
_NOT_MEASURED = {
    "frames a clip": "every fifth of 100 frames takes the real data; those of the small profile have eight",
    "top-5 (Table S3)": "a matter of definition: 37_table_s3_top5 shows three readings",
}


def effects(
    profile: str = "mini",
    seeds: Sequence[int] = (0,),
    *,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    cluster: str | None = None,
) -> pd.DataFrame:
    """Every disagreement of `paper.disagreements` with its effect on the city's top-1 accuracy, where it can be had.

    An effect is what the released reading gives minus what the paper's gives, everything else equal, in percentage
    points; trained now where the runs are not there.

    Columns: what, paper, released, effect, low, high (95 % interval over seeds and videos; NaN where there is no
    effect, or no interval), how: what was compared, or why nothing was.
    """
    names = ["cityguessr", *EFFECTS.values(), "cityguessr_as_released"]
    done = jobs.ensure_all(names, profile, seeds, data_root=data_root, allow_downloads=allow_downloads, cluster=cluster)
    full, nothing = done["cityguessr"], (math.nan,) * 3
    if isinstance(full, CannotRun):
        points = paper.disagreements()[["what", "paper", "released"]]
        return points.assign(effect=math.nan, low=math.nan, high=math.nan, how=f"not run, because {reason(full)}")

    def effect(runs: Sequence[Run], mode: str | None = None) -> tuple[float, float, float]:
        return gain((runs, mode), (full, None))["city"]

    measured = {what: (*effect(done[name]), "trained with this one change") for what, name in EFFECTS.items()}
    batch = experiments.get(EFFECTS["text loss"]).trained_by(profile).recipe.batch_size
    if batch != RELEASED_BATCH:
        how = f"trained with this one change, in batches of {batch}: the released code sums over {RELEASED_BATCH}"
        measured["text loss"] = (*measured["text loss"][:3], how)
    measured["hierarchical evaluation"] = (*effect(full, "traced"), "the same models, read without products")
    best = [float(run.log["val_city"].max() - run.log["val_city"].iloc[-1]) for run in full]
    how = f"best of {full[0].config.epochs} epochs minus the last, on the clips of the log; never negative"
    if full[0].log["val_clips"].nunique() > 1:
        how += f" (earlier epochs were validated on {full[0].log['val_clips'].iloc[0]:.0f} clips)"
    measured["epochs"] = (sum(best) / len(best), math.nan, math.nan, how)
    lines = []
    for point in paper.disagreements().to_dict("records"):
        why = _NOT_MEASURED.get(point["what"], point["switch"].removeprefix(paper.NO_SWITCH))
        result = measured.get(point["what"], (*nothing, f"not measured: {why}"))
        lines.append((point["what"], point["paper"], point["released"], *result))
    together = effect(done["cityguessr_as_released"])
    lines.append((TOGETHER, "as described", "as released", *together, "trained and read as released"))
    return pd.DataFrame(lines, columns=["what", "paper", "released", "effect", "low", "high", "how"])


def write(profile: str = "mini", conclusions: pd.DataFrame | None = None) -> Path:
    """Write `results` as `tables/ledger.csv` of `paths.figures`. Returns its path."""
    return write_frame(paths.figures(profile) / "tables" / "ledger.csv", _results(profile, conclusions))
