"""Clips to show, drawn by lot and never by hand, and what a system says of them (supplement, Figs. 1, 3 and 6 to 10).

Every draw is decided by its seed and the names of what is drawn. With `clip_ids` it does not depend on the order in
which the clips stand; without, a clip's position stands in for its name.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base.errors import InputError
from cityguessr.measures import metrics
from cityguessr.measures.sphere import great_circle_km
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.runs import Predictions

if TYPE_CHECKING:
    import pandas as pd

RIGHT = (*LEVELS, "nowhere")
"""The finest level at which a clip can be right: the five classes of the supplement's Figs. 6 to 10."""

OUTCOMES = ("right", "right within five", "wrong")
"""Where the true city stands in a list of the likeliest: the rows of the supplement's Fig. 1."""

QUARTETS_ORDER = ("Asia", "Africa", "Europe", "North America", "South America", "Oceania")
CITIES_ORDER = ("Africa", "Europe", "North America", "South America", "Asia", "Oceania")
"""The continents as Fig. 1 and as the supplement's Fig. 3 list them; those of another tree follow by name."""


def quartets(
    labels: Mapping[str, Tensor], taxonomy: Taxonomy, seed: int = 0, clip_ids: Sequence[str] | None = None
) -> dict[str, list[int]]:
    """Four clips of each continent, of as many countries as it has, and of as many cities (paper, Fig. 1).

    The six continents of the paper's tree give 22 countries: four each, and the two of Oceania.

    Args:
        labels: level -> LongTensor (N,) class ids, as `ClipDataset.labels`.
        clip_ids: N names, so that the draw does not depend on the order of the clips.

    Returns continent -> clip numbers, in the paper's order; fewer than four where there are fewer clips, and no entry
    for a continent without any.
    """
    clips = _by_city(labels, taxonomy, seed, clip_ids)
    turns: Counter[str] = Counter()
    queues: dict[str, list[tuple[int, int, int, int]]] = {}
    for city in sorted(clips, key=lambda city: _lot(seed, "city", taxonomy.folders[city])):
        country = taxonomy.names["country"][taxonomy.ancestors["country"][city]]
        # First a clip of every country, then one of each country's second city, and so on; then second clips.
        lines = [(nth, turns[country], _lot(seed, "country", country), i) for nth, i in enumerate(clips[city][:4])]
        queues.setdefault(_continent(taxonomy, city), []).extend(lines)
        turns[country] += 1
    return {name: [i for *_, i in sorted(queues[name])[:4]] for name in _ordered(queues, QUARTETS_ORDER)}


def one_per_city(
    labels: Mapping[str, Tensor], taxonomy: Taxonomy, seed: int = 0, clip_ids: Sequence[str] | None = None
) -> dict[str, list[int]]:
    """One clip of every city that has any, the cities of a continent by name (supplement, Fig. 3).

    Returns continent -> clip numbers, in the supplement's order; for the arguments see `quartets`.
    """
    clips = _by_city(labels, taxonomy, seed, clip_ids)
    found: dict[str, list[int]] = {}
    for city in sorted(clips, key=lambda city: _plain(taxonomy.names["city"][city])):
        found.setdefault(_continent(taxonomy, city), []).append(clips[city][0])
    return {name: found[name] for name in _ordered(found, CITIES_ORDER)}


def draw(
    mask: Tensor,
    count: int,
    seed: int = 0,
    *,
    cities: Tensor | None = None,
    clip_ids: Sequence[str] | None = None,
) -> list[int]:
    """So many of the marked clips by lot, or all of them where there are fewer.

    Args:
        mask: bool (N,).
        count: how many, 0 or more.
        cities: (N,) city ids; no city then comes a second time while another has not come at all.
        clip_ids: N names, so that the draw does not depend on the order of the clips.

    Returns clip numbers in the order in which they were drawn.
    """
    mask = torch.as_tensor(mask)
    if mask.ndim != 1 or mask.dtype != torch.bool or count < 0:
        raise InputError(
            f"draw takes a bool (N,) and a count of 0 or more; got {mask.dtype} {tuple(mask.shape)}, {count}"
        )
    names = _names(clip_ids, len(mask))
    if cities is not None and cities.shape != mask.shape:
        raise InputError(f"one city a clip: got {tuple(cities.shape)} for {len(mask)} clips")
    drawn = sorted(mask.nonzero()[:, 0].tolist(), key=lambda i: _lot(seed, "clip", names[i]))
    if cities is not None:
        seen: Counter[int] = Counter()
        turn = {}
        for i in drawn:
            turn[i] = seen[int(cities[i])]
            seen[int(cities[i])] += 1
        drawn.sort(key=turn.__getitem__)
    return drawn[:count]


def finest_right(predictions: Predictions, taxonomy: Taxonomy, products: bool = True) -> Tensor:
    """The finest level at which each clip is right: LongTensor (N,) of positions in `RIGHT` (Figs. S6 to S10).

    0 city, 1 state, 2 country, 3 continent, 4 nowhere. The answers are codependent, a path in the tree, so a clip that
    is right at a level is right at all coarser ones. `products` as in `hierarchy.top_k`.
    """
    answers = hierarchy.predict(predictions.logits, taxonomy, "codependent", products)
    return torch.stack([answers[level] != predictions.labels[level] for level in LEVELS]).sum(dim=0)


def outcomes(predictions: Predictions, taxonomy: Taxonomy, k: int = 5, products: bool = True) -> Tensor:
    """LongTensor (N,) of positions in `OUTCOMES`: the true city is the likeliest, among the k likeliest, or neither."""
    listed = hierarchy.top_k(predictions.logits, taxonomy, k, "codependent", products)["city"]
    right = listed == predictions.labels["city"][:, None]
    return 2 - right[:, 0].long() - right.any(dim=1).long()


def describe(
    predictions: Predictions, taxonomy: Taxonomy, which: Sequence[int], products: bool = True
) -> "pd.DataFrame":
    """What is true and what was answered of some clips, a row each in the order asked for.

    Columns: `clip_id`; `city`, `state`, `country`, `continent`, the truth; `answer_city` and so on, the codependent
    answer; `finest_right`, one of `RIGHT`; `probability` of the answered city, as in `likeliest`; `km` from its centre
    to the clip, NaN where either place is unknown.
    """
    import pandas as pd

    best = likeliest(predictions, taxonomy, which, 1, products)
    finest = finest_right(predictions, taxonomy, products)
    answers = hierarchy.predict(predictions.logits, taxonomy, "codependent", products)
    columns: dict[str, list] = {"clip_id": [predictions.clip_ids[i] for i in which]}
    for prefix, ids in (("", predictions.labels), ("answer_", answers)):
        columns |= {f"{prefix}{level}": [taxonomy.names[level][ids[level][i]] for i in which] for level in LEVELS}
    columns["finest_right"] = [RIGHT[finest[i]] for i in which]
    columns |= {"probability": best["probability"].tolist(), "km": best["km"].tolist()}
    return pd.DataFrame(columns)


def likeliest(
    predictions: Predictions, taxonomy: Taxonomy, which: Sequence[int], k: int = 5, products: bool = True
) -> "pd.DataFrame":
    """The k likeliest cities of some clips, a row each (supplement, Fig. 1).

    Columns: `clip_id`, `city`, `country`, the truth; `outcome`, one of `OUTCOMES`; `rank` from 1; `answer`,
    `answer_country`; `probability` in [0, 1], the products of Eq. 5 divided by their sum over all cities; `km` from the
    answer's centre to the clip (to the centre of its city where the clip has no coordinates), NaN where a place is
    unknown; `right`; `latitude`, `longitude` of the answer and `true_latitude`, `true_longitude` of the clip, degrees.
    """
    import pandas as pd

    for i in which:
        if not 0 <= i < len(predictions.clip_ids):
            raise InputError(f"clip {i}: there are predictions of clips 0 to {len(predictions.clip_ids) - 1}")
    some = torch.as_tensor(list(which), dtype=torch.int64)
    logits = {level: values[some] for level, values in predictions.logits.items()}
    truth = predictions.labels["city"][some]
    ids = hierarchy.top_k(logits, taxonomy, k, "codependent", products)["city"]  # (n, k)
    scores = hierarchy.path_scores(logits, taxonomy)["city"] if products else logits["city"]
    shares = scores.double().softmax(dim=1).gather(1, ids)
    places = metrics.clip_places(predictions.places[some], truth, taxonomy)  # (n, 2) degrees
    outcome = outcomes(predictions, taxonomy, k, products)[some]
    km = great_circle_km(taxonomy.latlon[ids].numpy(), places[:, None].numpy())  # (n, k)
    n, k = ids.shape
    names, above = taxonomy.names, taxonomy.ancestors["country"]
    each, listed = truth.repeat_interleave(k).tolist(), ids.flatten().tolist()  # a row a pair of clip and answer
    where, there = places.repeat_interleave(k, dim=0), taxonomy.latlon[ids.flatten()]
    return pd.DataFrame(
        {
            "clip_id": [predictions.clip_ids[i] for i in some.tolist() for _ in range(k)],
            "city": [names["city"][i] for i in each],
            "country": [names["country"][above[i]] for i in each],
            "outcome": [OUTCOMES[i] for i in outcome.repeat_interleave(k).tolist()],
            "rank": list(range(1, k + 1)) * n,
            "answer": [names["city"][i] for i in listed],
            "answer_country": [names["country"][above[i]] for i in listed],
            "probability": shares.flatten().tolist(),
            "km": km.ravel().tolist(),
            "right": [answer == true for answer, true in zip(listed, each, strict=True)],
            "latitude": there[:, 0].tolist(),
            "longitude": there[:, 1].tolist(),
            "true_latitude": where[:, 0].tolist(),
            "true_longitude": where[:, 1].tolist(),
        }
    )


def _by_city(
    labels: Mapping[str, Tensor], taxonomy: Taxonomy, seed: int, clip_ids: Sequence[str] | None
) -> dict[int, list[int]]:
    """City id -> its clips, in the order of their lots."""
    cities = labels["city"].tolist()
    if cities and not 0 <= min(cities) <= max(cities) < taxonomy.size("city"):
        raise InputError(f"city ids run from 0 to {taxonomy.size('city') - 1}; got {min(cities)} to {max(cities)}")
    names = _names(clip_ids, len(cities))
    found: dict[int, list[int]] = {}
    for i in sorted(range(len(cities)), key=lambda i: _lot(seed, "clip", names[i])):
        found.setdefault(cities[i], []).append(i)
    return found


def _names(clip_ids: Sequence[str] | None, count: int) -> Sequence[object]:
    if clip_ids is not None and len(clip_ids) != count:
        raise InputError(f"one clip id a clip: got {len(clip_ids)} for {count} clips")
    return range(count) if clip_ids is None else clip_ids


def _lot(seed: int, kind: str, name: object) -> int:
    """A number that seed and name decide, and nothing else."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{kind}/{name}".encode(), digest_size=8).digest(), "big")


def _continent(taxonomy: Taxonomy, city: int) -> str:
    return taxonomy.names["continent"][taxonomy.ancestors["continent"][city]]


def _ordered(names: Iterable[str], order: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def _plain(name: str) -> str:
    """A name as an index sorts it: without regard to case and accents."""
    import unicodedata

    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()
