"""Tables: the paper beside what was measured, and nothing where nothing was measured."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

mpl.use("agg")

import matplotlib.pyplot as plt

from cityguessr import figures, paper, tables
from cityguessr.errors import InputError
from cityguessr.taxonomy import LEVELS


def _levels(*values: float, metric: str = "top1", step: float = 10) -> dict[tuple[str, str], list[float]]:
    return {(metric, level): [v + step * i for v in values] for i, level in enumerate(LEVELS)}


@pytest.fixture
def table5() -> pd.DataFrame:
    measured = {"planet": _levels(20, 22), "isns": _levels(24), "videomae": _levels(30, 31, 35)}
    measured |= {"cityguessr": _levels(34, 36, 38), "random_text": _levels(31)}
    missing = {"geodecoder": "its run failed", "timesformer": "its weights & 50_% are not on this machine"}
    return tables.build("table5", measured, "mini", missing, {"random_text": "CityGuessr, random text vectors"})


def test_the_frame_has_the_agreed_columns_and_the_papers_rows_in_order(table5: pd.DataFrame) -> None:
    columns = ["table", "row", "label", "metric", "level", "paper", "measured", "std", "n_seeds", "profile", "state"]
    assert list(table5.columns) == columns
    assert list(dict.fromkeys(table5["row"])) == [row for row, _ in paper.rows("table5")] + ["random_text"]
    assert list(table5["level"]) == list(LEVELS) * 7
    for line in table5[table5["row"] != "random_text"].itertuples():
        assert line.paper == paper.value("table5", line.row, line.metric, line.level)
    assert table5[table5["row"] == "random_text"]["paper"].isna().all()


def test_mean_and_sample_standard_deviation_over_seeds(table5: pd.DataFrame) -> None:
    city = table5[table5["level"] == "city"].set_index("row")
    assert city.loc["videomae", "measured"] == 32
    assert city.loc["videomae", "std"] == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert list(city["n_seeds"]) == [2, 1, 0, 0, 3, 3, 1]
    assert math.isnan(city.loc["isns", "std"])  # one seed has no spread


def test_a_row_without_a_run_says_why_and_shows_no_number(table5: pd.DataFrame) -> None:
    cells = table5[table5["row"] == "geodecoder"]
    assert set(cells["state"]) == {"not run, because its run failed"}
    assert cells["measured"].isna().all()
    assert set(table5[table5["row"] == "planet"]["state"]) == {"measured"}
    text = repr(tables.show(table5))
    assert "| GeoDecoder | 64.2 | not run | 64.5 | not run |" in text
    assert "GeoDecoder: not run, because its run failed." in text


def test_top1_and_top5_of_one_system_are_two_lines() -> None:
    measured = {"cityguessr": _levels(30, 32) | _levels(60, 62, metric="top5")}
    text = repr(tables.show(tables.build("table_s3", measured, "mini")))
    assert "| CityGuessr top-1 | 69.6 | 31.0 ± 1.4 |" in text
    assert "| CityGuessr top-5 | 85.4 | 61.0 ± 1.4 |" in text


def test_a_measured_row_may_lack_a_number_and_then_says_so() -> None:
    frame = tables.build("table_s3", {"cityguessr": _levels(30)}, "mini")
    states = frame.set_index(["metric", "level"])["state"]
    assert states["top1", "city"] == "measured"
    assert states["top5", "city"] == "not run, because no top5 at city was computed"


def test_the_best_measured_is_bold_and_the_lowest_wins_for_errors(table5: pd.DataFrame) -> None:
    text = repr(tables.show(table5))
    assert re.findall(r"\*\*(\d[^*]*)\*\*", text) == [f"{v}.0 ± 2.0" for v in (36, 46, 56, 66)]
    measured = {
        row: _levels(40) | {("median_km", "city"): [km]} for row, km in (("videomae", 900), ("cityguessr", 700))
    }
    text = repr(tables.show(tables.build("table6", measured, "mini")))
    assert "**700.0**" in text
    assert "**40.0**" not in text  # equal rows have no best


def test_every_caption_says_that_miniworld_is_not_comparable(table5: pd.DataFrame, tmp_path: Path) -> None:
    for path in tables.write(table5, "State of the art", tmp_path):
        if path.suffix != ".csv":
            text = path.read_text()
            assert "State of the art." in text
            assert "Profile mini (MiniWorld: synthetic, not comparable with the paper)" in text
    real = tables.build("table4", dict.fromkeys(("none", "independent", "codependent"), _levels(50)), "cityguessr68k")
    assert "synthetic" not in repr(tables.show(real))


def test_what_is_written_can_be_read(table5: pd.DataFrame, tmp_path: Path) -> None:
    written = tables.write(table5, "A caption", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table5.csv", "table5.md", "table5.tex"]
    pd.testing.assert_frame_equal(pd.read_csv(written[0]), table5, rtol=1e-5)
    rows = [line for line in written[1].read_text().splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 7
    assert len({line.count("|") for line in rows}) == 1


def test_latex_is_booktabs_with_its_special_characters_escaped(table5: pd.DataFrame, tmp_path: Path) -> None:
    tex = tables.write(table5, "50% & more_or_less", tmp_path)[2].read_text()
    assert [tex.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"50\% \& more\_or\_less" in tex
    assert r"its weights \& 50\_\% are not" in tex
    assert r"\textbf{36.0 $\pm$ 2.0}" in tex
    assert tex.isascii()
    body = tex[tex.index(r"\midrule") : tex.index(r"\bottomrule")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines() if "&" in line} == {9}
    assert tex.count("{") - tex.count(r"\{") == tex.count("}") - tex.count(r"\}")


def test_html_takes_its_colours_from_the_theme_and_is_well_formed(table5: pd.DataFrame) -> None:
    page = tables.show(table5, "A <caption>")._repr_html_()
    assert not re.search(r"#[0-9a-fA-F]{3,6}\b|rgb\(|[^-]color:(?!inherit)", page)
    assert "A &lt;caption&gt;" in page
    assert "font-weight:bold;" in page

    class Balance(HTMLParser):
        open_: list[str] = []  # noqa: RUF012
        rows = 0

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.open_.append(tag)
            self.rows += tag == "tr"

        def handle_endtag(self, tag: str) -> None:
            assert self.open_.pop() == tag

    parser = Balance()
    parser.feed(page)
    assert parser.open_ == []
    assert parser.rows == 2 + 7


def test_the_plot_shows_every_number_of_the_table(table5: pd.DataFrame) -> None:
    with mpl.rc_context():
        figures.use_style()
        fig = tables.compare(table5)
        assert [ax.get_title(loc="left") for ax in fig.axes] == ["City", "State", "Country", "Continent"]
        for ax, level in zip(fig.axes, LEVELS, strict=True):
            part = table5[table5["level"] == level]
            printed = next(c for c in ax.collections if c.get_offsets().shape == (7, 2)).get_offsets()[:, 0]
            assert printed[:6].tolist() == part["paper"].tolist()[:6]
            dots = ax.containers[0].lines[0]
            assert mpl.colors.same_color(dots.get_color(), figures.LEVEL_COLOURS[level])
            shown = [x for x in dots.get_xdata() if not math.isnan(x)]
            assert shown == part["measured"].dropna().tolist()
            assert sum(text.get_text() == "not run" for text in ax.texts) == 2
        plt.close(fig)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"table": "table99"}, "no table 'table99'"),
        ({"profile": "maxi"}, "no profile 'maxi'"),
        ({"missing": {}}, "row codependent: neither a measurement nor a reason"),
        ({"missing": {"codependent": "x", "none": "y"}}, "row none: both"),
        ({"missing": {"codependant": "x"}}, "no row 'codependant'"),
        ({"measured": {"none": _levels(math.nan), "independent": _levels(2)}}, "no finite number"),
    ],
)
def test_a_table_refuses_what_it_cannot_stand_for(changes: dict[str, object], says: str) -> None:
    arguments = {"table": "table4", "measured": {"none": _levels(1), "independent": _levels(2)}, "profile": "mini"}
    with pytest.raises(InputError, match=says):
        tables.build(**(arguments | {"missing": {"codependent": "it is a test"}} | changes))
