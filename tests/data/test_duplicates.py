"""Near-duplicates across a split, and the search for them."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from cityguessr.base.errors import InputError
from cityguessr.data.leakage.duplicates import all_but, colours, in_groups, near_duplicates, nearest


def vectors(count: int, seed: int) -> torch.Tensor:
    return functional.normalize(torch.randn(count, 24, generator=torch.Generator().manual_seed(seed)))


def test_planted_duplicates_are_found_and_others_are_not() -> None:
    training, validation = vectors(600, 0), vectors(200, 1)
    planted = {3: 17, 50: 400, 199: 0}
    for clip, source in planted.items():
        validation[clip] = functional.normalize(training[source] + 0.02 * vectors(1, clip)[0], dim=0)
    cities = [i % 10 for i in range(200)], [i % 10 for i in range(600)]
    for clip, source in planted.items():
        cities[0][clip] = cities[1][source]
    found = near_duplicates(validation, training, cities, device="cpu")
    assert {clip: int(found.found.index[clip]) for clip in planted} == planted
    others = [clip for clip in found.near.nonzero()[:, 0].tolist() if clip not in planted]
    assert found.near[list(planted)].all()
    assert len(others) <= 0.02 * 200  # the false alarms that were asked for, and as many of the own city's
    assert set(found.pairs(2)) <= set(found.near.nonzero()[:, 0].tolist())


def test_blocks_give_what_the_whole_matrix_gives() -> None:
    queries, bank = vectors(37, 2), vectors(90, 3)
    found, product = nearest(queries, bank, device="cpu", block=8), queries @ bank.T
    assert found.index.tolist() == product.argmax(1).tolist()
    torch.testing.assert_close(found.similarity, product.max(1).values)


def test_what_is_not_allowed_is_never_found() -> None:
    queries, bank = vectors(20, 4), vectors(40, 5)
    own, theirs = [i % 4 for i in range(20)], [i % 4 for i in range(40)]
    for same in (True, False):
        found = nearest(queries, bank, in_groups(own, theirs, same), device="cpu", block=7)
        assert all((theirs[i] == own[q]) is same for q, i in enumerate(found.index.tolist()))
    free = nearest(queries, bank, device="cpu").index
    hidden = nearest(queries, bank, all_but([np.array([i]) for i in free.tolist()], 40), device="cpu").index
    assert (free != hidden).all()
    nothing = nearest(queries, bank, in_groups(["a"] * 20, ["b"] * 40, True), device="cpu")
    assert nothing.take(["x"] * 40) == [None] * 20
    assert nothing.similarity.isnan().all()


def test_colours_know_neither_place_nor_order() -> None:
    frames = torch.randint(0, 256, (2, 3, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    shuffled = frames.flip(1).flatten(3)[..., torch.randperm(256)].unflatten(3, (16, 16))
    torch.testing.assert_close(colours(frames), colours(shuffled))
    torch.testing.assert_close(colours(frames).norm(dim=1), torch.ones(2))
    assert (colours(frames)[0] @ colours(255 - frames)[0]) < 0.9


def test_vectors_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        nearest(torch.full((1, 4), torch.nan), torch.ones(2, 4))
    with pytest.raises(InputError, match=r"give \(q, d\) and \(N, d\)"):
        nearest(torch.ones(1, 3), torch.ones(2, 4))
    with pytest.raises(InputError, match="all clips are of one city"):
        near_duplicates(vectors(3, 0), vectors(4, 1), ([0] * 3, [0] * 4))
    with pytest.raises(InputError, match="between 0 and 1"):
        near_duplicates(vectors(3, 0), vectors(4, 1), ([0] * 3, [1] * 4), false_alarms=1)
