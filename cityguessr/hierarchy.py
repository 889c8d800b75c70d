"""Hierarchical evaluation (paper, sections 4.6 and 5.6), as pure tensor functions.

Three modes, in the words of Table 4:

- `none`: every level answers by itself, from its own softmax;
- `independent`: probabilities are first multiplied down the tree (Eq. 5), then every level answers by itself;
- `codependent`: the same products, but only the city answers; its state, country and continent are read off the tree.
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.taxonomy import LEVELS, Taxonomy

MODES = ("none", "independent", "codependent")


def refine(logits: Mapping[str, Tensor], taxonomy: Taxonomy) -> dict[str, Tensor]:
    """Eq. 5: softmax at every level, then each class's probability times those of all its ancestors.

    Args:
        logits: level -> (N, number of classes).

    Returns:
        level -> (N, number of classes): P'(city) = P(city) P(state) P(country) P(continent) and so on up. As in Eq. 5
        the products are not divided by their sum, so below the continents a row adds up to at most 1.
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

    Returns:
        level -> (N, number of classes), unbounded.
    """
    scores = {"continent": logits["continent"]}
    for below, level in reversed(list(pairwise(LEVELS))):
        parents = taxonomy.parent[below].to(logits[below].device)
        scores[below] = scores[level].index_select(1, parents).add_(logits[below])
    return {level: scores[level] for level in LEVELS}


def predict(
    logits: Mapping[str, Tensor], taxonomy: Taxonomy, mode: str = "codependent", products: bool = True
) -> dict[str, Tensor]:
    """The predicted class id of every clip at every level: level -> LongTensor (N,).

    See `top_k` for the arguments; this is its first column.
    """
    return {level: ids[:, 0] for level, ids in top_k(logits, taxonomy, 1, mode, products).items()}


def top_k(
    logits: Mapping[str, Tensor], taxonomy: Taxonomy, k: int, mode: str = "codependent", products: bool = True
) -> dict[str, Tensor]:
    """The k most probable class ids, best first: level -> LongTensor (N, min(k, number of classes)).

    The supplement's Table 3 does not define its top-5, so both readings are here. With `none` and `independent` each
    level lists its own k classes. With `codependent` the k best cities are traced up the tree, so column j of all
    levels is one path and a coarse class may come twice.

    Args:
        logits: level -> (N, number of classes).
        mode: one of `MODES`.
        products: False leaves the products of Eq. 5 out of the codependent mode: the most probable city and then its
            parents, which is what the released code computes.

    Raises:
        InputError: for another mode, or logits whose width is not the taxonomy's.
    """
    _check(logits, taxonomy, mode)
    scores = path_scores(logits, taxonomy) if mode == "independent" or (mode == "codependent" and products) else logits
    if mode == "codependent":
        return taxonomy.chain(_top(scores["city"], k))
    return {level: _top(scores[level], k) for level in LEVELS}


def accuracy(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    taxonomy: Taxonomy,
    mode: str = "codependent",
    k: int = 1,
    products: bool = True,
) -> dict[str, float]:
    """Top-k accuracy in percent: level -> float in [0, 100].

    A clip counts as right at a level when its label is among the k ids that `top_k` lists there.

    Args:
        labels: level -> (N,) class ids; N must not be 0.
    """
    predicted = top_k(logits, taxonomy, k, mode, products)
    if not len(labels["city"]):
        raise InputError("accuracy needs at least one clip; the split is empty")
    return {level: 100 * hits(predicted[level], labels[level]).double().mean().item() for level in LEVELS}


def hits(predicted: Tensor, labels: Tensor) -> Tensor:
    """Whether each clip's label is among its predictions: (N, k) and (N,) -> bool (N,)."""
    return (predicted == labels.to(predicted.device)[:, None]).any(dim=1)


def conflict_rate(logits: Mapping[str, Tensor], taxonomy: Taxonomy, mode: str = "none") -> float:
    """How often the four predictions of a clip are no path in the tree, in percent (0 for `codependent`)."""
    predicted = predict(logits, taxonomy, mode)
    path = taxonomy.chain(predicted["city"])
    agree = torch.stack([predicted[level] == path[level] for level in LEVELS]).all(dim=0)
    return 100 * (~agree).double().mean().item()


def _top(scores: Tensor, k: int) -> Tensor:
    if k == 1:  # argmax is many times faster than topk on a CPU
        return scores.argmax(dim=1, keepdim=True)
    return scores.topk(min(k, scores.shape[1]), dim=1).indices


def _check(logits: Mapping[str, Tensor], taxonomy: Taxonomy, mode: str) -> None:
    if mode not in MODES:
        raise InputError(f"unknown evaluation mode {mode!r}; choose one of {', '.join(MODES)}")
    for level in LEVELS:
        if logits[level].shape[1:] != (taxonomy.size(level),):
            got = "x".join(map(str, logits[level].shape[1:]))
            raise InputError(f"{level} logits have {got} classes, the taxonomy has {taxonomy.size(level)}")
