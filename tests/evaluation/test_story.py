"""The three clips that pages follow: each is what its rule says, and no clip fits the rule better."""

import dataclasses

import pytest
import torch
from predicted import TREE, made

from cityguessr import hierarchy
from cityguessr.base.errors import InputError
from cityguessr.evaluation import story
from cityguessr.taxonomy import LEVELS
from cityguessr.training.predictions import Predictions


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    some = made(torch.randint(0, 166, (900,), generator=torch.Generator().manual_seed(5)))
    return dataclasses.replace(some, seen=torch.arange(900) % 3 > 0)


def test_each_clip_is_what_its_kind_says(predictions: Predictions) -> None:
    found = story.clips(predictions)
    assert [*found] == [*story.RULES] == [*story.HEADINGS]
    raw, joint = predictions.right("none"), predictions.right("codependent")
    repaired, near, wrong = found.values()
    assert not raw["city"][repaired]
    assert all(joint[level][repaired] for level in LEVELS)
    assert joint["country"][near]
    assert not joint["city"][near]
    assert hierarchy.top_k(predictions.logits, TREE, 2)["city"][near, 1] == predictions.labels["city"][near]
    assert not any(joint[level][wrong] for level in LEVELS)


def test_none_of_its_kind_goes_further(predictions: Predictions) -> None:
    """Of all clips of unseen videos that Eq. 5 repairs, its true city gains most; the wrong one is the surest."""
    found = story.clips(predictions)
    own = predictions.logits["city"].double().softmax(1)
    share = hierarchy.probabilities(predictions.logits, TREE, "codependent", torch.float64)["city"]
    raw, joint = predictions.right("none")["city"], predictions.right("codependent")
    gains, shares = {}, {}
    for i in (~predictions.seen).nonzero()[:, 0].tolist():
        city = predictions.labels["city"][i]
        if joint["city"][i] and not raw[i]:
            gains[i] = float(share[i, city] - own[i, city])
        if not joint["continent"][i]:
            shares[i] = float(share[i].max())
    assert found["repaired"] == max(gains, key=gains.__getitem__)
    assert found["sure and wrong"] == max(shares, key=shares.__getitem__)


def test_clips_of_seen_videos_only_where_there_are_no_others(predictions: Predictions) -> None:
    assert not any(predictions.seen[i] for i in story.clips(predictions).values())
    seen = dataclasses.replace(predictions, seen=torch.ones(900, dtype=torch.bool))
    assert [*story.clips(seen)] == [*story.RULES]


def test_a_run_that_is_always_right_has_no_such_clip(predictions: Predictions) -> None:
    sure = {level: 50.0 * torch.eye(TREE.size(level))[predictions.labels[level]] for level in LEVELS}
    perfect = dataclasses.replace(predictions, logits=sure)
    assert story.clips(perfect) == {}
    with pytest.raises(InputError, match=r"no clip of this run is 'repaired' .*choose one yourself"):
        story.clip(perfect)
    assert story.clip(perfect, chosen=7) == 7


def test_a_chosen_clip_must_be_one(predictions: Predictions) -> None:
    with pytest.raises(InputError, match="clip=9999: the validation split has clips 0 to 899"):
        story.clip(predictions, chosen=9999)
    with pytest.raises(InputError, match=r"'broken'.*repaired"):
        story.clip(predictions, "broken")


def test_readings_are_the_four_answers_alone_and_together(predictions: Predictions) -> None:
    which = [*story.clips(predictions).values()]
    table = story.readings(predictions, which)
    assert table["level"].tolist() == [*LEVELS] * 3
    repaired = table[:4].set_index("level")
    assert not repaired["alone_right"]["city"]
    assert repaired["together_right"].all()
    some = predictions.subset(torch.tensor(which))
    product = hierarchy.refine(some.logits, TREE)["city"][0]
    assert repaired["together_probability"]["city"] == pytest.approx(float(product.max() / product.sum()), rel=1e-4)
    softmax = some.logits["country"].softmax(1)
    alone = table[table["level"] == "country"]["alone_probability"]
    assert alone.tolist() == pytest.approx(softmax.amax(1).tolist(), rel=1e-4)
