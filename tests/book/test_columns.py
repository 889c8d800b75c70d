"""Columns of words in a table of pandas stand at the left; numbers, and tables of others, stay as they are."""

import re

import pandas as pd

from cityguessr.book.columns import aligned

TABLE = pd.DataFrame(
    {"claim": ["A video is better than its best single frame", "Scenes help"], "measured": [17.4, 0.1]}
)


def classes(page: str) -> dict[str, str]:
    """The text of each cell -> its classes."""
    found = re.findall(r"<t[dh]([^>]*)>(.*?)</t[dh]>", page)
    return {text: " ".join(re.findall(r'class="([^"]*)"', attributes)) for attributes, text in found}


def test_words_stand_at_the_left_and_numbers_do_not() -> None:
    found = classes(aligned(TABLE.to_html()))
    assert found["Scenes help"] == found["claim"] == "words long"
    assert found["17.4"] == found["measured"] == ""


def test_a_styled_table_keeps_its_own_classes() -> None:
    found = classes(aligned(TABLE.style.hide().to_html()))
    assert found["Scenes help"] == "data row1 col0 words long"
    assert found["claim"].endswith("words long")


def test_labels_that_span_rows_do_not_shift_the_columns() -> None:
    index = pd.MultiIndex.from_tuples([("MAE", "seen"), ("MAE", "unseen")], names=["system", "videos"])
    found = classes(aligned(pd.DataFrame({"level": ["city", "city"], "gain": [1.5, 2.5]}, index).to_html()))
    assert found["city"] == found["level"] == "words"
    assert found["1.5"] == found["gain"] == ""


def test_tables_that_pandas_did_not_write_are_left_alone() -> None:
    table = "<table><tr><td>city</td></tr></table>"
    assert aligned(f"<p>words</p>{table}") == f"<p>words</p>{table}"
