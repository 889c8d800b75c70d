"""Inequality of a data set: Lorenz curve, Gini coefficient and Hoover index, against numbers worked out by hand."""

import numpy as np
import pytest

from cityguessr.base.errors import InputError
from cityguessr.measures import inequality


def test_even_classes_have_no_inequality() -> None:
    assert inequality.gini([7] * 166) == pytest.approx(0)
    assert inequality.hoover([7] * 166) == pytest.approx(0)
    x, y = inequality.lorenz([7] * 166)
    np.testing.assert_allclose(x, y)  # the ideal line y = x


@pytest.mark.parametrize("n", [1, 2, 10, 166])
def test_one_class_that_holds_all_samples(n: int) -> None:
    counts = [0] * (n - 1) + [500]
    assert inequality.gini(counts) == pytest.approx(1 - 1 / n)
    assert inequality.hoover(counts) == pytest.approx(1 - 1 / n)


def test_a_vector_by_hand() -> None:
    counts = [5, 1, 2]  # sorted 1, 2, 5: Eq. 1 gives 2 (1 + 4 + 15) / (3 * 8) - 4 / 3, Eq. 2 (5/3 + 2/3 + 7/3) / 16
    assert inequality.gini(counts) == pytest.approx(40 / 24 - 4 / 3)
    assert inequality.hoover(counts) == pytest.approx((14 / 3) / 16)
    x, y = inequality.lorenz(counts)
    assert x == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert y == pytest.approx([0, 1 / 8, 3 / 8, 1])


def test_both_are_what_the_supplement_says_of_the_curve() -> None:
    """Gini: the area between line and curve over the area under the line. Hoover: their longest vertical distance."""
    counts = np.random.default_rng(0).lognormal(size=500)
    x, y = inequality.lorenz(counts)
    area = 0.5 - ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()
    assert inequality.gini(counts) == pytest.approx(area / 0.5)
    assert inequality.hoover(counts) == pytest.approx((x - y).max())


@pytest.mark.parametrize("counts", [[], [0, 0], [3, -1], [1, float("nan")], [[1, 2]]])
def test_what_are_no_counts_is_refused(counts: list) -> None:
    for index in (inequality.lorenz, inequality.gini, inequality.hoover):
        with pytest.raises(InputError, match="counts of samples"):
            index(counts)
