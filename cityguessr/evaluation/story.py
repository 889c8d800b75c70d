"""Three clips that the pages follow, each picked by a rule from the run at hand.

    clips = story.clips(run.predictions)  # {"repaired": 4, "nearly right": 436, "sure and wrong": 845}

They are examples of what can happen, and none of how often it happens: `examples.draw` is for that.
"""

import pandas as pd
import torch
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base.errors import InputError, one_of
from cityguessr.taxonomy import LEVELS
from cityguessr.training.predictions import Predictions

RULES = {
    "repaired": "the city head alone is wrong and the codependent answer is right; of these the clip whose true city "
    "gains most by Eq. 5",
    "nearly right": "the right country, the wrong city, and the true city second on the list; of these the clip whose "
    "true city is most probable",
    "sure and wrong": "the wrong continent; of these the clip whose answer is most probable",
}
"""Kind of clip -> the rule that picks it, in words."""

HEADINGS = {
    "repaired": "Eq. 5 repairs the answer",
    "nearly right": "the right country, and the true city comes second",
    "sure and wrong": "the wrong continent, and sure of it",
}
"""Kind of clip -> what to see in it."""


def clips(predictions: Predictions) -> dict[str, int]:
    """The clip of each kind: kind -> its number; a kind without any clip is left out.

    Where some clips are of source videos that training has not seen, only these can be picked, so that no answer is
    owed to having seen the same drive. Every answer is read as codependent, whatever the run's own mode.
    """
    cities, taxonomy = predictions.labels["city"], predictions.taxonomy
    number = torch.arange(len(predictions))
    alone = predictions.logits["city"].double().softmax(dim=1)
    joint = hierarchy.probabilities(predictions.logits, taxonomy, "codependent", torch.float64)["city"]
    raw = predictions.right("none")["city"]
    right, second = predictions.right("codependent"), joint.topk(2, dim=1).indices[:, 1]
    true = joint[number, cities]
    candidates = {
        "repaired": (~raw & right["city"], true - alone[number, cities]),
        "nearly right": (right["country"] & ~right["city"] & (second == cities), true),
        "sure and wrong": (~right["continent"], joint.amax(dim=1)),
    }
    allowed = ~predictions.seen if "unseen" in predictions.parts else torch.ones_like(predictions.seen)
    return {
        kind: int(score.masked_fill(~(fits & allowed), -torch.inf).argmax())
        for kind, (fits, score) in candidates.items()
        if bool((fits & allowed).any())
    }


def clip(predictions: Predictions, kind: str = "repaired", chosen: int | None = None) -> int:
    """The number of one clip: the one that was chosen, or else the one that the rule of a kind picks.

    Raises InputError for a number that is no clip, another kind, or a run without a clip of that kind.
    """
    if kind not in RULES:
        raise one_of("kind of clip", kind, RULES)
    if chosen is not None:
        if not 0 <= chosen < len(predictions):
            raise InputError(f"clip={chosen}: the validation split has clips 0 to {len(predictions) - 1}")
        return chosen
    found = clips(predictions)
    if kind not in found:
        raise InputError(f"no clip of this run is {kind!r} ({RULES[kind]}); choose one yourself, such as clip=0")
    return found[kind]


def readings(predictions: Predictions, which: list[int]) -> pd.DataFrame:
    """How the four heads of some clips answer alone and together, one row per clip and level, cities first.

    Columns: `clip_id`; `level`; `truth`; `alone`, the likeliest class of that level's own softmax, with
    `alone_probability` in [0, 1] and `alone_right`; `together`, the codependent answer, with `together_probability`,
    its product of Eq. 5 divided by the level's sum, and `together_right`.

    Raises InputError for a clip that there is not.
    """
    for number in which:
        clip(predictions, chosen=number)
    some, names = predictions.subset(torch.tensor(which, dtype=torch.int64)), predictions.taxonomy.names
    read: dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]] = {}
    for column, mode in (("alone", "none"), ("together", "codependent")):
        shares = hierarchy.probabilities(some.logits, some.taxonomy, mode, torch.float64)
        read[column] = some.answers(mode), shares
    rows = []
    for i, clip_id in enumerate(some.clip_ids):
        for level in LEVELS:
            truth = int(some.labels[level][i])
            row: dict[str, object] = {"clip_id": clip_id, "level": level, "truth": names[level][truth]}
            for column, (answers, shares) in read.items():
                answer = int(answers[level][i])
                row |= {column: names[level][answer], f"{column}_probability": float(shares[level][i, answer])}
                row[f"{column}_right"] = answer == truth
            rows.append(row)
    return pd.DataFrame(rows)
