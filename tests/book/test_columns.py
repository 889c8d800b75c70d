"""Columns of words in a table of pandas stand at the left; numbers, and tables of others, stay as they are."""

import re

import pandas as pd

from cityguessr.book.columns import aligned
from cityguessr.book.extension import names_break

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


def test_long_names_may_break_between_their_parts_and_intervals_may_not() -> None:
    frame = pd.DataFrame({"scene_targets": ["miniworld/videomae", "+3.0 [+1.0, +5.0]", "−2.1 (−3.0 to +1.0)", "km_2"]})
    page = aligned(frame.to_html())
    assert "scene_<wbr>targets" in page
    assert "miniworld/<wbr>videomae" in page
    assert "+3.0 [+1.0,&nbsp;+5.0]" in page
    assert "−2.1 (−3.0&nbsp;to&nbsp;+1.0)" in page
    assert "km_2" in page
    assert ">−1.50<" in aligned(pd.DataFrame({"within 25 km": [-1.5, 2]}).style.format("{:.2f}").to_html())
    assert aligned(frame.style.format(lambda x: f'<a href="a_page_of_it">{x}</a>').to_html()).count("a_page_of_it") == 4


def test_a_name_in_code_breaks_between_its_parts_and_nowhere_else() -> None:
    code = '<code><span class="pre">text.features.text_features</span></code>'
    assert names_break(code) == '<code><span class="pre">text.<wbr>features.<wbr>text_<wbr>features</span></code>'
    for whole in ("make", "0.5", "__init__.py", "SelfCrossAttention"):
        assert "<wbr>" not in names_break(f'<span class="pre">{whole}</span>')
    assert names_break("a.name_of text") == "a.name_of text"


def test_a_bound_stays_beside_its_number() -> None:
    assert ">&lt;&nbsp;0.001<" in aligned(pd.DataFrame({"p": ["< 0.001", "0.703"]}).to_html())
