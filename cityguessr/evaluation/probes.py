"""Single cues: how far a linear classifier gets that sees one simple property of a clip, such as its mean colour.

A synthetic world is only a test of place recognition if no single cue names the city. Each probe here is one cue, a
function from clips to features, read out by multinomial logistic regression; compare its accuracy with that
of a whole model on the same clips. A linear probe shows what lies open in a feature (Alain and Bengio, 2017,
"Understanding intermediate layers using linear classifier probes"); it is not an upper bound of what the cue can tell.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from cityguessr.base.errors import InputError

_SHADES = 4  # levels of each colour channel in a histogram


def mean_colour(clips: Tensor) -> Tensor:
    """The mean colour over all frames and pixels: float32 (N, 3), RGB in [0, 1].

    Args:
        clips: uint8 (N, T, 3, H, W), RGB, as `ClipDataset.frames_tensor` gives them; so for every cue below.
    """
    return _means(clips, 1).flatten(1)


def brightness(clips: Tensor) -> Tensor:
    """Mean and spread of the brightness (the mean of R, G and B) over all frames and pixels: float32 (N, 2)."""
    grey = (clip.float().mean(1) / 255 for clip in _checked(clips))
    return torch.stack([torch.stack([one.mean(), one.std(correction=0)]) for one in grey])


def half_colours(clips: Tensor) -> Tensor:
    """The mean colour of the upper and of the lower half of the picture: float32 (N, 6)."""
    return _means(clips, 2).flatten(1)


def upper_colour(clips: Tensor) -> Tensor:
    """The mean colour of the upper half, mostly sky and roofs: float32 (N, 3)."""
    return _means(clips, 2)[:, :, 0]


def lower_colour(clips: Tensor) -> Tensor:
    """The mean colour of the lower half, mostly road and pavement: float32 (N, 3)."""
    return _means(clips, 2)[:, :, 1]


def colour_histogram(clips: Tensor) -> Tensor:
    """Shares of the pixels in 4 x 4 x 4 boxes of RGB: float32 (N, 64); those of a clip add up to one."""
    counts = []
    for clip in _checked(clips):
        box = (clip.int() * _SHADES) // 256
        box = (box[:, 0] * _SHADES + box[:, 1]) * _SHADES + box[:, 2]
        counts.append(torch.bincount(box.flatten(), minlength=_SHADES**3))
    return torch.stack(counts).float() / (clips.shape[1] * clips.shape[3] * clips.shape[4])


CUES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean colour": mean_colour,
    "brightness": brightness,
    "colour of the upper half": upper_colour,
    "colour of the lower half": lower_colour,
    "colours of both halves": half_colours,
    "colour histogram": colour_histogram,
}


def linear_probe(features: Tensor, labels: Tensor, others: Tensor, penalty: float = 1e-3, steps: int = 300) -> Tensor:
    """The classes that multinomial logistic regression finds in some features: int64 (len(others),).

    Features are standardised by the mean and deviation of `features`. The fit starts from zero, is convex and draws
    nothing at random.

    Args:
        features, labels: float (N, D) and int64 (N,), what the probe is fitted on.
        others: float (M, D), what it answers for.
        penalty: weight of half the squared weights, beside the mean cross-entropy.
        steps: most steps of L-BFGS.

    Raises InputError where numbers of clips or features do not agree, or a feature is not finite.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise InputError(
            f"features {tuple(features.shape)} and labels {tuple(labels.shape)}; give (N, D) and (N,), N at least 1"
        )
    if others.ndim != 2 or others.shape[1] != features.shape[1]:
        raise InputError(
            f"fitted on {features.shape[1]} features per clip, asked about {tuple(others.shape)}; give (M, D)"
        )
    if not (features.isfinite().all() and others.isfinite().all()):
        raise InputError("a feature is not a finite number; give the probe finite features")
    classes, labels = labels.unique(return_inverse=True)
    mean, deviation = features.double().mean(0), features.double().std(0, correction=0).clamp(min=1e-6)
    seen, asked = (((x.double() - mean) / deviation).float() for x in (features, others))
    weight = torch.zeros(len(classes), features.shape[1], requires_grad=True)
    bias = torch.zeros(len(classes), requires_grad=True)
    search = torch.optim.LBFGS(
        [weight, bias], max_iter=steps, tolerance_grad=1e-6, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(F.linear(seen, weight, bias), labels) + 0.5 * penalty * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        search.step(loss)
    with torch.no_grad():
        return classes[F.linear(asked, weight, bias).argmax(1)]


def accuracy(cue: Callable[[Tensor], Tensor], clips: Tensor, labels: Tensor, others: Tensor, truths: Tensor) -> float:
    """Percent of some clips that a linear probe on one cue puts in the right class, fitted on other clips.

    Args:
        cue: one of `CUES`, or any function from clips to features (N, D).
        clips, labels: uint8 (N, T, 3, H, W) and int64 (N,), training clips.
        others, truths: the clips that count, likewise.
    """
    if truths.shape != others.shape[:1] or not len(truths):
        raise InputError(f"{len(others)} clips and truths {tuple(truths.shape)}; give one truth per clip, one at least")
    answers = linear_probe(cue(clips), labels, cue(others))
    return 100 * (answers == truths).float().mean().item()


def _means(clips: Tensor, bands: int) -> Tensor:
    """Mean colours in [0, 1] of equal bands of the picture from top to bottom: float32 (N, 3, bands)."""
    height = _checked(clips).shape[3]
    if height < bands:
        raise InputError(f"pictures of {height} rows; {bands} bands need as many at least")
    edges = [height * band // bands for band in range(bands + 1)]
    of_clip = (clip.float().mean((0, 3)) / 255 for clip in clips)  # clip by clip: floats take four times the memory
    rows = torch.stack(list(of_clip))
    return torch.stack([rows[:, :, low:high].mean(2) for low, high in itertools.pairwise(edges)], 2)


def _checked(clips: Tensor) -> Tensor:
    if clips.dtype != torch.uint8 or clips.ndim != 5 or clips.shape[2] != 3 or not clips.numel():
        raise InputError(
            f"clips are {clips.dtype} {tuple(clips.shape)}; a probe reads uint8 (N, T, 3, H, W), one clip at least"
        )
    return clips
