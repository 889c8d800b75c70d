"""What the paper concludes from its tables, one comparison per claim, and whether it holds in your own runs.

A claim is decided on all validation clips, those of seen and of unseen videos together. With twenty of them one would
be significant at 5 % by chance alone, so p-values are adjusted by Holm's method over the list. A claim about scenes or
text is tested only where the head that it is about learned its task; otherwise it is `not tested`.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from cityguessr import paper
from cityguessr.base import paths
from cityguessr.base.errors import CannotRun
from cityguessr.evaluation.columns import printed_rows
from cityguessr.evaluation.learning import learned
from cityguessr.evaluation.results import compare
from cityguessr.measures.intervals import ONE_SEED, Interval, holm
from cityguessr.tables.formats import differences, plain, signed, write_frame
from cityguessr.training import experiments, jobs, profiles
from cityguessr.training.runs import Run

MARGIN = 5.0
"""How far a head must come from the best constant to a perfect answer, in percent, for its task to count as learned:
the lower end of the 95 % interval on validation clips must lie above it."""

LEVEL = 0.05
"""The risk, over a whole list of claims, that at least one is decided wrongly."""

_SCENES, _TEXT, _BOTH = ("scenes",), ("text",), ("scenes", "text")


@dataclasses.dataclass(frozen=True)
class Claim:
    """Row `better` of a table is better than row `worse`, at one level.

    Attributes:
        text: in words.
        section: of the paper; "ours" where the paper makes no such claim.
        table: its table, for the paper's numbers and the rows' experiments.
        mechanism: the heads through which it would hold, of "scenes" and "text"; each row that has such a head must
            have learned it, but for one that is a control by having the targets of others, which cannot be learned.
    """

    text: str
    section: str
    table: str
    better: str
    worse: str
    level: str = "city"
    mechanism: tuple[str, ...] = ()


CLAIMS = (
    Claim("Of single frames, a random one serves best (against the first)", "5.3", "table2", "mae_random", "mae_first"),
    Claim("A video is better than its best single frame", "5.3", "table2", "videomae", "mae_random"),
    Claim("Scene recognition helps", "5.4", "table3", "scenes_soft", "videomae", mechanism=_SCENES),
    Claim(
        "Soft scene labels are better than majority labels",
        "5.4",
        "table3",
        "scenes_soft",
        "scenes_majority",
        mechanism=_SCENES,
    ),
    Claim("TextLabel Alignment helps", "5.5", "table3", "cityguessr", "scenes_soft", mechanism=_TEXT),
    Claim(
        "All hierarchies are better than the city alone",
        "5.5",
        "table3",
        "cityguessr",
        "scenes_soft_tla_city",
        mechanism=_TEXT,
    ),
    Claim("Hierarchical evaluation helps (against none)", "5.6", "table4", "codependent", "none"),
    Claim("Codependent beats independent at the country", "5.6", "table4", "codependent", "independent", "country"),
    Claim("Codependent beats independent at the continent", "5.6", "table4", "codependent", "independent", "continent"),
    Claim("Networks picked by the scene are better than one", "5.7", "table5", "isns", "planet"),
    Claim("GeoDecoder is better than ISNs", "5.7", "table5", "geodecoder", "isns"),
    Claim("VideoMAE is better than TimeSformer", "5.7", "table5", "videomae", "timesformer"),
    Claim("The full model is better than GeoDecoder", "5.7", "table5", "cityguessr", "geodecoder"),
    Claim(
        "The full model is better than its backbone alone", "5.7", "table5", "cityguessr", "videomae", mechanism=_BOTH
    ),
    Claim(
        "The full model is better than its backbone on Mapillary",
        "6",
        "table6",
        "cityguessr",
        "videomae",
        mechanism=_BOTH,
    ),
    Claim("16 scenes are better than 365", "S1", "table_s1", "scenes_16", "scenes_365", mechanism=_SCENES),
    Claim("CLIP is better than no text", "S2", "table_s2", "tla_clip", "no_tla", mechanism=_TEXT),
    Claim("OPT is better than no text", "S2", "table_s2", "tla_opt", "no_tla", mechanism=_TEXT),
    Claim("Sentence features are better than no text", "ours", "table_s2", "tla_minilm", "no_tla", mechanism=_TEXT),
    Claim("Words are better than random vectors", "ours", "table_s2", "tla_minilm", "tla_random", mechanism=_TEXT),
)

CONTROLS = (
    Claim("A video is better than the average of its frames", "ours", "controls", "videomae", "mae_average"),
    Claim("The average of frames is better than one", "ours", "controls", "mae_average", "mae_random"),
    Claim("Pretrained weights are better than random ones", "ours", "controls", "videomae", "videomae_from_random"),
    Claim(
        "Scenes are better read from attention than from the feature",
        "ours",
        "controls",
        "scenes_soft",
        "scene_from_feature",
        mechanism=_SCENES,
    ),
    Claim(
        "A clip's own scenes are better than those of another",
        "ours",
        "controls",
        "scenes_soft",
        "scenes_shuffled",
        mechanism=_SCENES,
    ),
    Claim(
        "A clip's own scenes are better than drawn ones",
        "ours",
        "controls",
        "scenes_soft",
        "scenes_random",
        mechanism=_SCENES,
    ),
    Claim("Attention is better than one linear layer", "ours", "controls", "cityguessr", "attention_linear"),
    Claim("Attention is better than none", "ours", "controls", "cityguessr", "attention_identity"),
    Claim("Words are better than random vectors", "ours", "controls", "cityguessr", "tla_random", mechanism=_TEXT),
    Claim(
        "A city's own words are better than those of another",
        "ours",
        "controls",
        "cityguessr",
        "text_shuffled",
        mechanism=_TEXT,
    ),
)
"""What the controls ask, a list of its own."""

COLUMNS = (
    *("claim", "section", "table", "better", "worse", "level", "paper", "measured", "low", "high", "p", "p_holm"),
    *("verdict", "seen", "unseen", "detectable", "seed_sd", "n_seeds", "clips", "videos", "learned", "note"),
)


def check(
    profile: str = "mini",
    seeds: Sequence[int] = (0,),
    *,
    claims: Sequence[Claim] = CLAIMS,
    data_root: str | Path | None = None,
    msls_root: str | Path | None = None,
    allow_downloads: bool = False,
    cluster: str | None = None,
) -> pd.DataFrame:
    """Every claim beside what the runs of a profile show, trained now where they are not there.

    Args:
        claims: the list: `CLAIMS` of the paper, or `CONTROLS`.
        msls_root: the folder of the real Mapillary sequences, for a profile of the real CityGuessr68k; without it the
            claim on Mapillary is not run.

    Columns, differences in percentage points of top-1, NaN where there is none:
        claim, section, table, better, worse, level: see `Claim`;
        paper: its own difference;
        measured, low, high: on all validation clips, with a 95 % interval over seeds and source videos;
        p, p_holm: two-sided, alone and adjusted over the claims that were tested;
        verdict: see `verdict`;
        seen, unseen: the difference on clips of videos that training has seen, and of those that it has not;
        detectable: the true difference that would have been found with 80 % power at 5 %, before the adjustment;
        seed_sd, n_seeds: standard deviation of the paired differences over seeds, and how many there are;
        clips, videos: how many there are; where they are as many, source videos are unknown or have one clip each;
        learned: how far the claim's heads have come from the best constant to a perfect answer, with its interval;
        note: what limits the comparison.
    """
    done = _runs(claims, profile, seeds, msls_root, data_root, {"allow_downloads": allow_downloads, "cluster": cluster})
    lines, learning = [], {}
    for claim in claims:
        sides = [(_experiment(claim, row), row) for row in (claim.better, claim.worse)]
        line = dict.fromkeys(COLUMNS, math.nan) | {"n_seeds": 0, "clips": 0, "videos": 0, "learned": "", "note": ""}
        line |= {name: getattr(claim, name) for name in ("section", "table", "better", "worse", "level")}
        line |= {"claim": claim.text, "paper": _paper(claim)}
        tested = True
        if not any(isinstance(done[name], CannotRun) for name, _ in sides):
            modes = experiments.READINGS.get(claim.table, {})
            answers = [(done[name], modes.get(row)) for name, row in sides]
            if found := compare(*answers).get(claim.level):
                parts = {part: compare(*answers, part).get(claim.level) for part in answers[0][0][0].predictions.parts}
                line |= _numbers(found, parts)
            for name, _ in sides:
                if name not in learning:
                    learning[name] = learned(done[name]).set_index("head").to_dict("index")
            rows = {row: learning[name] for name, row in sides}
            tested, line["learned"] = _mechanism(claim, {row: rows[row] for row in rows if _own_targets(claim, row)})
        lines.append(line | {"verdict": "" if tested else "not tested"})
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    frame["p_holm"] = holm(frame["p"].where(frame["verdict"] == "").tolist())
    decided = [verdict(x.measured, x.p_holm, x.verdict != "not tested") for x in frame.itertuples()]
    return frame.assign(verdict=decided)


def printed(checked: pd.DataFrame) -> Styler:
    """The frame of `check` as a page shows it: differences in points, with the interval of the measured one."""
    shown = pd.DataFrame(
        {
            "claim": checked["claim"],
            "verdict": checked["verdict"],
            "level": checked["level"],
            "paper": checked["paper"].map(signed),
            "measured [95 % interval]": differences(checked, "measured"),
            "seen videos": checked["seen"].map(signed),
            "unseen videos": checked["unseen"].map(signed),
            "detectable": checked["detectable"],
        }
    )
    shown = shown if checked["paper"].notna().any() else shown.drop(columns="paper")
    shown["p (Holm)"] = ["–" if math.isnan(p) else "< 0.001" if p < 0.0005 else f"{p:.3f}" for p in checked["p_holm"]]
    return shown.style.hide().format({"detectable": "{:.1f}"}, na_rep="–")


def write(frame: pd.DataFrame, profile: str = "mini", name: str = "claims") -> Path:
    """Write what `check` found as `tables/<name>.csv` of `paths.figures`. Returns its path; raises InputError."""
    return write_frame(paths.figures(profile) / "tables" / f"{name}.csv", frame)


def verdict(difference: float, p_holm: float, tested: bool = True) -> str:
    """What a difference means for the claim that it is positive.

    - `not run`: weights or data are missing;
    - `not tested`: the claim is about a head that did not learn its task;
    - `holds` or `contradicted`: the adjusted p-value is at most 5 %, for or against it;
    - `undecided`: it is not.
    """
    if math.isnan(difference):
        return "not run"
    if not tested:
        return "not tested"
    if not p_holm <= LEVEL:
        return "undecided"
    return "holds" if difference > 0 else "contradicted"


def _runs(
    claims: Sequence[Claim],
    profile: str,
    seeds: Sequence[int],
    msls_root: str | Path | None,
    data_root: str | Path | None,
    common: Mapping[str, object],
) -> dict[str, tuple[Run, ...] | CannotRun]:
    """Experiment -> its runs, or why there are none."""
    names = {_experiment(claim, row) for claim in claims for row in (claim.better, claim.worse)}
    order = [name for name in experiments.EXPERIMENTS if name in names]
    on_msls: list[str] = []
    if "msls" not in profiles.get(profile).datasets:  # Mapillary has a profile, and a folder, of its own
        on_msls = [name for name in order if experiments.get(name).dataset == "msls"]
    others = [name for name in order if name not in on_msls]
    done = jobs.ensure_all(others, profile, seeds, data_root=data_root, **common)
    done |= dict.fromkeys(on_msls, CannotRun("the folder of Mapillary was not given"))
    if on_msls and msls_root:
        done |= jobs.ensure_all(on_msls, "msls", seeds, data_root=msls_root, **common)
    return done


def _numbers(found: Interval, parts: Mapping[str, Interval | None]) -> dict[str, object]:
    """The columns of a claim that was measured."""
    notes = [ONE_SEED] if found.seeds == 1 else []
    if found.over_clips:
        notes.append("interval over clips: too narrow if several were cut from one video")
    means = {part: x.mean for part, x in parts.items() if x and part != "all"}
    return {
        **{"measured": found.mean, "low": found.low, "high": found.high, "p": found.p, **means},
        **{"detectable": found.detectable, "seed_sd": found.seed_sd, "n_seeds": found.seeds},
        **{"clips": found.clips, "videos": found.videos, "note": "; ".join(notes)},
    }


def _mechanism(claim: Claim, rows: Mapping[str, Mapping[str, dict[str, float]]]) -> tuple[bool, str]:
    """Whether every head that a claim is about learned its task in the rows that have it, and how much, in words."""
    tested, words = True, []
    for head in claim.mechanism:
        there = {row: heads[head] for row, heads in rows.items() if head in heads}
        tested &= bool(there) and all(x["low"] > MARGIN for x in there.values())
        for row, x in there.items():
            named = f"{head} of {row}" if len(there) > 1 else head
            words.append(f"{named} {plain(x['skill'])} % [{plain(x['low'])}, {plain(x['high'])}]")
        if not there:
            words.append(f"{head}: no head of the two was measured")
    return tested, "; ".join(words)


def _own_targets(claim: Claim, row: str) -> bool:
    """Whether the heads of a row are taught what belongs to a clip, and not what belongs to others."""
    changes = experiments.get(_experiment(claim, row)).changes
    return {changes.get("scene_targets", "own"), changes.get("text_targets", "own")} == {"own"}


def _experiment(claim: Claim, row: str) -> str:
    return experiments.TABLES[claim.table][row]


def _paper(claim: Claim) -> float:
    """The paper's own difference, where it prints both rows."""
    printed = {row for row, _ in printed_rows(claim.table)}
    if not {claim.better, claim.worse} <= printed:
        return math.nan
    better, worse = (paper.value(claim.table, row, "top1", claim.level) for row in (claim.better, claim.worse))
    return round(better - worse, 1)
