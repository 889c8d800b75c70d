"""What printed accuracies alone say of how rows were read."""

import pytest

from cityguessr.data import mapillary
from cityguessr.paper import audit
from cityguessr.taxonomy import Taxonomy


def shares(table: str, row: str, source: str = "print", metric: str = "top1") -> dict[str, float]:
    """Level -> P(level right | city wrong), to one decimal."""
    frame = audit.audit().set_index(["table", "row", "source", "metric"]).sort_index()
    part = frame.loc[[(table, row, source, metric)]]
    return dict(zip(part["level"], part["share"].round(1), strict=True))


@pytest.mark.parametrize("table", ["table2", "table3", "table5", "vidtag_cityguessr68k"])
def test_the_row_of_videomae_is_unlike_every_other_of_its_table(table: str) -> None:
    assert shares(table, "videomae") == {"state": 0.0, "country": 3.9, "continent": 27.9}
    frame = audit.audit().query("table == @table and source == 'print'")
    own, others = frame[frame["row"] == "videomae"], frame[frame["row"] != "videomae"]
    for level in ("country", "continent"):
        high = own.loc[own["level"] == level, "high"].item()
        assert (others.loc[others["level"] == level, "low"] > high).all()


def test_the_slides_city_of_planet_is_impossible_and_print_s_is_not() -> None:
    """A city more often right than its state: no reading that follows the tree can give it."""
    frame = audit.audit()
    wrong = frame[frame["finding"].isin(["impossible", "falls"])]
    assert wrong[["table", "row", "source", "level"]].values.tolist() == [["table5", "planet", "slides", "state"]]
    assert shares("table5", "planet", "slides")["state"] == -8.7
    assert shares("table2", "mae_first", "slides")["country"] == 15.0
    assert shares("table2", "mae_first")["country"] == 6.7


def test_every_row_with_four_levels_is_audited() -> None:
    frame = audit.audit().query("source == 'print'")
    assert len(frame) == 3 * 42
    assert not frame.duplicated(["table", "row", "metric", "level"]).any()
    assert ((frame["low"] <= frame["share"]) & (frame["share"] <= frame["high"])).all()


def test_rounding_bounds_are_reached_by_accuracies_that_round_to_the_printed_ones() -> None:
    share, low, high = audit.given_wrong_city(50.0, 60.0)
    assert share == pytest.approx(20)
    assert low == pytest.approx(100 * (59.95 - 50.05) / (100 - 50.05))
    assert high == pytest.approx(100 * (60.05 - 49.95) / (100 - 49.95))


def test_wrong_cities_at_random_share_a_continent_one_time_in_four() -> None:
    """61, 43, 34, 15, 7 and 6 cities: 6,870 of the 166 x 165 pairs of two cities."""
    shares = audit.of_any_wrong_city(Taxonomy.cityguessr68k())
    assert shares["continent"] == pytest.approx(100 * 6870 / (166 * 165))
    assert shares["country"] == pytest.approx(2.99, abs=0.01)
    kept = [row["city"] for row in mapillary.cities().values() if row["kept"] == "1"]
    assert audit.of_any_wrong_city(Taxonomy.cityguessr68k().subset(kept))["state"] == 0


def test_rows_that_repeat_another_are_told_apart_from_rows_of_their_own() -> None:
    """Four VideoMAE rows are one, and PlaNet is MAE's random frame; on Mapillary VideoMAE has other numbers."""
    rows = audit.distinct(audit.audit())[["table", "row", "source"]].drop_duplicates().values.tolist()
    assert [table for table, row, _ in rows if row == "videomae"] == ["table2", "table6"]
    assert [source for _, row, source in rows if row == "planet"] == ["slides"]
    assert len(rows) == 28
