"""Where the answers go: accuracy city by city, the commonest confusions, and whether any region is favoured.

Pure functions of a run's predictions, read as the run reads them: the city answers, and its state, country and
continent follow from the tree (paper, section 4.6).
"""

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError, one_of
from cityguessr.measures import metrics
from cityguessr.measures.sphere import EARTH_RADIUS_KM, great_circle_km, kernel_density
from cityguessr.taxonomy import LEVELS
from cityguessr.training.predictions import Predictions

Z = 1.959964  # of a normal distribution: 95 % lie within so many standard deviations


def by_city(predictions: Predictions) -> pd.DataFrame:
    """Accuracy in each city, and how uncertain it is.

    Returns one row per city of the taxonomy, by city id: `city_id`; its names `city`, `state`, `country`, `continent`;
    `latitude`, `longitude` in degrees (NaN where not known); `clips`, how many it has in the validation split; and for
    each level, such as `city`: `right_city`, how many of them are right; `accuracy_city` in percent; `low_city` and
    `high_city`, its 95 % interval (Wilson 1927), which takes clips as independent, so the true one is at least as
    wide; and `shrunken_city`, the accuracy after `shrink`. A city without clips has NaN in all four.
    """
    hits, cities, taxonomy = predictions.right(), predictions.labels["city"], predictions.taxonomy
    rows = taxonomy.rows()
    clips = torch.bincount(cities, minlength=len(rows)).numpy()
    columns = {
        "city_id": [row["city_id"] for row in rows],
        "city": [row["display_name"] for row in rows],
        **{level: [row[level] for row in rows] for level in LEVELS[1:]},
        "latitude": taxonomy.latlon[:, 0].numpy(),
        "longitude": taxonomy.latlon[:, 1].numpy(),
        "clips": clips,
    }
    for level in LEVELS:
        count = torch.bincount(cities, hits[level].double(), minlength=len(rows)).numpy()
        low, high = wilson(count, clips)
        columns |= {
            f"right_{level}": count.astype(int),
            f"accuracy_{level}": 100 * _share(count, clips),
            f"low_{level}": low,
            f"high_{level}": high,
            f"shrunken_{level}": shrink(count, clips)[0],
        }
    return pd.DataFrame(columns)


def by_class(predictions: Predictions, of: str = "continent", draws: int = 2000) -> pd.DataFrame:
    """Accuracy over all clips of each class, such as each continent: enough of them for a number to mean something.

    Args:
        of: the level whose classes are the rows.
        draws: of the bootstrap over source videos (`metrics.bootstrap`).

    Returns a row for each class that has clips, and each level: `of` (its name), `clips`, `level`, `accuracy`, `low`,
    `high` in percent, with the 95 % interval; most clips first, and last a row for all clips, named "all".
    """
    if of not in LEVELS:
        raise one_of("level", of, LEVELS)
    hits, labels, taxonomy = predictions.right(), predictions.labels[of], predictions.taxonomy
    counts = torch.bincount(labels, minlength=taxonomy.size(of))
    order = sorted(np.flatnonzero(counts.numpy()).tolist(), key=lambda i: (-int(counts[i]), i))
    groups = [(taxonomy.names[of][i], labels == i) for i in order]
    groups.append(("all", torch.ones_like(labels, dtype=torch.bool)))
    rows = []
    for name, member in groups:
        videos = [video for video, inside in zip(predictions.video_ids, member.tolist(), strict=True) if inside]
        for level in LEVELS:
            rows.append((name, len(videos), level, *metrics.bootstrap(hits[level][member], videos, draws)))
    return pd.DataFrame(rows, columns=[of, "clips", "level", "accuracy", "low", "high"])


def commonest(predictions: Predictions, count: int | None = 30) -> pd.DataFrame:
    """The commonest confusions of cities.

    Args:
        count: how many at most; None for all.

    Returns one row per pair, the commonest first: `truth` and `answer`, city ids; `clips` of that city with that
    answer; `share`, their share of all clips of the true city, in percent, which also orders pairs of equally many
    clips; `km` between the two cities' centres, NaN where one has no coordinates.
    """
    answers, taxonomy = predictions.answers()["city"].numpy(), predictions.taxonomy
    truths, cities = predictions.labels["city"].numpy(), taxonomy.size("city")
    wrong = answers != truths
    codes, clips = np.unique(truths[wrong].astype(np.int64) * cities + answers[wrong], return_counts=True)
    truth, answer = codes // cities, codes % cities
    places = taxonomy.latlon.numpy()
    pairs = pd.DataFrame(
        {
            "truth": truth,
            "answer": answer,
            "clips": clips,
            "share": 100 * clips / np.bincount(truths, minlength=cities)[truth],
            "km": great_circle_km(places[truth], places[answer]),
        }
    )
    pairs = pairs.sort_values(["clips", "share", "truth", "answer"], ascending=[False, False, True, True])
    return pairs.head(len(pairs) if count is None else count).reset_index(drop=True)


def between(predictions: Predictions, level: str = "continent") -> pd.DataFrame:
    """The confusion matrix of a level: clips of each true class (rows) by the class answered (columns), as counts."""
    names, answers = list(predictions.taxonomy.names[level]), predictions.answers()[level]
    size = len(names)
    table = torch.bincount(predictions.labels[level] * size + answers, minlength=size * size).reshape(size, size)
    return pd.DataFrame(table.numpy(), index=pd.Index(names, name="true"), columns=pd.Index(names, name="answered"))


def overlap(predictions: Predictions, radius_km: float = 400, draws: int = 200, seed: int = 0) -> pd.DataFrame:
    """How alike the correct predictions and the data are spread over the world: Fig. S5 as numbers.

    Both are densities of soft blobs, as on the maps, each scaled to an integral of 1; their overlap is the integral of
    the smaller of the two, 100 % where they are alike. Few clips never overlap wholly with many, even if they are
    drawn evenly, so a reference is needed: the numbers of right clips are shuffled among videos with equally many
    clips, so that no region can be favoured.

    Args:
        radius_km: of a blob, as in `sphere.kernel_density`.
        draws: how many times the right clips are shuffled.
        seed: of the shuffling.

    Returns one row per level: `level`; `accuracy`; `overlap`; `expected`, the mean overlap of the draws, and `low` and
    `high`, within which 95 % of them lie; all in percent, NaN at a level where no clip is right. Clips of cities
    without coordinates are left out.

    Raises InputError where no clip lies in a city with coordinates.
    """
    hits, cities = predictions.right(), predictions.labels["city"].numpy()
    latlon = predictions.taxonomy.latlon.numpy()
    placed = np.isfinite(latlon).all(axis=1)
    keep = placed[cities]
    if not keep.any():
        raise InputError("none of these clips lies in a city with coordinates; add lat and lon to the label table")
    _, first, video = np.unique(np.array(predictions.video_ids)[keep], return_index=True, return_inverse=True)
    home, sizes = cities[keep][first], np.bincount(video)  # of each video: its city, its clips
    used, row = np.unique(home, return_inverse=True)
    data = np.bincount(row, sizes)
    blobs = _blobs(latlon[used], data, radius_km)  # (cities, cells), each row adds up to 1
    target = data @ blobs / data.sum()

    def likeness(counts: NDArray) -> float:
        weights = np.bincount(row, counts, len(used))
        return 100 * float(np.minimum(weights @ blobs / weights.sum(), target).sum()) if weights.any() else np.nan

    generator = np.random.default_rng(seed)
    groups = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
    rows = []
    for level in LEVELS:
        counts = np.bincount(video, hits[level].numpy()[keep].astype(float))
        chance = []
        for _ in range(draws):
            shuffled = counts.copy()
            for group in groups:
                shuffled[group] = generator.permutation(counts[group])
            chance.append(likeness(shuffled))
        low, high = np.percentile(chance, [2.5, 97.5])
        share = 100 * counts.sum() / sizes.sum()
        rows.append((level, share, likeness(counts), np.mean(chance), low, high))
    return pd.DataFrame(rows, columns=["level", "accuracy", "overlap", "expected", "low", "high"])


def wilson(hits: ArrayLike, clips: ArrayLike) -> tuple[NDArray, NDArray]:
    """The 95 % interval of a share, in percent, which also holds for few clips (Wilson, JASA 1927).

    Args:
        hits, clips: (n,) how many of how many; NaN stands for the interval of none.
    """
    hits, clips = np.asarray(hits, float), np.asarray(clips, float)
    share, width = _share(hits, clips), Z**2 / np.where(clips > 0, clips, np.nan)
    centre = (share + width / 2) / (1 + width)
    half = np.sqrt(share * (1 - share) * width + width**2 / 4) / (1 + width)
    return 100 * np.clip(centre - half, 0, 1), 100 * np.clip(centre + half, 0, 1)


def shrink(hits: ArrayLike, clips: ArrayLike) -> tuple[NDArray, float]:
    """Shares drawn towards the share of all clips together, the more so the fewer clips they rest on.

    Empirical Bayes: the cities' shares are taken as draws from one beta distribution, whose mean is the share of all
    clips and whose strength is the one that makes the counts likeliest. That strength is a number of clips: each city
    is treated as if it had that many more, with the overall share of them right. Where the counts cannot tell, as with
    one clip per city, it is the largest tried, 10,000: then nothing is known of single cities.

    Args:
        hits, clips: (n,) how many are right of how many; at least one clip in all.

    Returns the shares (n,) in percent, NaN where there are no clips, and the strength in clips.
    """
    hits, clips = np.asarray(hits, float), np.asarray(clips, float)
    if hits.shape != clips.shape or (hits > clips).any() or (hits < 0).any() or not clips.sum() > 0:
        raise InputError("shares need counts of right clips of 0 to the number of clips, and at least one clip")
    mean = hits.sum() / clips.sum()
    strengths = np.geomspace(1e4, 0.1, 241)  # from the strongest, which wins where many fit alike
    best = strengths[0]
    if 0 < mean < 1:
        n, k, s = (torch.from_numpy(np.asarray(values)) for values in (clips, hits, strengths[:, None]))
        a, b = s * mean, s * (1 - mean)
        terms = (k + a).lgamma() - a.lgamma() + (n - k + b).lgamma() - b.lgamma() + s.lgamma() - (n + s).lgamma()
        likelihood = terms.sum(dim=1).numpy()
        best = strengths[np.argmax(likelihood > likelihood.max() - 1e-6)]
    shares = 100 * (hits + best * mean) / (clips + best)
    return np.where(clips > 0, shares, np.nan), float(best)


def _share(hits: NDArray, clips: NDArray) -> NDArray:
    return np.divide(hits, clips, out=np.full(len(clips), np.nan), where=clips > 0)


def _blobs(places: NDArray, weights: NDArray, radius_km: float) -> NDArray:
    """(n, 2) degrees -> (n, cells), the share of each place's blob in each cell of a grid, where all of them matter."""
    sigma = np.degrees(radius_km / EARTH_RADIUS_KM)
    step = 180 / np.ceil(180 / min(2.0, sigma / 1.2))
    everything = kernel_density(places, weights, radius_km, step)
    matters = everything.values > 1e-5 * everything.values.max()
    area = np.broadcast_to(everything.areas[:, None], matters.shape)[matters]
    rows = np.stack([kernel_density([place], None, radius_km, step).values[matters] * area for place in places])
    return rows / rows.sum(axis=1, keepdims=True)
