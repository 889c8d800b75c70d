"""The figure of the audit from print."""

import pytest

from cityguessr.base.errors import InputError
from cityguessr.figures.print_audit import right_where_the_city_is_wrong
from cityguessr.paper import audit
from cityguessr.taxonomy import Taxonomy


def test_every_row_stands_at_its_share_and_the_slides_numbers_are_hollow() -> None:
    frame = audit.distinct(audit.audit())
    fig = right_where_the_city_is_wrong(frame, audit.of_any_wrong_city(Taxonomy.cityguessr68k()))
    for ax, level in zip(fig.axes, ("state", "country", "continent"), strict=True):
        part = frame[frame["level"] == level]
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert [line.get_xdata()[0] for line in dots] == part["share"].tolist()
        hollow = [line.get_markerfacecolor() == "white" for line in dots]
        assert hollow == (part["source"] == "slides").tolist()


def test_a_row_twice_is_refused() -> None:
    """CityGuessr's top-1 and top-5 of Table S3 have labels of their own; the same line twice has not."""
    frame = audit.audit()
    with pytest.raises(InputError, match="twice"):
        right_where_the_city_is_wrong(frame.loc[[0, 1, 2, 0]], {})
