"""The checks of page 24 accept the package's own functions, say what is missing, and name common mistakes."""

import re

import pytest
import torch
from torch import Tensor

from cityguessr import hierarchy, losses, practice
from cityguessr.base.errors import InputError
from cityguessr.model import SelfCrossAttention
from cityguessr.scenes import scene_label
from cityguessr.taxonomy import Taxonomy


def weights(query: Tensor, key: Tensor) -> Tensor:
    return (query @ key.transpose(2, 3) / 3**0.5).softmax(-1)


def loss(
    logits: dict[str, Tensor], labels: dict[str, Tensor], scene: Tensor, soft: Tensor, text: Tensor, target: Tensor
) -> Tensor:
    return losses.geolocalization(logits, labels) + losses.scene(scene, soft) + losses.text_alignment(text, target)


RIGHT = {
    "products": hierarchy.refine,
    "codependent": hierarchy.predict,
    "soft_label": lambda frames: scene_label(frames, "soft"),
    "attention_weights": weights,
    "self_cross_attention": lambda vector, module: module.fast(vector),
    "loss": loss,
}


@pytest.mark.parametrize("step", RIGHT)
def test_the_packages_own_function_is_right(step: str) -> None:
    assert practice.check(step, RIGHT[step]).right
    assert "not written yet" in repr(practice.check(step, lambda *_: None))


def products_off_by_one_level(logits: dict[str, Tensor], tree: Taxonomy) -> dict[str, Tensor]:
    refined = hierarchy.refine(logits, tree)
    return refined | {"state": logits["state"].softmax(1)}


@pytest.mark.parametrize(
    ("step", "wrong", "words"),
    [
        ("products", lambda logits, tree: {k: v.softmax(1) for k, v in logits.items()}, "by its ancestors"),
        ("products", lambda logits, tree: hierarchy.probabilities(logits, tree), "add up to 1"),
        ("products", products_off_by_one_level, r"state: The number at \[\d, \d+\] is"),
        ("products", lambda logits, tree: 3, "Return a dictionary"),
        ("products", lambda logits, tree: {"city": 1}, "'state' is missing"),
        ("codependent", lambda logits, tree: hierarchy.predict(logits, tree, "independent"), "read the rest off"),
        ("codependent", lambda logits, tree: hierarchy.predict(logits, tree, "traced"), "without products"),
        ("soft_label", lambda frames: frames.mean(0), "averages probabilities"),
        ("soft_label", lambda frames: frames, r"The shape is \(15, 16\), and should be \(16,\)"),
        ("attention_weights", lambda query, key: (query @ key.mT).softmax(-1), "root of 3"),
        ("self_cross_attention", lambda vector, module: vector, "PV itself"),
        ("loss", lambda logits, labels, *_: losses.geolocalization(logits, labels), "L_geo alone"),
    ],
)
def test_a_common_mistake_is_named(step: str, wrong: object, words: str) -> None:
    outcome = practice.check(step, wrong)
    assert not outcome.right
    assert torch.is_grad_enabled()
    assert re.search(words, repr(outcome))


def test_an_error_in_the_readers_function_is_theirs_to_see() -> None:
    with pytest.raises(ZeroDivisionError):
        practice.check("loss", lambda *_: 1 / 0)
    with pytest.raises(InputError, match=r"product.*products"):
        practice.check("product", RIGHT["products"])


def test_the_attention_to_rebuild_is_the_models() -> None:
    """Fig. 5: two heads of width 3, over 420 tokens."""
    seen = []
    practice.check("self_cross_attention", lambda vector, module: seen.extend((vector, module)))
    assert seen[0].shape == (6, 420)
    assert isinstance(seen[1], SelfCrossAttention)
    assert seen[1].attention.num_heads == 2
