"""Predictions and finished runs made by hand over the paper's tree, for the tests of all that is made of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cityguessr.config import ModelConfig
from cityguessr.evaluation import results
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training import experiments, jobs
from cityguessr.training.auxiliary import Auxiliary
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
        seen=torch.zeros(len(truths), dtype=torch.bool),
    )


CLIPS = 60


def trained(
    right: int,
    seed: int = 0,
    code: str = "one",
    clips: str = "clip",
    split: str = "clip",
    evaluation: str = "codependent",
    seen: int = 0,
    auxiliary: Auxiliary | None = None,
    **more: object,
) -> Any:
    """A run that gives the right city for so many of 60 clips, and one far away for the others.

    Args:
        seen: how many clips, the first ones, are of videos that training has seen.
        auxiliary: what its scene and text head reach.
        more: what its provenance holds besides.
    """
    labels = TREE.chain(torch.randint(166, (CLIPS,), generator=torch.Generator().manual_seed(7)))
    wrong = torch.randperm(CLIPS, generator=torch.Generator().manual_seed(seed))[right:]
    answers = labels["city"].clone()
    answers[wrong] = (answers[wrong] + 83) % 166
    path, config = TREE.chain(answers), ModelConfig(split=split, evaluation=evaluation)
    predictions = Predictions(
        TREE,
        config.evaluation,
        {level: 9.0 * torch.nn.functional.one_hot(path[level], TREE.size(level)) for level in LEVELS},
        labels,
        None,
        tuple(f"{clips}_{i}" for i in range(CLIPS)),
        tuple(f"video_{i // 3}" for i in range(CLIPS)),
        torch.full((CLIPS, 2), torch.nan, dtype=torch.float64),
        torch.arange(CLIPS) < seen,
        auxiliary or Auxiliary(),
    )
    return SimpleNamespace(
        folder=Path(f"seed{seed}-{code}"),
        config=config,
        provenance={"code": code, "seed": seed, "training": {"batch_size": 12}, **more},
        predictions=predictions,
    )


def collect(monkeypatch: pytest.MonkeyPatch, table: str, answers: dict[str, Any], **options: Any) -> results.Results:
    """`results.collect` where the trainings have been done already."""
    full = {name: answers.get(name, (trained(30),)) for name in experiments.TABLES[table].values()}
    monkeypatch.setattr(jobs, "ensure_all", lambda names, *_, **__: {name: full[name] for name in names})
    return results.collect(table, "mini", range(max(len(r) for r in full.values() if isinstance(r, tuple))), **options)
