"""How a checkpoint scores beside the paper's numbers: protocols, rows and their text. Pure functions of logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd
from torch import Tensor

from cityguessr import hierarchy, paper
from cityguessr.base.errors import InputError, one_of
from cityguessr.config import ClipFormat, ModelConfig
from cityguessr.measures import metrics
from cityguessr.taxonomy import LEVELS, Taxonomy

PROTOCOLS = ("released", "described", "own")
"""How clips are given to a model: as the authors' code does, as the paper describes it, or as the model was trained."""

COLUMNS = ("source", "row", "protocol", "mode", "level", "top1", "low", "high", "clips", "videos")
"""Columns of a frame of scores: top-1 accuracy in percent with its 95 % interval, NaN where print has none."""

# Rows in print that a checkpoint of the full model stands beside: table, row, the name to give it
_PRINTED = (
    ("table5", "videomae", "Table 5, VideoMAE"),
    ("table5", "cityguessr", "Table 5, CityGuessr"),
    ("table4", "none", "Table 4, none"),
    ("table4", "independent", "Table 4, independent"),
    ("table4", "codependent", "Table 4, codependent"),
)
_HEADS = {"none": "each head by itself", "independent": "Eq. 5, each level", "codependent": "Eq. 5, one path"}
_FINAL = {"released": "traced", "described": "codependent"}  # protocol -> the mode in which its answer is read


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a model is given its clips.

    Attributes:
        name: one of `PROTOCOLS`.
        config: the model's own configuration, with the frames that it is given here.
        note: what a reader should know about it, in one line.
    """

    name: str
    config: ModelConfig
    note: str = ""

    @property
    def clip_format(self) -> ClipFormat:
        """How the clips have to be prepared. Scenes serve no evaluation of the full model, so 16 are enough."""
        return self.config.clip_format

    @property
    def mode(self) -> str:
        """The mode that gives the protocol's answer."""
        return _FINAL.get(self.name, self.config.evaluation)


def protocol(name: str, config: ModelConfig) -> Protocol | str:
    """A protocol for a model of this configuration; or, in one line, why the model cannot be given its clips so.

    The colours stay as the model was trained with them: they belong to its weights. What a protocol sets is which
    frames, how many, and how the answer is read.

    Raises InputError for an unknown protocol.
    """
    if name not in PROTOCOLS:
        raise one_of("protocol", name, PROTOCOLS)
    if name == "own":
        return Protocol(name, config)
    wanted = {"released": ModelConfig.as_released, "described": ModelConfig.as_described}[name]()
    frames, trained = wanted.frames, config.frames
    if config.frame is None:  # an image system sees one frame, out of however many
        even = config.backbone == "videomae"  # a tubelet spans two frames; an odd clip repeats its last one
        given, known = (n + n % 2 if even else n for n in (frames, trained))
        if given != known:
            return f"{name}: it takes {frames} frames, and this model has positions for {trained} alone"
    if config.size != wanted.size:
        return f"{name}: it takes frames of {wanted.size} pixels, and this model was trained on {config.size}"
    note = ""
    if frames != trained:
        note = f"{name}: {frames} frames, where this model was trained on {trained}"
        note += "; the last one is repeated" if frames < trained and config.backbone == "videomae" else ""
    return Protocol(name, config.replace(frames=frames, sampling=wanted.sampling), note)


def printed() -> pd.DataFrame:
    """The paper's rows that the scores stand beside, with the columns `COLUMNS`."""
    rows = [
        ("paper", label, "", row if table == "table4" else "", level, paper.value(table, row, "top1", level))
        for table, row, label in _PRINTED
        for level in LEVELS
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS[:6])).reindex(columns=list(COLUMNS))


def scores(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    taxonomy: Taxonomy,
    video_ids: Sequence[str],
    given: Protocol,
) -> pd.DataFrame:
    """Top-1 accuracy at the four levels: the protocol's own answer first, then the three modes of Table 4.

    Intervals are at 95 %, over source videos, where the data set names them; each clip is a video otherwise.

    Args:
        logits: level -> (N, number of classes).
        labels: level -> (N,) class ids.
        video_ids: the source video of each clip.

    Returns a frame with the columns `COLUMNS`. Raises InputError where there are no clips.
    """
    if not len(video_ids):
        raise InputError("no clip to score; the validation split is empty")
    label = {"released": "released protocol", "described": "as described", "own": "as it was trained"}[given.name]
    modes = [(f"{label} ({'no products' if given.mode == 'traced' else given.mode})", given.mode)]
    modes += [(f"{label}: {mode} ({what})", mode) for mode, what in _HEADS.items() if mode != given.mode]
    if given.mode != "traced":
        modes.append((f"{label}: no products", "traced"))
    rows = []
    for row, mode in modes:
        answers = hierarchy.predict(logits, taxonomy, mode)
        for level in LEVELS:
            right = answers[level] == labels[level].to(answers[level].device)
            numbers = metrics.bootstrap(right, video_ids)
            counts = len(video_ids), len(set(video_ids))
            rows.append(("measured", row, given.name, mode, level, *numbers, *counts))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def text(frame: pd.DataFrame) -> str:
    """A frame of scores as lines to print: one per row, its four levels side by side."""
    rows = list(dict.fromkeys(frame["row"]))
    width = max(map(len, rows))
    lines = [f"{'top-1 accuracy (%)':<{width}}" + "".join(f"{level:>22}" for level in LEVELS)]
    for row in rows:
        cells = []
        for level in LEVELS:
            found = frame[(frame["row"] == row) & (frame["level"] == level)].iloc[0]
            interval = "" if pd.isna(found["low"]) else f" [{found['low']:.1f}, {found['high']:.1f}]"
            cells.append(f"{found['top1']:.1f}{interval}")
        lines.append(f"{row:<{width}}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)
