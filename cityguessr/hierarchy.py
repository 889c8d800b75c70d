"""Hierarchical evaluation (paper, sections 4.6 and 5.6), as pure tensor functions.

Three modes in the words of Table 4, and the one that the released code computes:

- `none`: every level answers by itself, from its own softmax;
- `independent`: probabilities are first multiplied down the tree (Eq. 5), then every level answers by itself;
- `codependent`: the same products, but only the city answers; its state, country and continent are read off the tree;
- `traced`: the likeliest city of its own softmax, and its ancestors off the tree: `codependent` without the products.
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from cityguessr.base.errors import InputError, one_of
from cityguessr.taxonomy import LEVELS, Taxonomy

MODES = ("none", "independent", "codependent", "traced")


def refine(logits: Mapping[str, Tensor], taxonomy: Taxonomy) -> dict[str, Tensor]:
    """Eq. 5: softmax at every level, then each class's probability times those of all its ancestors.

    Args:
        logits: level -> (N, number of classes).

    Returns level -> (N, number of classes): P'(city) = P(city) P(state) P(country) P(continent) and so on up. As in
    Eq. 5 the products are not divided by their sum, so below the continents a row adds up to at most 1.
    """
    refined = {"continent": logits["continent"].softmax(dim=1)}
    for below, level in reversed(list(pairwise(LEVELS))):
        parents = taxonomy.parent[below].to(logits[below].device)
        refined[below] = refined[level].index_select(1, parents).mul_(logits[below].softmax(dim=1))
    return {level: refined[level] for level in LEVELS}


def path_scores(logits: Mapping[str, Tensor], taxonomy: Taxonomy) -> dict[str, Tensor]:
    """Eq. 5 in logarithms, up to a constant: each class's logit plus those of all its ancestors.

    The denominators of a clip's four softmaxes are the same for all its classes, so these sums rank the classes of a
    level exactly as `refine` does, need no exponential, and cannot underflow where four probabilities are tiny.

    Returns level -> (N, number of classes), unbounded.
    """
    scores = {"continent": logits["continent"]}
    for below, level in reversed(list(pairwise(LEVELS))):
        parents = taxonomy.parent[below].to(logits[below].device)
        scores[below] = scores[level].index_select(1, parents).add_(logits[below])
    return {level: scores[level] for level in LEVELS}


def probabilities(
    logits: Mapping[str, Tensor], taxonomy: Taxonomy, mode: str = "codependent", dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """How probable each class is in the reading of a mode: level -> (N, number of classes), rows add up to 1.

    The products of Eq. 5 divided by their sum, or each level's own softmax in the modes without products.

    Args:
        logits: level -> (N, number of classes).
        mode: one of `MODES`.
        dtype: what the softmax is computed in, such as `torch.float64`; that of the logits when left out.
    """
    return {level: scores.softmax(dim=1, dtype=dtype) for level, scores in _scores(logits, taxonomy, mode).items()}


def predict(logits: Mapping[str, Tensor], taxonomy: Taxonomy, mode: str = "codependent") -> dict[str, Tensor]:
    """The predicted class id of every clip at every level: level -> LongTensor (N,).

    See `top_k` for the arguments; this is its first column.

    Example:
        >>> taxonomy = Taxonomy.cityguessr68k()
        >>> logits = {level: torch.randn(8, size) for level, size in taxonomy.sizes.items()}
        >>> answers = hierarchy.predict(logits, taxonomy, "codependent")
        >>> [taxonomy.names["country"][i] for i in answers["country"].tolist()]
    """
    return {level: ids[:, 0] for level, ids in top_k(logits, taxonomy, 1, mode).items()}


def top_k(logits: Mapping[str, Tensor], taxonomy: Taxonomy, k: int, mode: str = "codependent") -> dict[str, Tensor]:
    """The k most probable class ids, best first: level -> LongTensor (N, min(k, number of classes)).

    The supplement's Table 3 does not define its top-5, so both readings are here. With `none` and `independent` each
    level lists its own k classes. With `codependent` and `traced` the k best cities are traced up the tree, so column j
    of all levels is one path and a coarse class may come twice.

    Args:
        logits: level -> (N, number of classes).
        mode: one of `MODES`.

    Raises InputError for another mode, or logits whose width is not the taxonomy's.
    """
    scores = _scores(logits, taxonomy, mode)
    if mode in ("codependent", "traced"):
        return taxonomy.chain(_top(scores["city"], k))
    return {level: _top(scores[level], k) for level in LEVELS}


def accuracy(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    taxonomy: Taxonomy,
    mode: str = "codependent",
    k: int = 1,
) -> dict[str, float]:
    """Top-k accuracy in percent: level -> float in [0, 100].

    A clip counts as right at a level when its label is among the k ids that `top_k` lists there.

    Args:
        labels: level -> (N,) class ids; N must not be 0.
    """
    predicted = top_k(logits, taxonomy, k, mode)
    if not len(labels["city"]):
        raise InputError("accuracy needs at least one clip; the split is empty")
    return {level: 100 * hits(predicted[level], labels[level]).double().mean().item() for level in LEVELS}


def hits(predicted: Tensor, labels: Tensor) -> Tensor:
    """Whether each clip's label is among its predictions: (N, k) and (N,) -> bool (N,)."""
    return (predicted == labels.to(predicted.device)[:, None]).any(dim=1)


def conflicts(logits: Mapping[str, Tensor], taxonomy: Taxonomy, mode: str = "none") -> Tensor:
    """Whether a clip's city, state, country and continent contradict each other: bool (N,), none for `codependent`."""
    predicted = predict(logits, taxonomy, mode)
    path = taxonomy.chain(predicted["city"])
    return torch.stack([predicted[level] != path[level] for level in LEVELS]).any(dim=0)


def conflict_rate(logits: Mapping[str, Tensor], taxonomy: Taxonomy, mode: str = "none") -> float:
    """The share of clips with `conflicts`, in percent."""
    return 100 * conflicts(logits, taxonomy, mode).double().mean().item()


def _scores(logits: Mapping[str, Tensor], taxonomy: Taxonomy, mode: str) -> Mapping[str, Tensor]:
    """What a mode ranks classes by: sums of logits along the path where it multiplies, else each level's own logits."""
    if mode not in MODES:
        raise one_of("evaluation mode", mode, MODES)
    for level in LEVELS:
        if logits[level].shape[1:] != (taxonomy.size(level),):
            shape = "x".join(map(str, logits[level].shape[1:]))
            raise InputError(f"{level} logits have {shape} classes, the taxonomy has {taxonomy.size(level)}")
    return path_scores(logits, taxonomy) if mode in ("independent", "codependent") else logits


def _top(scores: Tensor, k: int) -> Tensor:
    if k == 1:  # argmax is many times faster than topk on a CPU
        return scores.argmax(dim=1, keepdim=True)
    return scores.topk(min(k, scores.shape[1]), dim=1).indices
