"""Clips to show, drawn at random and never by hand, and a system's answers (supplement, Figs. 1, 3 and 6 to 10).

Every draw is decided by its seed and the names of what is drawn. With `clip_ids` it does not depend on the order of the
clips; without, a clip's position stands in for its name.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base.errors import InputError
from cityguessr.measures import metrics
from cityguessr.measures.sphere import great_circle_km
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.predictions import Predictions

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
    for city in sorted(clips, key=lambda city: _random_number(seed, "city", taxonomy.folders[city])):
        country = taxonomy.names["country"][taxonomy.ancestors["country"][city]]
        # First a clip of every country, then one of each country's second city, and so on; then second clips.
        number = _random_number(seed, "country", country)
        places = [(nth, turns[country], number, i) for nth, i in enumerate(clips[city][:4])]
        queues.setdefault(_continent(taxonomy, city), []).extend(places)
        turns[country] += 1
    return {name: [i for *_, i in sorted(queues[name])[:4]] for name in _ordered(queues, QUARTETS_ORDER)}


def one_per_city(
    labels: Mapping[str, Tensor], taxonomy: Taxonomy, seed: int = 0, clip_ids: Sequence[str] | None = None
) -> dict[str, list[int]]:
    """One clip of every city that has any, the cities of a continent by name (supplement, Fig. 3).

    Returns continent -> clip numbers, in the supplement's order; for the arguments see `quartets`.
    """
    clips = _by_city(labels, taxonomy, seed, clip_ids)
    chosen: dict[str, list[int]] = {}
    for city in sorted(clips, key=lambda city: _plain(taxonomy.names["city"][city])):
        chosen.setdefault(_continent(taxonomy, city), []).append(clips[city][0])
    return {name: chosen[name] for name in _ordered(chosen, CITIES_ORDER)}


def draw(
    mask: Tensor,
    count: int,
    seed: int = 0,
    *,
    cities: Tensor | None = None,
    clip_ids: Sequence[str] | None = None,
) -> list[int]:
    """So many of the marked clips, drawn at random, or all of them where there are fewer.

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
        raise InputError(f"give one city per clip: got {tuple(cities.shape)} for {len(mask)} clips")
    drawn = sorted(mask.nonzero()[:, 0].tolist(), key=lambda i: _random_number(seed, "clip", names[i]))
    if cities is not None:
        counts: Counter[int] = Counter()
        turn = {}
        for i in drawn:
            turn[i] = counts[int(cities[i])]
            counts[int(cities[i])] += 1
        drawn.sort(key=turn.__getitem__)
    return drawn[:count]


def finest_right(predictions: Predictions) -> Tensor:
    """The finest level at which each clip is right: LongTensor (N,) of positions in `RIGHT` (Figs. S6 to S10).

    0 city, 1 state, 2 country, 3 continent, 4 nowhere. An answer is a path in the tree, so a clip that is right at a
    level is right at all coarser ones.
    """
    right = predictions.right()
    return torch.stack([~right[level] for level in LEVELS]).sum(dim=0)


def outcomes(predictions: Predictions, k: int = 5) -> Tensor:
    """LongTensor (N,) of positions in `OUTCOMES`: the true city is the likeliest, among the k likeliest, or neither."""
    listed = hierarchy.top_k(predictions.logits, predictions.taxonomy, k, predictions.mode)["city"]
    right = listed == predictions.labels["city"][:, None]
    return 2 - right[:, 0].long() - right.any(dim=1).long()


def describe(predictions: Predictions, which: Sequence[int]) -> pd.DataFrame:
    """Truth and answer of some clips, one row per clip in the order asked for.

    Columns: `clip_id`; `city`, `state`, `country`, `continent`, the truth; `answer_city` and so on, the answer;
    `finest_right`, one of `RIGHT`; `probability` of the answered city, as in `likeliest`; `km` from its centre to the
    clip, NaN where either place is unknown.
    """
    best, finest, names = likeliest(predictions, which, 1), finest_right(predictions), predictions.taxonomy.names
    columns: dict[str, list] = {"clip_id": [predictions.clip_ids[i] for i in which]}
    for prefix, ids in (("", predictions.labels), ("answer_", predictions.answers())):
        columns |= {f"{prefix}{level}": [names[level][ids[level][i]] for i in which] for level in LEVELS}
    columns["finest_right"] = [RIGHT[finest[i]] for i in which]
    columns |= {"probability": best["probability"].tolist(), "km": best["km"].tolist()}
    return pd.DataFrame(columns)


def likeliest(predictions: Predictions, which: Sequence[int], k: int = 5) -> pd.DataFrame:
    """The k likeliest cities of some clips, one row per city (supplement, Fig. 1).

    Columns: `clip_id`, `city`, `country`, the truth; `outcome`, one of `OUTCOMES`; `rank` from 1; `answer`,
    `answer_country`; `probability` in [0, 1], as `hierarchy.probabilities` in the run's mode; `km` from the answer's
    centre to the clip (to the centre of its city where the clip has no coordinates), NaN where a place is unknown;
    `right`; `latitude`, `longitude` of the answer and `true_latitude`, `true_longitude` of the clip, degrees.

    Raises InputError for a clip that there is not.
    """
    for i in which:
        if not 0 <= i < len(predictions):
            raise InputError(f"clip {i}: there are predictions of clips 0 to {len(predictions) - 1}")
    some, taxonomy = predictions.subset(torch.as_tensor(list(which), dtype=torch.int64)), predictions.taxonomy
    truth = some.labels["city"]
    ids = hierarchy.top_k(some.logits, taxonomy, k, some.mode)["city"]  # (n, k)
    shares = hierarchy.probabilities(some.logits, taxonomy, some.mode, torch.float64)["city"].gather(1, ids)
    places = metrics.clip_places(some.places, truth, taxonomy)  # (n, 2) degrees
    km = great_circle_km(taxonomy.latlon[ids].numpy(), places[:, None].numpy())  # (n, k)
    n, k = ids.shape
    country_of = taxonomy.ancestors["country"]
    true, listed = truth.repeat_interleave(k), ids.flatten()  # one per pair of clip and answer
    origins, centres = places.repeat_interleave(k, dim=0), taxonomy.latlon[listed]

    def names(level: str, classes: Tensor) -> list[str]:
        return [taxonomy.names[level][i] for i in classes.tolist()]

    return pd.DataFrame(
        {
            "clip_id": [clip for clip in some.clip_ids for _ in range(k)],
            "city": names("city", true),
            "country": names("country", country_of[true]),
            "outcome": [OUTCOMES[i] for i in outcomes(some, k).repeat_interleave(k).tolist()],
            "rank": list(range(1, k + 1)) * n,
            "answer": names("city", listed),
            "answer_country": names("country", country_of[listed]),
            "probability": shares.flatten().tolist(),
            "km": km.ravel().tolist(),
            "right": (true == listed).tolist(),
            "latitude": centres[:, 0].tolist(),
            "longitude": centres[:, 1].tolist(),
            "true_latitude": origins[:, 0].tolist(),
            "true_longitude": origins[:, 1].tolist(),
        }
    )


def _by_city(
    labels: Mapping[str, Tensor], taxonomy: Taxonomy, seed: int, clip_ids: Sequence[str] | None
) -> dict[int, list[int]]:
    """City id -> its clips, in a random order."""
    cities = labels["city"].tolist()
    if cities and not 0 <= min(cities) <= max(cities) < taxonomy.size("city"):
        raise InputError(f"city ids run from 0 to {taxonomy.size('city') - 1}; got {min(cities)} to {max(cities)}")
    names = _names(clip_ids, len(cities))
    clips: dict[int, list[int]] = {}
    for i in sorted(range(len(cities)), key=lambda i: _random_number(seed, "clip", names[i])):
        clips.setdefault(cities[i], []).append(i)
    return clips


def _names(clip_ids: Sequence[str] | None, count: int) -> Sequence[object]:
    if clip_ids is not None and len(clip_ids) != count:
        raise InputError(f"give one clip id per clip: got {len(clip_ids)} for {count} clips")
    return range(count) if clip_ids is None else clip_ids


def _random_number(seed: int, kind: str, name: object) -> int:
    """A number that seed and name decide, and nothing else."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{kind}/{name}".encode(), digest_size=8).digest(), "big")


def _continent(taxonomy: Taxonomy, city: int) -> str:
    return taxonomy.names["continent"][taxonomy.ancestors["continent"][city]]


def _ordered(names: Iterable[str], order: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def _plain(name: str) -> str:
    """A name as an index sorts it: without regard to case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()
