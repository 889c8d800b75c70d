"""Checks for what a reader writes on page 24: each compares a function with the package's own, on random clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from cityguessr import hierarchy, losses
from cityguessr.base.errors import one_of
from cityguessr.model import SelfCrossAttention
from cityguessr.scenes import SCENES, scene_label
from cityguessr.taxonomy import LEVELS, Taxonomy

_COUNT = 6


@dataclass(frozen=True)
class Outcome:
    """What a check found: whether the function is right, and a sentence. It shows itself as the sentence."""

    right: bool
    message: str

    def __repr__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Step:
    """One function to write.

    Attributes:
        arguments: what it is called with.
        answer: what the package computes from these.
        slips: common mistakes, as (what they give, what to say of them).
    """

    arguments: tuple[Any, ...]
    answer: Any
    slips: tuple[tuple[Any, str], ...] = ()


def check(step: str, function: Callable[..., Any]) -> Outcome:
    """Hold a function against the package's own.

    Args:
        step: "products", "codependent", "soft_label", "attention_weights", "self_cross_attention" or "loss".
        function: as page 24 asks for it.

    Returns an outcome that prints as one sentence: right, not written yet, or the first thing that differs. An error
    that the function raises is passed on, for its traceback says where.
    Raises InputError for another step.
    """
    if step not in STEPS:
        raise one_of("step", step, STEPS)
    made = _step(step)
    with torch.no_grad():
        given = function(*made.arguments)
    if given is None:
        return Outcome(False, f"{step}: not written yet (the function returned None).")
    for slip, words in made.slips:
        if _difference(given, slip, "") is None:
            return Outcome(False, f"{step}: not yet. {words}")
    if difference := _difference(given, made.answer, ""):
        return Outcome(False, f"{step}: not yet. {difference}")
    return Outcome(True, f"{step}: right, the same numbers as the package's own.")


def _difference(given: Any, wanted: Any, where: str) -> str | None:
    """The first thing in which two results differ, as a sentence; None where they agree up to rounding."""
    if isinstance(wanted, Mapping):
        if not isinstance(given, Mapping):
            return f"Return a dictionary with the levels {', '.join(wanted)}; this is {type(given).__name__}."
        if missing := [level for level in wanted if level not in given]:
            return f"The level {missing[0]!r} is missing."
        parts = (_difference(given[level], wanted[level], f"{level}: ") for level in wanted)
        return next((part for part in parts if part), None)
    if not isinstance(given, Tensor):
        return f"{where}Return a tensor; this is {type(given).__name__}."
    if given.shape != wanted.shape:
        return f"{where}The shape is {tuple(given.shape)}, and should be {tuple(wanted.shape)}."
    if torch.allclose(given.double(), wanted.double(), rtol=1e-4, atol=1e-7):
        return None
    at = tuple(int(i) for i in torch.unravel_index((given.double() - wanted.double()).abs().argmax(), wanted.shape))
    place = f" at {list(at)}" if at else ""
    return f"{where}The number{place} is {_number(given[at])}, and should be {_number(wanted[at])}."


def _number(value: Tensor) -> str:
    return f"{value.item():.4g}"


@cache
def _step(name: str) -> Step:
    return STEPS[name]()


@cache
def clips() -> tuple[dict[str, Tensor], Taxonomy]:
    """Logits of some random clips on the paper's tree."""
    generator, tree = torch.Generator().manual_seed(24), Taxonomy.cityguessr68k()
    return {level: 2 * torch.randn(_COUNT, tree.size(level), generator=generator) for level in LEVELS}, tree


def _products() -> Step:
    logits, tree = clips()
    alone = {level: values.softmax(dim=1) for level, values in logits.items()}
    shares = hierarchy.probabilities(logits, tree, "codependent")
    return Step(
        (logits, tree),
        hierarchy.refine(logits, tree),
        (
            (alone, "These are the four heads by themselves: multiply each class by its ancestors."),
            (shares, "These add up to 1: Eq. 5 leaves the products as they are."),
            (hierarchy.path_scores(logits, tree), "These are sums of logits: take the softmax of each level first."),
        ),
    )


def _codependent() -> Step:
    logits, tree = clips()
    words = {
        "none": "These are the answers of the four heads alone: multiply first.",
        "independent": "Every level answers by itself here: let the city answer, and read the rest off the tree.",
        "traced": "This is the likeliest city without products: multiply first.",
    }
    slips = tuple((hierarchy.predict(logits, tree, mode), text) for mode, text in words.items())
    return Step((logits, tree), hierarchy.predict(logits, tree, "codependent"), slips)


def _soft_label() -> Step:
    shares = torch.rand(15, len(SCENES), generator=torch.Generator().manual_seed(3))
    shares[:, 4] += (torch.arange(15) < 7) * 2.0
    frames = shares / shares.sum(dim=1, keepdim=True)
    return Step(
        (frames,),
        scene_label(frames, "soft"),
        (
            (frames.mean(dim=0), "This averages probabilities: count how many frames each scene wins."),
            (scene_label(frames, "majority"), "This is the majority label: keep the share of every scene."),
        ),
    )


def _heads() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(6)
    query, key = torch.randn(2, 1, 2, 420, 3, generator=generator)
    return query, key


def _attention_weights() -> Step:
    query, key = _heads()
    scores = query @ key.transpose(2, 3)
    return Step(
        (query, key),
        (scores / math.sqrt(3)).softmax(dim=-1),
        (
            (scores.softmax(dim=-1), "Divide the scores by the root of 3, the width of a head, before the softmax."),
            ((scores / math.sqrt(3)).softmax(dim=-2), "The softmax runs over the attended tokens, the last dimension."),
            (scores / math.sqrt(3), "These are the scores: take their softmax over the last dimension."),
        ),
    )


def _self_cross_attention() -> Step:
    logits, _ = clips()
    vector = torch.cat([logits[level] for level in LEVELS], dim=1)  # PV (clips, d)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = SelfCrossAttention(6, 2)
    with torch.no_grad():
        answer = module(vector)[0]
    return Step((vector, module), answer, ((vector, "This is PV itself: nothing has been attended to."),))


def _loss() -> Step:
    logits, tree = clips()
    generator = torch.Generator().manual_seed(9)
    labels = tree.chain(torch.randint(0, tree.size("city"), (_COUNT,), generator=generator))
    scene, text, target = (torch.randn(_COUNT, width, generator=generator) for width in (16, 32, 32))
    soft = torch.rand(_COUNT, 16, generator=generator).softmax(dim=1)
    geo = losses.geolocalization(logits, labels)
    parts = geo, losses.scene(scene, soft), losses.text_alignment(text, target)
    return Step(
        (logits, labels, scene, soft, text, target),
        sum(parts),
        (
            (parts[0], "This is L_geo alone: add L_scene and L_TLA."),
            (parts[0] + parts[1] - parts[2], "The text loss is *minus* the cosine."),
            (geo / 4 + parts[1] + parts[2], "L_geo adds up the four levels, it does not average them."),
        ),
    )


STEPS: dict[str, Callable[[], Step]] = {
    "products": _products,
    "codependent": _codependent,
    "soft_label": _soft_label,
    "attention_weights": _attention_weights,
    "self_cross_attention": _self_cross_attention,
    "loss": _loss,
}
"""Name of a step -> what it asks for, in the order of page 24."""
