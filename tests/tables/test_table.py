"""Tables: the paper beside what was measured, and nothing where nothing was measured."""

import dataclasses
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from small_world import collect, trained

from cityguessr import figures, paper, tables
from cityguessr.base.errors import InputError
from cityguessr.evaluation import columns, results
from cityguessr.figures import comparison
from cityguessr.tables import Table, beside_paper, formats
from cityguessr.taxonomy import LEVELS
from cityguessr.training import experiments
from cityguessr.training.auxiliary import Auxiliary


def _levels(*values: float, metric: str = "top1", step: float = 10) -> dict[tuple[str, str], list[float]]:
    return {(metric, level): [v + step * i for v in values] for i, level in enumerate(LEVELS)}


@pytest.fixture
def table5() -> pd.DataFrame:
    measured = {"planet": _levels(20, 22), "isns": _levels(24), "videomae": _levels(30, 31, 35)}
    measured |= {"cityguessr": _levels(34, 36, 38), "random_text": _levels(31)}
    missing = {"geodecoder": "its run failed", "timesformer": "its weights & 50_% are not on this machine"}
    return beside_paper("table5", measured, "mini", missing, {"random_text": "CityGuessr, random text vectors"})


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
    text = repr(Table(table5))
    assert "| GeoDecoder | 64.2 | not run | 64.5 | not run |" in text
    assert "GeoDecoder: not run, because its run failed." in text


def test_top1_and_top5_of_one_system_are_two_lines() -> None:
    measured = {"cityguessr": _levels(30, 32) | _levels(60, 62, metric="top5")}
    text = repr(Table(beside_paper("table_s3", measured, "mini")))
    assert "| CityGuessr top-1 | 69.6 | 31.0 ± 1.4 |" in text
    assert "| CityGuessr top-5 | 85.4 | 61.0 ± 1.4 |" in text


def test_a_measured_row_may_lack_a_number_and_then_says_so() -> None:
    frame = beside_paper("table_s3", {"cityguessr": _levels(30)}, "mini")
    states = frame.set_index(["metric", "level"])["state"]
    assert states["top1", "city"] == "measured"
    assert states["top5", "city"] == "not run, because no top5 at city was computed"


def test_no_mean_is_bold_for_being_the_largest(table5: pd.DataFrame) -> None:
    assert "36.0 ± 2.0" in repr(Table(table5))  # the best city of this table
    assert not re.findall(r"\*\*\d[^*]*\*\*", repr(Table(table5)))


def test_every_caption_says_that_miniworld_is_not_comparable(table5: pd.DataFrame, tmp_path: Path) -> None:
    for path in Table(table5, "State of the art").write(tmp_path):
        if path.suffix != ".csv":
            text = path.read_text()
            assert "State of the art." in text
            assert "Profile mini (MiniWorld: synthetic, not comparable with the paper)" in text
    real = beside_paper("table4", dict.fromkeys(("none", "independent", "codependent"), _levels(50)), "cityguessr68k")
    assert "synthetic" not in repr(Table(real))


def test_what_is_written_can_be_read(table5: pd.DataFrame, tmp_path: Path) -> None:
    written = Table(table5, "A caption").write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table5.csv", "table5.md", "table5.tex"]
    pd.testing.assert_frame_equal(pd.read_csv(written[0]), table5, rtol=1e-5)
    rows = [line for line in written[1].read_text().splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 7
    assert len({line.count("|") for line in rows}) == 1


def test_latex_is_booktabs_with_its_special_characters_escaped(table5: pd.DataFrame, tmp_path: Path) -> None:
    tex = Table(table5, "50% & more_or_less").write(tmp_path)[2].read_text()
    assert [tex.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"50\% \& more\_or\_less" in tex
    assert r"its weights \& 50\_\% are not" in tex
    assert r"36.0 $\pm$ 2.0" in tex
    assert tex.isascii()
    body = tex[tex.index(r"\midrule") : tex.index(r"\bottomrule")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines() if "&" in line} == {9}
    assert tex.count("{") - tex.count(r"\{") == tex.count("}") - tex.count(r"\}")


def test_html_takes_its_colours_from_the_theme_and_is_well_formed(table5: pd.DataFrame) -> None:
    page = Table(table5, "A <caption>")._repr_html_()
    assert not re.search(r"#[0-9a-fA-F]{3,6}\b|rgb\(|[^-]color:(?!inherit)", page)
    assert "A &lt;caption&gt;" in page
    assert "font-weight:bold;" not in page

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
        fig = comparison.compare(table5)
        assert [ax.get_title(loc="left") for ax in fig.axes] == ["City", "State", "Country", "Continent"]
        for ax, level in zip(fig.axes, LEVELS, strict=True):
            part = table5[table5["level"] == level]
            printed = next(c for c in ax.collections if c.get_offsets().shape == (7, 2)).get_offsets()[:, 0]
            assert printed[:6].tolist() == part["paper"].tolist()[:6]
            dots = next(line for line in ax.lines if line.get_marker() == "o")
            assert mpl.colors.same_color(dots.get_color(), figures.LEVEL_COLOURS[level])
            shown = [x for x in dots.get_xdata() if not math.isnan(x)]
            assert shown == part["measured"].dropna().tolist()
            assert sum(text.get_text() == "not run" for text in ax.texts) == 2
        plt.close(fig)


def test_the_plots_bars_are_standard_deviations_or_the_given_intervals(table5: pd.DataFrame) -> None:
    def bars(fig: plt.Figure) -> list[list[float]]:
        segments = [ends for ends in fig.axes[0].collections[1].get_segments() if len(ends)]  # none where NaN
        plt.close(fig)
        return [[start[0], end[0]] for start, end in segments]

    deviation = math.sqrt(2)
    assert bars(comparison.compare(table5))[0] == pytest.approx([21 - deviation, 21 + deviation])
    fig = comparison.compare(table5, intervals={("isns", "top1", "city"): (21.5, 27)})
    assert "95 % interval" in fig.legends[0].get_texts()[1].get_text()
    assert bars(fig) == [[21.5, 27]]
    with pytest.raises(InputError, match="no row 'isn'"):
        comparison.compare(table5, intervals={("isn", "top1", "city"): (0, 1)})


@pytest.fixture
def beyond() -> pd.DataFrame:
    def row(accuracy: float, rate: float, km: float) -> dict[tuple[str, str], list[float]]:
        more = {("conflict_rate", "all"): [rate], ("median_km", "city"): [km, km + 20], ("ece", "city"): [8.04]}
        shares = {(f"within_{r}km", "city"): [accuracy + r / 100] for r in (25, 200, 750, 2500)}
        return _levels(accuracy) | _levels(accuracy + 20, metric="top5") | more | shares

    measured = {"planet": row(20, 40, 1200), "isns": row(30, 50, 90), "cityguessr": row(40, 45, 70)}
    missing = dict.fromkeys(("geodecoder", "timesformer", "videomae"), "its weights are not here")
    return beside_paper("table5", measured, "mini", missing)


def blocks(text: str) -> list[list[str]]:
    """The blocks of a table in Markdown, a list of lines each."""
    return [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]


def test_what_the_paper_lacks_stands_in_blocks_of_its_own(beyond: pd.DataFrame) -> None:
    first, top5, rest = blocks(repr(Table(beyond)))
    assert first[2].startswith("| PlaNet | 55.8 | 20.0 | 56.3 | 30.0 |")
    assert "top-5" not in "".join(first)
    assert top5[0] == "| System | City | State | Country | Continent |"
    assert top5[-1] == "| CityGuessr (ours) | 60.0 | 70.0 | 80.0 | 90.0 |"
    within = " | ".join(f"Clips within (%): {km} km" for km in (25, 200, 750, 2500))
    assert rest[0] == f"| System | Conflicts (%) | ECE (%) | Median (km) | {within} |"
    assert rest[2] == "| PlaNet | 40.0 | 8.0 | 1,210 ± 14 | 20.2 | 22.0 | 27.5 | 45.0 |"
    assert rest[-1] == "| CityGuessr (ours) | 45.0 | 8.0 | 80.0 ± 14.1 | 40.2 | 42.0 | 47.5 | 65.0 |"
    assert len(first) == 2 + 6
    assert len(top5) == len(rest) == 2 + 3  # those that were run


def test_a_row_that_was_not_run_is_in_the_first_block_and_is_explained_once(beyond: pd.DataFrame) -> None:
    text = repr(Table(beyond))
    assert [sum(line.count("not run") for line in block) for block in blocks(text)] == [3 * 4, 0, 0]
    assert text.count("GeoDecoder, TimeSformer, VideoMAE: not run, because its weights are not here.") == 1


def test_missing_weights_are_said_in_one_line_and_how_to_get_them_in_the_csv(tmp_path: Path) -> None:
    why = "the weights 'x' are not on this machine: data/weights/x lacks config.json; where there is a network, ..."
    missing = {"none": why, "independent": why}
    table = Table(beside_paper("table4", {"codependent": _levels(40)}, "mini", missing))
    notes = repr(table).split("\n\n")[2:]
    assert notes == [
        "w/o hierarchical evaluation, independent: not run, because the weights 'x' are not on this machine.",
        "How to get the weights is in the column `state` of the table's CSV.\n",
    ]
    table.write(tmp_path)
    assert "where there is a network" in (tmp_path / "table4.csv").read_text()


def test_without_more_metrics_there_is_one_block(table5: pd.DataFrame) -> None:
    text = repr(Table(table5))
    assert len(blocks(text)) == 1
    assert "Beyond" not in text


def test_beyond_the_paper_a_row_of_two_lines_has_one(tmp_path: Path) -> None:
    """Table S3 prints top-1 and top-5 of one system, which has one conflict rate."""
    one = _levels(30) | _levels(60, metric="top5") | {("conflict_rate", "all"): [50]}
    own = {"video_split": "CityGuessr, split by source video"}
    frame = beside_paper("table_s3", {"cityguessr": one, "video_split": one}, "mini", labels=own)
    first, rest = blocks(repr(Table(frame)))
    assert [line.split(" | ")[0] for line in first[2:]] == [
        "| CityGuessr top-1",
        "| CityGuessr top-5",
        "| CityGuessr, split by source video top-1",
        "| CityGuessr, split by source video top-5",
    ]
    assert rest[2:] == ["| CityGuessr | 50.0 |", "| CityGuessr, split by source video | 50.0 |"]


@pytest.fixture
def differences() -> pd.DataFrame:
    lines = [("planet", "PlaNet", level, -3.1, -5.0, -1.2) for level in LEVELS]
    lines += [("isns", "ISNs", level, 0.5, -0.04, 1.04) for level in LEVELS]
    lines += [("videomae", "VideoMAE", level, *[math.nan] * 3) for level in LEVELS]
    return pd.DataFrame(lines, columns=list(columns.DIFFERENCES))


def test_differences_stand_in_a_last_block_and_are_bold_where_they_are_sure(
    table5: pd.DataFrame, differences: pd.DataFrame, tmp_path: Path
) -> None:
    text = repr(Table(table5, "", differences))
    assert "Difference to CityGuessr (ours), top-1, 95 % intervals over seeds and source videos" in text
    assert blocks(text)[-1][2:] == [
        "| PlaNet |" + " **−3.1 [−5.0, −1.2]** |" * 4,
        "| ISNs |" + " +0.5 [0.0, +1.0] |" * 4,
        "| VideoMAE |" + " – |" * 4,
    ]
    assert "1–3 seeds, the same for both sides" in text
    assert "–: the two were not validated on the same clips" in text
    counted = differences.assign(clips=1322, videos=410)
    assert "1,322 clips of 410 source videos" in repr(Table(table5, "", counted))
    written = Table(table5, "A caption", differences).write(tmp_path)
    assert [path.name for path in written][-1] == "table5_differences.csv"
    pd.testing.assert_frame_equal(pd.read_csv(written[-1]), differences)


def test_all_blocks_are_sound_latex_and_html(beyond: pd.DataFrame, differences: pd.DataFrame, tmp_path: Path) -> None:
    tex = Table(beyond, "A caption", differences).write(tmp_path)[2].read_text()
    assert tex.isascii()
    assert [tex.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}")] == [4] * 4
    assert r"\multicolumn{4}{c}{Clips within (\%)}" in tex
    assert r"\cmidrule(lr){5-8}" in tex
    assert r"\textbf{$-$3.1 {[}$-$5.0, $-$1.2{]}}" in tex  # a bare bracket after \\ would be its argument
    assert tex.count("{") - tex.count(r"\{") == tex.count("}") - tex.count(r"\}")
    for tabular in re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", tex, re.S):
        body = tabular[1][tabular[1].index(r"\midrule") :]
        assert {len(re.findall(r"(?<!\\)&", x)) for x in body.splitlines() if "&" in x} == {len(tabular[0]) - 1}
    page = Table(beyond, "A caption", differences)._repr_html_()
    for head, body in re.findall(r"<thead>(.*?)</thead><tbody>(.*?)</tbody>", page):
        widths = [
            sum(int(n or 1) for n in re.findall(r'<t[hd](?: colspan="(\d+)")? ', row))
            for row in re.findall(r"<tr.*?</tr>", head + body)
        ]
        assert len(set(widths)) == 1
    assert page.count("<table") == page.count("</table>") == 4


def test_a_block_scrolls_in_its_own_box_and_a_difference_may_break_before_its_interval(
    table5: pd.DataFrame, differences: pd.DataFrame
) -> None:
    page = Table(table5, "", differences)._repr_html_()
    assert page.count("<table") == page.count('<div style="overflow-x:auto;')
    intervals = [text for text in re.findall(r"<td[^>]*>([^<]*)</td>", page) if "[" in text]
    assert intervals
    assert all(text.count(" ") == 1 and " [" in text for text in intervals)  # the only space that is not a hard one
    assert "nowrap" not in page


def test_what_is_code_is_set_as_code_in_html_and_latex(table5: pd.DataFrame, differences: pd.DataFrame) -> None:
    layout = Table(table5, "Of `mode`", differences.assign(n_seeds=3, seed_sd=0.5)).layout
    layout = dataclasses.replace(layout, notes=("How to get them is in `state`.",))
    assert "`" not in layout._repr_html_() + formats.latex(layout)
    assert "<code>state</code>" in layout._repr_html_()
    assert r"\texttt{seed\_sd}" in formats.latex(layout)
    assert "`state`" in repr(layout)


def test_differences_to_what_is_not_there_are_refused(table5: pd.DataFrame, differences: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="no row 'codependent'; it has planet"):
        Table(table5, "", differences, "codependent")
    with pytest.raises(InputError, match="no row 'elsewhere'"):
        Table(table5, "", differences.replace({"row": {"isns": "elsewhere"}}))
    with pytest.raises(InputError, match="has no low, high"):
        Table(table5, "", differences.drop(columns=["low", "high"]))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"table": "table99"}, "no table 'table99'"),
        ({"profile": "maxi"}, "no profile 'maxi'"),
        ({"missing": {}}, "row codependent: neither a measurement nor a reason"),
        ({"missing": {"codependent": "x", "none": "y"}}, "row none: both"),
        ({"missing": {"codependant": "x"}}, "no row 'codependant'"),
        ({"measured": {"none": _levels(math.nan), "independent": _levels(2)}}, "not a finite number"),
    ],
)
def test_a_table_refuses_what_it_cannot_stand_for(changes: dict[str, object], says: str) -> None:
    arguments = {"table": "table4", "measured": {"none": _levels(1), "independent": _levels(2)}, "profile": "mini"}
    with pytest.raises(InputError, match=says):
        beside_paper(**(arguments | {"missing": {"codependent": "it is a test"}} | changes))


def test_a_table_is_built_of_runs_and_keeps_what_it_was_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Caption, reference and mode are given once: the files, the plots and what a notebook shows follow from them."""
    runs = {"cityguessr": (trained(45), trained(42, 1)), "videomae": (trained(30), trained(33, 1))}
    full = {name: runs.get(name, (trained(36), trained(39, 1))) for name in experiments.TABLES["table3"].values()}
    found = collect(monkeypatch, "table3", full, mode="none")
    table = tables.build(found, "A caption", "videomae", more={"cityguessr": {("top5", "city"): [80.0, 90.0]}})
    city = table.frame.set_index(["row", "metric", "level"])["measured"]
    assert city["cityguessr", "top1", "city"] == pytest.approx(72.5)
    assert city["cityguessr", "top5", "city"] == 85
    assert "videomae" not in set(table.differences["row"])
    assert "A caption." in repr(table)
    label = dict(paper.rows("table3"))["videomae"]
    assert f"Difference to {label}" in repr(table)
    assert "Weights at the start: " in table.layout.caption
    names = [path.name for path in table.write(tmp_path)]
    assert names == [f"table3_none{end}" for end in (".csv", ".md", ".tex", "_differences.csv")]
    assert "95 % interval" in table.compare().legends[0].get_texts()[-1].get_text()
    assert "interval" not in table.compare("ece", ["city"]).legends[0].get_texts()[-1].get_text()
    assert label in table.plot_differences().get_suptitle()
    plt.close("all")


def test_a_row_that_the_paper_lacks_can_be_left_out_of_the_drawing(
    table5: pd.DataFrame, differences: pd.DataFrame
) -> None:
    own = "CityGuessr, random text vectors"
    more = pd.DataFrame(
        [("random_text", own, level, -50.0, -52.0, -48.0) for level in LEVELS], None, differences.columns
    )
    table = Table(table5, "", pd.concat([differences, more]))

    def drawn(*leave_out: str) -> int:
        return len(table.plot_differences(leave_out).axes[0].get_yticks())

    assert drawn() == drawn("random_text") + 1
    with pytest.raises(InputError, match="planet"):  # a printed row would be drawn as one that was not run
        drawn("planet")


def test_a_table_without_differences_draws_none(table5: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="made without differences"):
        Table(table5).plot_differences()


def test_the_caption_says_in_what_the_runs_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = {"execution": {"torch": "2.11.0", "device": "cpu", "precision": "fp32"}}
    on_gpu = {"execution": {"torch": "2.11.0", "device": "NVIDIA H100", "precision": "bf16"}}
    alike = {"scenes_16": (trained(30, **on_cpu),), "scenes_365": (trained(35, **on_cpu),)}
    assert "differ" not in tables.build(collect(monkeypatch, "table_s1", alike), "A caption").layout.caption
    mixed = alike | {"scenes_365": (trained(35, **on_gpu),)}
    table = tables.build(collect(monkeypatch, "table_s1", mixed), "A caption")
    words = "The runs differ in device (NVIDIA H100; cpu) and precision (bf16; fp32). "
    assert table.layout.caption.startswith(f"A caption. {words}Paper beside measured")
    assert words in repr(table)
    bare = tables.build(collect(monkeypatch, "table_s1", mixed))
    assert bare.layout.caption.startswith(words)


@pytest.fixture
def parted(monkeypatch: pytest.MonkeyPatch) -> results.Results:
    """Runs of seen and unseen clips, with two seeds, one of them alone with one, and a text head that has learned."""
    cosine = Auxiliary(text_cosine=torch.linspace(0.75, 0.85, 60), text_constant=torch.full((60,), 0.75))
    answers = {
        name: tuple(trained(right - seed, seed, seen=24, auxiliary=cosine) for seed in (0, 1))
        for right, name in zip(range(30, 60, 2), dict.fromkeys(experiments.TABLES["controls"].values()), strict=False)
    }
    answers["mae_random"] = (trained(20, seen=24),)
    return collect(monkeypatch, "controls", answers)


def test_seen_and_unseen_stand_in_one_table_that_the_paper_lacks(parted: results.Results, tmp_path: Path) -> None:
    table = tables.build(parted, "Controls")
    text = repr(table)
    assert "seen | State" in blocks(text)[0][0]
    assert "paper" not in blocks(text)[0][0]
    assert "Unseen source videos: top-1 accuracy (%)" in text
    main, unseen = ("\n".join(block) for block in blocks(text)[:2])
    measured = table.frame.set_index(["row", "metric", "level"])["measured"]
    assert f"| random vectors | {measured['tla_random', 'top1', 'city']:.1f} ±" in main
    assert f"| random vectors | {measured['tla_random', 'top1_unseen', 'city']:.1f} ±" in unseen
    lines = blocks(text)[-1]
    assert lines[0] == "| System | Videos | City | State | Country | Continent |"
    assert [line.split(" | ")[1] for line in lines[2:4]] == ["seen", "unseen"]
    assert "the same for both sides (one seed for MAE, random frame)." in text
    assert "standard deviation over seeds is" in text  # of each row it is in the CSV
    assert "one seed: not the spread of trainings" in text.lower()
    assert "60 clips of 20 source videos" in text
    written = [path.name for path in table.write(tmp_path)]
    assert written[-2:] == ["controls_differences.csv", "controls_learned.csv"]
    assert (tmp_path / "controls.tex").read_text().isascii()


def test_a_missing_row_of_a_table_that_the_paper_lacks_has_its_reason() -> None:
    rows = experiments.TABLES["controls"]
    labels = {row: experiments.get(name).label for row, name in rows.items()}
    measured = {row: _levels(30) for row in rows if row != "mae_average"}
    frame = beside_paper("controls", measured, "mini", {"mae_average": "it is a test"}, labels)
    assert "| MAE, average of all frames | not run | not run | not run | not run | – |" in repr(Table(frame))


def test_unseen_videos_are_hollow_dots(parted: results.Results) -> None:
    table = tables.build(parted, "Controls")
    for fig in (table.compare(), table.plot_differences()):
        assert [text.get_text() for text in fig.legends[0].get_texts()][-1] == "unseen videos"
        hollow = [line for line in fig.axes[0].lines if line.get_markerfacecolor() == "white"]
        assert len(hollow) == 1
        assert sum(x == x for x in hollow[0].get_xdata()) >= 14
        plt.close(fig)


def test_intervals_over_clips_say_what_they_leave_out(table5: pd.DataFrame, differences: pd.DataFrame) -> None:
    text = repr(Table(table5, "", differences.assign(clips=500, videos=500)))
    assert "over seeds and clips" in text
    assert "√(1 + (m − 1) ρ)" in text


@pytest.mark.parametrize("table", ["controls", "table3"])
def test_some_rows_of_a_table_make_a_table(monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    found = collect(monkeypatch, table, {"cityguessr": (trained(40),)}, only=["cityguessr", "videomae"])
    text = repr(tables.build(found))
    assert set(found.differences()["row"]) == {"videomae"}
    assert ("left out here" in text) == (table == "table3")  # the paper's rows stay, with the reason
