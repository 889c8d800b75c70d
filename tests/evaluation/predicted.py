"""Predictions that lean towards the truth, as far as a test wants it."""

import torch
from torch import Tensor

from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.predictions import Predictions

TREE = Taxonomy.cityguessr68k()


def made(cities: Tensor, tree: Taxonomy = TREE, seed: int = 0, hint: float = 2.0) -> Predictions:
    """Predictions that lean towards the truth at every level, so that each class of clips is there."""
    generator = torch.Generator().manual_seed(seed)
    labels = tree.chain(cities)
    logits = {}
    for level in LEVELS:
        logits[level] = torch.randn(len(cities), tree.size(level), generator=generator)
        logits[level][torch.arange(len(cities)), labels[level]] += hint
    ids = tuple(f"{tree.folders[c]}_{n:04d}" for n, c in enumerate(cities.tolist()))
    places = torch.full((len(cities), 2), float("nan")).double()
    return Predictions(
        tree, "codependent", logits, labels, None, ids, ids, places, torch.zeros(len(ids), dtype=torch.bool)
    )
