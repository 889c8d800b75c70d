"""What is remarkable in the kept frames of a clip: blank ones, and cuts from one scene to another."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BLANK = 4.0  # standard deviation of the luminance, of 255, below which a frame shows nothing
CUT = 0.6  # share of colours that neighbours have in common, below which a cut is suspected: walks have 0.9 and more
_SIDE, _BINS = (64, 36), 4


class Watcher:
    """Looks at the kept frames of a clip in turn.

    A blank frame is black, white or of one even grey. A cut is where the colours of neighbouring frames have little in
    common. A sharp turn or the way into a tunnel may look the same: it is a remark, and no reason to leave a clip out.
    """

    def __init__(self) -> None:
        self._last: NDArray[np.float64] | None = None
        self._blank: list[int] = []
        self._cuts: list[int] = []

    def see(self, n: int, picture: NDArray[np.uint8]) -> None:
        """The next frame, number n from 1, uint8 (H, W, 3)."""
        small = np.asarray(Image.fromarray(picture).resize(_SIDE, Image.Resampling.BOX))
        if small.mean(axis=2).std() < BLANK:
            self._blank.append(n)
            self._last = None
            return
        colours = colour_shares(small)
        if self._last is not None and np.minimum(colours, self._last).sum() < CUT:
            self._cuts.append(n)
        self._last = colours

    def report(self) -> dict[str, Any]:
        """How many frames are `blank`, and the `remarks`: the numbers of blank frames, and of those behind a cut."""
        return {"blank": len(self._blank), "remarks": {"blank": self._blank, "cut": self._cuts}}


def colour_shares(small: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The share of pixels of each of 64 colours, float64 (64,)."""
    bins = small.astype(np.int64) * _BINS // 256
    index = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    return np.bincount(index.ravel(), minlength=_BINS**3) / index.size
