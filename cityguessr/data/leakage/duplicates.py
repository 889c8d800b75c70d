"""Near-duplicates across a split: for each validation clip the training clip that is most like it.

A clip is one vector; likeness is the cosine of two. The search is exact, block by block, so that 68,000 clips against
55,000 need little memory. What counts as a near-duplicate is decided by clips that cannot be one, of other cities.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cityguessr.base.errors import InputError
from cityguessr.base.progress import track
from cityguessr.data.clips import ClipDataset

Allowed = Callable[[Tensor], Tensor]
"""Which of N clips a query may find: numbers of queries (q,) -> bool (q, N)."""

_LEVELS = 8  # of each of red, green and blue
_PIXELS = 64  # a frame's side is thinned out to about so many pixels before colours are counted


def colours(frames: Tensor) -> Tensor:
    """What colours a clip has, and nothing else: uint8 (B, T, 3, H, W), RGB -> float32 (B, 512), of length 1.

    The square root of the histogram over all frames, so that the cosine of two is their Bhattacharyya coefficient. It
    knows no object, no place in the frame and no order: what a system needs to know a drive again, not a city.
    """
    step = max(1, min(frames.shape[3:]) // _PIXELS)
    bins = (frames[..., ::step, ::step].int() * _LEVELS // 256).cpu()
    codes = ((bins[:, :, 0] * _LEVELS + bins[:, :, 1]) * _LEVELS + bins[:, :, 2]).flatten(1)
    counts = torch.stack([torch.bincount(row, minlength=_LEVELS**3) for row in codes])
    return functional.normalize(counts.float().sqrt())


def clip_vectors(clips: ClipDataset, feature: Callable[[Tensor], Tensor] = colours, batch: int = 32) -> Tensor:
    """A vector for every clip: float32 (N, d), of length 1.

    Args:
        feature: uint8 (B, T, 3, H, W) -> (B, d), such as `colours`, or what a backbone makes of a clip.
        batch: clips that are decoded at a time.
    """
    starts = range(0, len(clips), batch)
    parts = (feature(clips.frames_of(range(s, min(s + batch, len(clips))))).float().cpu() for s in starts)
    what = f"vectors of {len(clips):,} clips, in blocks of {batch}"
    return functional.normalize(torch.cat(list(track(parts, what, len(starts)))))


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The clip most like each of q queries.

    Attributes:
        index: LongTensor (q,), its number among the clips searched; -1 where none was allowed.
        similarity: float32 (q,), the cosine; NaN where none was allowed.
    """

    index: Tensor
    similarity: Tensor

    def take(self, values: Sequence[str]) -> list[str | None]:
        """What `values`, one per clip searched, say of the clip found; None where none was."""
        return [values[i] if i >= 0 else None for i in self.index.tolist()]


def nearest(
    queries: Tensor, bank: Tensor, allowed: Allowed | None = None, device: str | None = None, block: int = 512
) -> Nearest:
    """The most similar of the clips in `bank` for each query, exactly.

    Args:
        queries, bank: float32 (q, d) and (N, d), rows of length 1.
        allowed: which clips a query may find; all of them when left out.
        device: where to search; a GPU where there is one, when left out.
        block: queries at a time; memory is that of `block` times N numbers.

    Raises InputError where the two do not fit together, or have values that are not finite.
    """
    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1] or not len(bank):
        raise InputError(f"queries {tuple(queries.shape)} and bank {tuple(bank.shape)}: give (q, d) and (N, d), N > 0")
    if not (queries.isfinite().all() and bank.isfinite().all()):
        raise InputError("a clip's vector has values that are not finite; leave such clips out")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    there, index, similarity = bank.to(device), [], []
    for numbers in torch.arange(len(queries)).split(block):
        likeness = queries[numbers].to(device) @ there.T
        if allowed is not None:
            likeness = likeness.masked_fill(~allowed(numbers).to(device), -torch.inf)
        best, where = likeness.max(1)
        none = best == -torch.inf
        index.append(where.masked_fill(none, -1).cpu())
        similarity.append(best.masked_fill(none, torch.nan).cpu())
    return Nearest(torch.cat(index), torch.cat(similarity))


def in_groups(queries: Sequence[object], bank: Sequence[object], same: bool) -> Allowed:
    """Only clips of the query's own group (its city, its video), or only those of all others."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys([*queries, *bank]))}
    own, theirs = (torch.tensor([numbers[group] for group in groups]) for groups in (queries, bank))
    return lambda rows: (own[rows][:, None] == theirs[None]) == same


def all_but(hidden: Sequence[np.ndarray], count: int) -> Allowed:
    """All of `count` clips but for those whose numbers `hidden` lists for each query."""

    def allowed(rows: Tensor) -> Tensor:
        mask = torch.ones(len(rows), count, dtype=torch.bool)
        for row, query in enumerate(rows.tolist()):
            mask[row, torch.as_tensor(hidden[query], dtype=torch.long)] = False
        return mask

    return allowed


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """What a search for near-duplicates found.

    Attributes:
        found: the training clip most like each validation clip.
        elsewhere: the most like of another city: what likeness means nothing.
        threshold: the likeness that a share `false_alarms` of the validation clips reach with another city.
        false_alarms: as asked for.
    """

    found: Nearest
    elsewhere: Nearest
    threshold: float
    false_alarms: float

    @functools.cached_property
    def near(self) -> Tensor:
        """Whether each validation clip has a near-duplicate: bool (q,)."""
        return self.found.similarity > self.threshold

    def pairs(self, count: int) -> list[int]:
        """Validation clips to look at: near-duplicates from the least like to the most, evenly spread."""
        order = self.found.similarity.argsort()
        order = order[self.near[order]].tolist()
        return [order[round(i)] for i in np.linspace(0, len(order) - 1, min(count, len(order)))]


def near_duplicates(
    validation: Tensor,
    training: Tensor,
    cities: tuple[Sequence[int], Sequence[int]],
    false_alarms: float = 0.01,
    device: str | None = None,
) -> Duplicates:
    """Search training for near-duplicates of validation clips.

    The threshold comes from clips that cannot be of one drive: the likeness of each validation clip to the nearest
    training clip of another city, which a share `false_alarms` of them exceeds. This errs on the safe side, for other
    cities are searched with more clips than the own one has.

    Args:
        validation, training: vectors (q, d) and (N, d), as from `clip_vectors`.
        cities: of the validation clips, and of the training clips.
        false_alarms: from 0 to 1, both excluded.

    Raises InputError for a share that is none, and where all clips are of one city.
    """
    if not 0 < false_alarms < 1:
        raise InputError(f"false_alarms={false_alarms}: give a share between 0 and 1, such as 0.01")
    elsewhere = nearest(validation, training, in_groups(*cities, same=False), device)
    known = elsewhere.similarity[~elsewhere.similarity.isnan()]
    if not len(known):
        raise InputError("all clips are of one city, so that nothing says which likeness is chance; give more cities")
    threshold = np.quantile(known.double().numpy(), 1 - false_alarms)
    return Duplicates(nearest(validation, training, None, device), elsewhere, float(threshold), false_alarms)
