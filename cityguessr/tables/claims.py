"""What the paper concludes from its tables, one comparison per claim, and whether it holds in your own runs."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cityguessr import paper
from cityguessr.base.errors import CannotRun
from cityguessr.evaluation.results import gain
from cityguessr.training import experiments, jobs, profiles


@dataclasses.dataclass(frozen=True)
class Claim:
    """Row `better` of a table is better than row `worse`, at one level.

    Attributes:
        text: in words.
        section: of the paper; "ours" where the paper makes no such claim.
        table: its table, for the paper's numbers and the rows' experiments.
    """

    text: str
    section: str
    table: str
    better: str
    worse: str
    level: str = "city"


CLAIMS = (
    Claim("Of single frames, a random one serves best (against the first)", "5.3", "table2", "mae_random", "mae_first"),
    Claim("A video is better than its best single frame", "5.3", "table2", "videomae", "mae_random"),
    Claim("Scene recognition helps", "5.4", "table3", "scenes_soft", "videomae"),
    Claim("Soft scene labels are better than majority labels", "5.4", "table3", "scenes_soft", "scenes_majority"),
    Claim("TextLabel Alignment helps", "5.5", "table3", "cityguessr", "scenes_soft"),
    Claim("All hierarchies are better than the city alone", "5.5", "table3", "cityguessr", "scenes_soft_tla_city"),
    Claim("Hierarchical evaluation helps (against none)", "5.6", "table4", "codependent", "none"),
    Claim("Codependent beats independent at the country", "5.6", "table4", "codependent", "independent", "country"),
    Claim("Codependent beats independent at the continent", "5.6", "table4", "codependent", "independent", "continent"),
    Claim("Networks picked by the scene are better than one", "5.7", "table5", "isns", "planet"),
    Claim("GeoDecoder is better than ISNs", "5.7", "table5", "geodecoder", "isns"),
    Claim("VideoMAE is better than TimeSformer", "5.7", "table5", "videomae", "timesformer"),
    Claim("The full model is better than GeoDecoder", "5.7", "table5", "cityguessr", "geodecoder"),
    Claim("The full model is better than its backbone alone", "5.7", "table5", "cityguessr", "videomae"),
    Claim("The full model is better than its backbone on Mapillary", "6", "table6", "cityguessr", "videomae"),
    Claim("16 scenes are better than 365", "S1", "table_s1", "scenes_16", "scenes_365"),
    Claim("CLIP is better than no text", "S2", "table_s2", "tla_clip", "no_tla"),
    Claim("OPT is better than no text", "S2", "table_s2", "tla_opt", "no_tla"),
    Claim("Sentence features are better than no text", "ours", "table_s2", "tla_minilm", "no_tla"),
    Claim("Words are better than random vectors", "ours", "table_s2", "tla_minilm", "tla_random"),
)


def check(
    profile: str = "mini",
    seeds: Sequence[int] = (0,),
    *,
    data_root: str | Path | None = None,
    msls_root: str | Path | None = None,
    allow_downloads: bool = False,
    cluster: str | None = None,
) -> pd.DataFrame:
    """Every claim beside what the runs of a profile show, trained now where they are not there.

    Args:
        msls_root: the folder of the real Mapillary sequences, for a profile of the real CityGuessr68k; without it the
            claim on Mapillary is not run.

    Columns: claim, section, level, paper (difference in percentage points, NaN where it has none), measured, low, high
    (a 95 % paired bootstrap interval over source videos) and verdict: `holds` or `contradicted` where the interval is
    on one side of zero, `undecided` where it is not, `not run` where weights or data are missing.
    """
    names = {name for claim in CLAIMS for name in (_experiment(claim, claim.better), _experiment(claim, claim.worse))}
    order = [name for name in experiments.EXPERIMENTS if name in names]
    common = {"allow_downloads": allow_downloads, "cluster": cluster}
    on_msls: list[str] = []
    if "msls" not in profiles.get(profile).datasets:  # Mapillary has a profile, and a folder, of its own
        on_msls = [name for name in order if experiments.get(name).dataset == "msls"]
    others = [name for name in order if name not in on_msls]
    done = jobs.ensure_all(others, profile, seeds, data_root=data_root, **common)
    done |= dict.fromkeys(on_msls, CannotRun("the folder of Mapillary was not given"))
    if on_msls and msls_root:
        done |= jobs.ensure_all(on_msls, "msls", seeds, data_root=msls_root, **common)
    lines = []
    for claim in CLAIMS:
        sides = [done[_experiment(claim, row)] for row in (claim.better, claim.worse)]
        measured = (float("nan"),) * 3
        if not any(isinstance(runs, CannotRun) for runs in sides):
            modes = experiments.READINGS.get(claim.table, {})
            measured = gain((sides[0], modes.get(claim.better)), (sides[1], modes.get(claim.worse)))[claim.level]
        lines.append((claim.text, claim.section, claim.level, _paper(claim), *measured, verdict(*measured)))
    columns = ["claim", "section", "level", "paper", "measured", "low", "high", "verdict"]
    return pd.DataFrame(lines, columns=columns)


def verdict(difference: float, low: float, high: float) -> str:
    """What the interval of a difference means for the claim that the difference is positive."""
    if difference != difference:
        return "not run"
    return "holds" if low > 0 else "contradicted" if high < 0 else "undecided"


def _experiment(claim: Claim, row: str) -> str:
    return experiments.TABLES[claim.table][row]


def _paper(claim: Claim) -> float:
    """The paper's own difference, where it prints both rows."""
    printed = {row for row, _ in paper.rows(claim.table)}
    if not {claim.better, claim.worse} <= printed:
        return float("nan")
    better, worse = (paper.value(claim.table, row, "top1", claim.level) for row in (claim.better, claim.worse))
    return round(better - worse, 1)
