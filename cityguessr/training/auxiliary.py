"""What the scene and the text head answer on the validation split, beside the best constant answer.

A head that does no better than a constant has learned nothing of the clips, and says nothing of its task's worth.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Auxiliary:
    """Per validation clip, float32 (N,), None for a head that a system lacks.

    Attributes:
        scene_loss: Eq. 2, the cross-entropy between the scene head and the clip's label, in nats.
        scene_constant: the same of the one answer that is best for the training clips, their mean label.
        scene_floor: the entropy of the clip's soft label, below which no answer comes.
        text_cosine: the cosine of the text head and the target of the clip's place (Eq. 3 without its sign).
        text_constant: the same of the one vector that is best for the training clips, the mean of their unit targets.
    """

    scene_loss: Tensor | None = None
    scene_constant: Tensor | None = None
    scene_floor: Tensor | None = None
    text_cosine: Tensor | None = None
    text_constant: Tensor | None = None


def scenes(logits: Tensor, labels: Tensor, train_labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The scene head's loss, that of the best constant, and the least there is, clip by clip: (N,) each, in nats.

    Args:
        logits, labels: (N, scene classes).
        train_labels: (M, scene classes), of the training clips.
    """
    constant = train_labels.double().mean(dim=0).clamp_min(1e-12).log()
    loss = F.cross_entropy(logits.double(), labels.double(), reduction="none")
    floor = -torch.special.xlogy(labels.double(), labels.double()).sum(dim=1)
    return loss.float(), -(labels.double() @ constant).float(), floor.float()


def texts(predicted: Tensor, cities: Tensor, train_cities: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """The text head's cosine and that of the best constant vector, clip by clip: float32 (N,) each.

    Args:
        predicted: (N, text width), what FFN_t answers.
        cities, train_cities: (N,) and (M,) city ids.
        features: (number of cities, text width), the targets.
    """
    units = F.normalize(features.double(), dim=1)
    constant = units[train_cities].mean(dim=0)  # of all vectors, the one whose mean cosine with the targets is greatest
    targets = units[cities]
    cosine = F.cosine_similarity(predicted.double(), targets, dim=1)
    return cosine.float(), F.cosine_similarity(constant[None], targets, dim=1).float()
