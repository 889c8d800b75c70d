"""How far probabilities can be trusted: bin by bin, and what calibration error chance alone would show."""

import pandas as pd
import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.measures.metrics import calibration_error


def noise_floor(
    probabilities: Tensor, draws: int = 1000, seed: int = 0, bins: int = 15, confidence: float = 95
) -> tuple[float, float, float]:
    """The calibration error that a perfectly calibrated system of these probabilities shows by chance, in percent.

    `calibration_error` adds up absolute gaps, so that chance alone makes it larger than 0, the more so the fewer clips
    there are. Here each clip is right with the probability p of its likeliest class, which is what calibrated means,
    and the error is taken; this is repeated many times. A measured error within the interval is no sign of
    miscalibration. Nor does it prove calibration beyond what so many clips can show.

    Clips count as independent of each other. Those of one source video are not, so the true interval is wider.

    Args:
        probabilities: (N, n), each in [0, 1], as given to `calibration_error`.
        draws: how many times all clips are drawn.
        seed: of the draws.
        bins: as in `calibration_error`.
        confidence: that of the interval, in percent.

    Returns (mean, low, high) in percent. Raises InputError as `calibration_error` does, and for no draw.
    """
    if draws < 1 or not 0 < confidence < 100:
        raise InputError(f"draws={draws}, confidence={confidence}: give at least 1 draw, and 0 to 100 percent")
    if probabilities.ndim != 2 or not probabilities.numel():
        raise InputError(f"calibration needs probabilities (N, n), N at least 1; got {tuple(probabilities.shape)}")
    likeliest = probabilities.detach().cpu().double().amax(dim=1, keepdim=True)  # (N, 1): class 0 is what is answered
    generator = torch.Generator().manual_seed(seed)
    errors = []
    for _ in range(draws):
        wrong = torch.rand(len(likeliest), generator=generator, dtype=torch.float64) >= likeliest[:, 0]
        errors.append(calibration_error(likeliest, wrong.long(), bins))
    found, tail = torch.tensor(errors, dtype=torch.float64), (1 - confidence / 100) / 2
    low, high = found.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return found.mean().item(), low, high


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 10) -> pd.DataFrame:
    """How often answers of about the same probability are right: what a reliability diagram draws.

    Args:
        probabilities: (N, n), each in [0, 1]; the likeliest class is the answer.
        labels: (N,) class ids.
        bins: of equal width, over the probability of the answer.

    Returns a row for each bin that has clips: `probability`, the mean of the answers' probabilities, and `right`, the
    share of right answers, both in percent, and `clips`. Raises InputError as `calibration_error` does.
    """
    calibration_error(probabilities, labels, bins)  # the same demands
    share, answer = probabilities.detach().cpu().double().max(dim=1)
    frame = pd.DataFrame({"probability": 100 * share.numpy(), "right": 100.0 * (answer == labels.cpu()).numpy()})
    bin_of = (share * bins).ceil().clamp(min=1).int().numpy()  # ((m - 1) / bins, m / bins], as calibration_error has it
    grouped = frame.groupby(bin_of)
    return grouped.mean().assign(clips=grouped.size()).reset_index(drop=True)
