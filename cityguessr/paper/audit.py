"""What the printed numbers alone tell of how they were read: how often a level is right where the city is wrong.

Where the other levels are read off the chosen city (the codependent reading), a right city brings its state, country
and continent with it. So of a printed row

    P(level right | city wrong) = (acc_level - acc_city) / (100 - acc_city)

and this can be compared between rows: how near the wrong cities lie to the right ones. Where each level is
read by itself, a city can be right with a wrong country, and the same number is only a lower bound. It needs no data.
Rows that differ in it differ in pattern; the arithmetic does not say why.
"""

import pandas as pd

from cityguessr.paper.numbers import results
from cityguessr.taxonomy import LEVELS, Taxonomy

ROUNDING = 0.05
"""Half of the last printed digit, in percentage points."""

SLIDES = (
    ("table2", "mae_first", "MAE, first frame, with the slides' country", "country", 59.3),
    ("table5", "planet", "PlaNet, with the slides' city", "city", 59.8),
)
"""Numbers that the authors' slides print otherwise: table, row, label, level, the slides' number."""

_ABOVE = LEVELS[1:]


def given_wrong_city(city: float, level: float) -> tuple[float, float, float]:
    """P(level right | city wrong) in percent from two accuracies, and the lowest and highest that rounding allows.

    Args:
        city: accuracy at the city, percent with one decimal, under 100.
        level: accuracy at the state, country or continent.

    The share falls as `city` rises and rises with `level`, so its bounds lie where both are off by half a digit in
    opposite directions. A negative share is returned as it is: no codependent reading can give it.
    """

    def share(city: float, level: float) -> float:
        return 100 * (level - city) / (100 - city)

    low, high = share(city + ROUNDING, level - ROUNDING), share(city - ROUNDING, level + ROUNDING)
    return share(city, level), low, high


def audit() -> pd.DataFrame:
    """P(level right | city wrong) of every printed row that has all four levels, and of the slides' other readings.

    Columns: table, row, label, metric, source (`print` or `slides`), city (its accuracy), level, accuracy, share, low,
    high (percent; bounds from rounding to one decimal), finding: `impossible` where even the highest share is negative,
    `none` where rounding allows zero, `falls` where the level's accuracy lies under the level below although the share
    may be positive, else empty. Under the codependent reading neither `impossible` nor `falls` can be.
    """
    wide = results().pivot_table(
        index=["table", "row", "label", "metric"], columns="level", values="value", sort=False, observed=True
    )
    lines = []
    for (table, row, label, metric), numbers in wide[list(LEVELS)].dropna().iterrows():
        lines += _levels((table, row, label, metric, "print"), numbers.to_dict())
        for slide in SLIDES:
            if slide[:2] == (table, row):
                lines += _levels((table, row, slide[2], metric, "slides"), numbers.to_dict() | {slide[3]: slide[4]})
    columns = ["table", "row", "label", "metric", "source", "city", "level", "accuracy", "share", "low", "high"]
    return pd.DataFrame(lines, columns=[*columns, "finding"])


def by_row(frame: pd.DataFrame) -> pd.DataFrame:
    """An audit with one line per printed row and one column per level: `share [low, high]` and its finding."""
    text = [
        f"{line.share:.1f} [{line.low:.1f}, {line.high:.1f}]".replace("-0.0", "0.0").replace("-", "−")
        + (f" {line.finding}" if line.finding else "")
        for line in frame.itertuples()
    ]
    keys = ["table", "label", "metric", "source", "city"]
    wide = frame.assign(text=text).pivot_table(
        index=keys, columns="level", values="text", aggfunc="first", sort=False, observed=True
    )
    return wide[list(_ABOVE)].reset_index().rename_axis(columns=None)


def distinct(frame: pd.DataFrame) -> pd.DataFrame:
    """An audit without the rows of print that only repeat the accuracies of a row above them, and without top-5.

    So the four VideoMAE rows of Tables 2, 3 and 5 and of VidTAG are one, and PlaNet is MAE's random frame.
    """
    top1 = frame[frame["metric"] == "top1"]
    keys = ["table", "row", "label", "source"]
    wide = top1.pivot_table(index=[*keys, "city"], columns="level", values="accuracy", sort=False, observed=True)
    first = wide.reset_index()
    first = first[~first.duplicated(["city", *_ABOVE])]
    return top1.merge(first[keys], on=keys, how="inner", validate="many_to_one")


def of_any_wrong_city(tree: Taxonomy) -> dict[str, float]:
    """P(level right | city wrong) in percent for state, country and continent if wrong cities were drawn at random.

    True cities count alike, and each of a city's others is as likely as the next: what a system would show whose wrong
    answers know nothing about where the right one lies.
    """
    cities = tree.size("city")
    shares = {}
    for level in _ABOVE:
        sizes = tree.ancestors[level].bincount(minlength=tree.size(level)).double()
        shares[level] = float(100 * (sizes * (sizes - 1)).sum() / (cities * (cities - 1)))
    return shares


def _levels(key: tuple[str, ...], numbers: dict[str, float]) -> list[tuple[object, ...]]:
    lines = []
    for below, level in zip(LEVELS, _ABOVE, strict=False):
        share, low, high = given_wrong_city(numbers["city"], numbers[level])
        falls = numbers[level] + ROUNDING < numbers[below] - ROUNDING
        finding = "impossible" if high < 0 else "falls" if falls else "none" if low <= 0 else ""
        lines.append((*key, numbers["city"], level, numbers[level], share, low, high, finding))
    return lines
