"""The rules of the guessing game: which clips come, which cities one may choose from, and how answers are counted."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base.errors import InputError
from cityguessr.evaluation import examples, story
from cityguessr.interactive import panels
from cityguessr.interactive.panels import Panel
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.predictions import Predictions

RIVALS = 2  # of the wrong options are those that the model holds for likeliest; the others are drawn at random


@dataclasses.dataclass(frozen=True)
class Round:
    """One clip to guess; cities are ids of the tree.

    Attributes:
        clip: its number in the validation split.
        options: the cities to choose from, in the order in which they stand.
        truth: where it was recorded, one of the options.
        model: what the model holds for likeliest of the options.
        free: what it holds for likeliest of all cities.
        probability: of `free`, in [0, 1].
    """

    clip: int
    options: tuple[int, ...]
    truth: int
    model: int
    free: int
    probability: float


def deal(
    predictions: Predictions,
    clips: int | Sequence[int] = 10,
    options: int = 5,
    seed: int = 0,
    cities: Collection[int] | None = None,
) -> list[Round]:
    """The rounds of a game: clips drawn at random, no city twice while another has not come; or those that are named.

    The options are the true city, the two wrong cities that the model holds for likeliest, and others at random, in
    random order. Seed and clip id decide a round, and nothing else.

    Args:
        clips: how many, all where there are fewer; or their numbers.
        options: cities to choose from, 2 to 8; fewer where the tree has fewer.
        cities: those that may be options beside the truth; all by default.

    Raises InputError for a count below 1, other numbers of options, and predictions without a clip.
    """
    if (clips if isinstance(clips, int) else len(clips)) < 1:
        raise InputError(f"clips={clips}: a game has one clip at least")
    if not 2 <= options <= 8:
        raise InputError(f"options={options}: give 2 to 8 cities to choose from")
    if not len(predictions):
        raise InputError("these predictions hold no clip; there is nothing to guess")
    every, truths = torch.ones(len(predictions), dtype=torch.bool), predictions.labels["city"]
    if isinstance(clips, int):
        drawn = examples.draw(every, clips, seed, cities=truths, clip_ids=predictions.clip_ids)
    else:
        drawn = [story.clip(predictions, chosen=number) for number in clips]
    some = predictions.subset(torch.tensor(drawn))
    shares = hierarchy.probabilities(some.logits, some.taxonomy, some.mode, torch.float64)["city"]  # (n, cities)
    allowed = sorted(range(shares.shape[1]) if cities is None else cities)
    return [
        _round(clip, int(truths[clip]), row, allowed, options, random.Random(f"{seed}/{predictions.clip_ids[clip]}"))
        for clip, row in zip(drawn, shares, strict=True)
    ]


def _round(clip: int, truth: int, shares: Tensor, allowed: Sequence[int], count: int, chance: random.Random) -> Round:
    wrong = [city for city in allowed if city != truth]
    rivals = sorted(wrong, key=lambda city: -float(shares[city]))[: min(RIVALS, count - 1)]
    others = [city for city in wrong if city not in rivals]
    chosen = [truth, *rivals, *chance.sample(others, min(len(others), count - 1 - len(rivals)))]
    chance.shuffle(chosen)
    free = int(shares.argmax())
    model = max(chosen, key=lambda city: float(shares[city]))
    return Round(clip, tuple(chosen), truth, model, free, float(shares[free]))


def score(rounds: Sequence[Round], chosen: Sequence[int | None], taxonomy: Taxonomy) -> Panel:
    """The table at the end: how many are right at each level, yours, the model's and what blind guessing gives.

    Args:
        chosen: the option chosen in each round played, by its number; None where none was.
    """
    played = rounds[: len(chosen)]
    yours = [None if n is None else one.options[n] for one, n in zip(played, chosen, strict=True)]
    answers = (yours, [one.model for one in played], [one.free for one in played])
    rows = []
    for level in LEVELS:
        ids = taxonomy.ancestors[level].tolist()
        truths = [ids[one.truth] for one in played]
        counts = [
            sum(city is not None and ids[city] == truth for city, truth in zip(cities, truths, strict=True))
            for cities in answers
        ]
        # How many of the options would be right, of all of them: what a blind guess gets on average.
        shares = [
            sum(ids[city] == truth for city in one.options) / len(one.options)
            for one, truth in zip(played, truths, strict=True)
        ]
        cells = [level, *(f"{count} of {len(played)}" for count in counts), panels.fixed(sum(shares), 1)]
        rows.append({"cells": cells, "marks": [""] * 5, "strong": level == "city"})
    everywhere = f"the model, all {taxonomy.size('city')} cities"
    return panels.table("The score", ["right", "you", "the model, same options", everywhere, "blind guessing"], rows)


def verdict(one: Round, taxonomy: Taxonomy) -> Mapping[str, str]:
    """What is said of a round when its answer is shown: `truth` and `model`, a sentence or two each."""

    def city(number: int) -> str:
        path = taxonomy.chain(torch.tensor(number))
        return f"{taxonomy.names['city'][number]}, {taxonomy.names['country'][int(path['country'])]}"

    places = f"all {taxonomy.size('city')} cities"
    model = f"Of {places} the model's answer is {city(one.free)} ({panels.percent(one.probability, 0)})."
    if one.free != one.model:
        model += f" Of these {len(one.options)} it takes {city(one.model)}."
    return {"truth": f"It is {taxonomy.path(one.truth)}.", "model": model}
