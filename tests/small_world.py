"""Predictions made by hand over the paper's tree, for the tests of confusions and of what is drawn of them."""

import torch

from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.predictions import Predictions

TREE = Taxonomy.cityguessr68k()
LONDON, BRISTOL, LYON, TOKYO, LIMA = (TREE.city_id(n) for n in ("London", "Bristol", "Lyon", "Tokyo", "Lima"))


def made(truths: list[int], answers: list[int], tree: Taxonomy = TREE, videos: list[str] | None = None) -> Predictions:
    """Predictions of a system that is sure of its answers, one video per clip."""
    path = tree.chain(torch.tensor(answers, dtype=torch.long))
    names = tuple(f"clip{i}" for i in range(len(truths)))
    return Predictions(
        taxonomy=tree,
        mode="codependent",
        logits={x: 9.0 * torch.nn.functional.one_hot(path[x], tree.size(x)).float() for x in LEVELS},
        labels=tree.chain(torch.tensor(truths, dtype=torch.long)),
        scene=None,
        clip_ids=names,
        video_ids=tuple(videos or names),
        places=torch.full((len(truths), 2), float("nan"), dtype=torch.float64),
    )
