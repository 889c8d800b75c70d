"""What the four heads of a clip say alone, and what they say together by Eq. 5: one row of a sheet for each clip."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cityguessr.base.errors import InputError
from cityguessr.figures.page import CAPTION, LINE, WIDTH, Box, Sheet, check_image, text_width, wrapped
from cityguessr.figures.style import GUIDE, LEVEL_COLOURS, MUTED, REFERENCE, TEXT
from cityguessr.taxonomy import LEVELS

_PICTURE, _GUTTER = 1.9, 0.16  # inches


def draw(pictures: Sequence[NDArray], table: pd.DataFrame, headings: Sequence[str], title: str) -> Figure:
    """Clips with their four answers, by each head alone and by all heads together.

    A bar is a probability, from 0 to 1, in the level's colour where the answer is right and grey where it is wrong.

    Args:
        pictures: one per clip, uint8 (height, width, 3).
        table: from `story.readings`, the clips in the same order.
        headings: one per clip: what to see.
        title: of the whole sheet.

    Raises InputError where pictures, headings and table do not match.
    """
    groups = [group for _, group in table.groupby("clip_id", sort=False)] if len(table) else []
    if not len(groups) == len(pictures) == len(headings) or not groups:
        raise InputError(f"{len(pictures)} pictures and {len(headings)} headings for {len(groups)} clips")
    sheet = Sheet(title)
    column = (WIDTH - _PICTURE - 2 * _GUTTER) / 2
    for i, (picture, heading, group) in enumerate(zip(pictures, headings, groups, strict=True)):
        check_image(picture, f"picture {i}")
        truth = group.set_index("level")["truth"]
        top = sheet.heading(f"{truth['city']}, {truth['country']}: {heading}", 0, sheet.y, WIDTH, REFERENCE)
        high = _PICTURE * picture.shape[0] / picture.shape[1]
        sheet.fitted_picture(picture, Box(0, top, _PICTURE, high))
        ends = [top + high]
        for n, (kind, words) in enumerate((("alone", "Each head alone"), ("together", "Together (Eq. 5)"))):
            ends.append(_answers(sheet, group, kind, words, _PICTURE + _GUTTER + n * (column + _GUTTER), top, column))
        sheet.y = max(ends) + 0.14
    sheet.note(
        "Bars: probability, in the level's colour where the answer is right, grey where it is wrong. Together: the "
        "city with the largest product of Eq. 5, and its own state, country and continent."
    )
    return sheet.finish()


def _answers(sheet: Sheet, group: pd.DataFrame, kind: str, words: str, x: float, y: float, width: float) -> float:
    """One column of a clip: an answer for each level, continent first. Returns where it ends."""
    sheet.text(words, x, y, CAPTION, MUTED)
    y += CAPTION * LINE + 0.04
    by_level = {row["level"]: row for row in group.to_dict("records")}
    for level in reversed(LEVELS):
        row = by_level[level]
        right, share = row[f"{kind}_right"], row[f"{kind}_probability"]
        colour = LEVEL_COLOURS[level] if right else REFERENCE
        number = "<1%" if share < 0.005 else ">99%" if 0.995 <= share < 1 else f"{share:.0%}"
        sheet.text(number, x + width, y, CAPTION, TEXT, ha="right")
        space = width - text_width(">99%", CAPTION) - 0.1
        for line in wrapped(f"{'✓' if right else '✗'} {row[kind]}", space, CAPTION, bold=right):
            sheet.text(line, x, y, CAPTION, TEXT if right else MUTED, bold=right)
            y += CAPTION * LINE
        sheet.bar(Box(x, y + 0.015, width, 0.055), GUIDE)
        sheet.bar(Box(x, y + 0.015, width * share, 0.055), colour)
        y += 0.11
    return y
