"""What the auxiliary heads of a system learned: the scene and the text head beside the best constant answer."""

from collections.abc import Sequence

import pandas as pd
import torch

from cityguessr.measures.intervals import Interval
from cityguessr.training.runs import Run

HEADS = ("scenes", "text")

LEARNED = ("head", "constant", "answer", "better", "skill", "low", "high", "n_seeds", "clips", "videos")


def learned(runs: Sequence[Run]) -> pd.DataFrame:
    """What the scene and the text head learned beyond the best constant answer, on all validation clips.

    Columns:
        head: "scenes" or "text";
        constant, answer: what the best constant and the head reach, the cross-entropy of scenes in nats (lower is
            better) and the cosine of text (higher is better);
        better: by how much the head is better, in nats or cosine;
        skill, low, high: how much of what the constant loses is gone, in percent, with its 95 % interval over seeds and
            source videos: 0 for a constant, 100 for a perfect answer (the skill score of Murphy 1988). A loss of scenes
            counts from the entropy of the soft label, that of text is 1 minus the cosine;
        n_seeds, clips, videos: how many there are.
    """
    lines = []
    for head, answer, constant in (
        ("scenes", "scene_loss", "scene_constant"),
        ("text", "text_cosine", "text_constant"),
    ):
        values = [[getattr(run.predictions.auxiliary, name) for run in runs] for name in (answer, constant)]
        if any(value is None for side in values for value in side):
            continue
        reached, base = (torch.stack(side).double() for side in values)  # (seeds, N)
        if head == "scenes":
            floor = torch.stack([run.predictions.auxiliary.scene_floor for run in runs]).double()
            loss, most = reached - floor, base - floor
        else:
            loss, most = 1 - reached, 1 - base
        skill = 1 - loss.mean() / most.mean()
        # The ratio of two means varies as this mean does, to first order, and has the same value.
        x = Interval.over(skill + (most - loss - skill * most) / most.mean(), runs[0].predictions.video_ids)
        numbers = base.mean().item(), reached.mean().item(), (most - loss).mean().item(), x.mean, x.low, x.high
        lines.append((head, *numbers, x.seeds, x.clips, x.videos))
    return pd.DataFrame(lines, columns=list(LEARNED))
