"""The sheet of four answers alone and together: every answer stands on it once, right ones marked."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cityguessr.base.errors import InputError
from cityguessr.figures import readings
from cityguessr.figures.saving import described
from cityguessr.taxonomy import LEVELS


def table() -> pd.DataFrame:
    truth, alone = ("Lima", "Lima Province", "Peru", "South America"), ("Quito", "Lima Province", "Peru", "Asia")
    rows = []
    for level, true, single in zip(LEVELS, truth, alone, strict=True):
        row = {"clip_id": "Lima_0001", "level": level, "truth": true, "alone": single, "together": true}
        row |= {"alone_probability": 0.3, "alone_right": single == true}
        rows.append(row | {"together_probability": 0.9996, "together_right": True})
    return pd.DataFrame(rows)


PICTURE = np.zeros((48, 64, 3), dtype=np.uint8)


def test_right_and_wrong_answers_are_marked() -> None:
    fig = readings.draw([PICTURE], table(), ["repaired"], "One clip")
    words = [text.get_text() for text in fig.axes[0].texts]
    assert "Lima, Peru: repaired" in words
    assert {"✗ Quito", "✓ Peru", "✗ Asia", "✓ Lima", "✓ South America"} <= set(words)
    assert words.count("✓ Lima Province") == 2
    assert words.count(">99%") == 4  # 99.96 % is not certainty
    assert described(fig) == "One clip. Lima, Peru: repaired"  # its alternative text on a page
    plt.close(fig)


def test_a_picture_and_a_heading_for_each_clip() -> None:
    with pytest.raises(InputError, match="2 pictures and 1 headings for 1 clips"):
        readings.draw([PICTURE] * 2, table(), ["repaired"], "One clip")
