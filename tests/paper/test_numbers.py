"""The paper's numbers, as a reader finds them in print."""

import dataclasses

import pytest

from cityguessr import paper
from cityguessr.base.errors import InputError
from cityguessr.taxonomy import LEVELS, Taxonomy


def test_the_headline_of_the_paper() -> None:
    assert [paper.value("table5", "cityguessr", "top1", level) for level in LEVELS] == [69.6, 70.2, 74.8, 83.8]
    assert paper.value("table_s3", "cityguessr", "top5", "continent") == 99.5
    assert paper.value("table2", "mae_first", "top1", "country") == 55.3  # the slides print 59.3


def test_every_table_is_complete() -> None:
    frame = paper.results()
    assert len(frame) == 376
    assert list(dict.fromkeys(frame["table"])) == list(paper.TITLES)
    assert not frame.duplicated(["table", "row", "metric", "level"]).any()
    for table in ("table2", "table3", "table4", "table5", "table6", "table_s1", "table_s2"):
        part = frame[frame["table"] == table]
        assert set(part.groupby("row").size()) == {4}
        assert set(part["metric"]) == {"top1"}
    shares = frame[~frame["metric"].str.contains("median_km|dfd|mrd")]
    assert shares["value"].between(0, 100).all()


def test_rows_stand_in_the_order_of_print() -> None:
    assert [row for row, _ in paper.rows("table4")] == ["none", "independent", "codependent"]
    assert paper.rows("table_s3") == [("cityguessr", "CityGuessr top-1"), ("cityguessr", "CityGuessr top-5")]


def test_numbers_that_the_paper_prints_twice_agree() -> None:
    for level in LEVELS:
        for twin in (("table3", "cityguessr"), ("table4", "codependent"), ("table_s2", "tla_clip")):
            assert paper.value(*twin, "top1", level) == paper.value("table5", "cityguessr", "top1", level)
        assert paper.value("table_s1", "scenes_16", "top1", level) == paper.value(
            "table3", "scenes_soft", "top1", level
        )
        assert paper.value("table5", "planet", "top1", level) == paper.value("table2", "mae_random", "top1", level)


def test_the_split_adds_up_and_the_counts_are_those_of_the_tree(taxonomy: Taxonomy) -> None:
    data = paper.dataset().set_index(["where", "dataset", "quantity"])["value"]
    assert data["split", "cityguessr68k", "train"] + data["split", "cityguessr68k", "val"] == 68_269
    assert data["split", "msls_filtered", "train"] + data["split", "msls_filtered", "val"] == 11_320
    plural = {"city": "cities", "state": "states", "country": "countries", "continent": "continents"}
    assert taxonomy.sizes == {level: data["table1", "cityguessr68k", plural[level]] for level in LEVELS}
    assert data["fig_s3"].sum() == 166
    for continent, name in enumerate(taxonomy.names["continent"]):
        assert (taxonomy.ancestors["continent"] == continent).sum() == data["fig_s3", name, "cities"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (("table9", "x", "top1", "city"), "table_s1"),
        (("table4", "codependant", "top1", "city"), "none, independent, codependent"),
        (("table4", "none", "top5", "city"), "top1/city"),
    ],
)
def test_an_unknown_number_names_the_known_ones(number: tuple[str, str, str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        paper.value(*number)


def test_every_disagreement_has_a_switch_of_the_model_or_a_reason() -> None:
    model = pytest.importorskip("cityguessr.model")
    fields = {field.name for field in dataclasses.fields(model.ModelConfig)}
    frame = paper.disagreements()
    assert len(frame) == 15
    covered = set()
    for what, switch in zip(frame["what"], frame["switch"], strict=True):
        if switch.startswith(paper.NO_SWITCH):
            assert len(switch) > len(paper.NO_SWITCH) + 20, what
        else:
            names = set(switch.split(", "))
            assert names <= fields, f"{what}: {names - fields} is no field of ModelConfig"
            covered |= names
    described, released = model.ModelConfig.as_described(), model.ModelConfig.as_released()
    for name in covered:
        assert getattr(described, name) != getattr(released, name), f"the presets agree on {name}"
    assert {"frames", "sampling", "epochs", "text_layers", "text_reduction", "evaluation"} <= covered
