"""The three losses of the method, as pure functions (paper, section 4.5)."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from cityguessr.taxonomy import LEVELS


def geolocalization(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor], label_smoothing: float = 0.0) -> Tensor:
    """Eq. 1: the cross-entropies of the four levels, added up; a scalar, averaged over the batch.

    Args:
        logits: level -> (B, number of classes).
        labels: level -> (B,) class ids.
        label_smoothing: share of a target that is spread evenly over the classes of its level; the paper's is 0.
    """
    return sum(F.cross_entropy(logits[level], labels[level], label_smoothing=label_smoothing) for level in LEVELS)


def scene(logits: Tensor, soft: Tensor) -> Tensor:
    """Eq. 2: cross-entropy between the scene vector PV'_s and the soft scene label; a scalar, averaged over the batch.

    Args:
        logits: (B, scenes).
        soft: (B, scenes), the share of the clip's frames in each scene; rows add up to 1.
    """
    return F.cross_entropy(logits, soft)


def text_alignment(predicted: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Eq. 3: the negative cosine similarity of PV'_t and the text features of the place names; a scalar.

    Args:
        predicted: (B, d), the output of FFN_t.
        target: (B, d), the text features F_t of each clip's place.
        reduction: "mean" over the batch, as Eq. 3 defines the loss of one video; "sum" as the released code does,
            which weighs the text by the batch size (12) against the other two losses.
    """
    similarity = F.cosine_similarity(predicted, target, dim=-1)
    return -(similarity.sum() if reduction == "sum" else similarity.mean())
