"""A seed is one that torch and NumPy take alike."""

import pytest

from cityguessr.base.errors import InputError
from cityguessr.training import jobs
from cityguessr.training.seeds import check_seed


@pytest.mark.parametrize(
    "seed", [-1, 2**32, 10**30, 10**5000, 1.0, True, "1", None], ids=lambda s: f"{s!s:.9}" if s != 10**5000 else "huge"
)
def test_what_is_no_seed_is_refused_before_data_are_prepared(seed: object) -> None:
    with pytest.raises(InputError, match=r"a seed is a whole number from 0 to 4,294,967,295, not") as error:
        jobs.trainings(["cityguessr"], "mini", [0, seed])  # type: ignore[list-item]
    assert len(str(error.value)) < 150
    assert check_seed(5_000_000) == 5_000_000
