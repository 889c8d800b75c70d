"""The figures of pretraining draw what they are given."""

import numpy as np
import pandas as pd
import pytest
import torch

from cityguessr.base.errors import InputError
from cityguessr.figures import pretraining


def test_every_row_shows_every_other_frame_of_each_clip() -> None:
    original = torch.randint(0, 256, (2, 4, 3, 8, 8), dtype=torch.uint8)
    fig = pretraining.masked_clips({"original": original, "hidden": original // 2})
    drawn = [image.get_array() for ax in fig.axes for image in ax.images]
    expected = [clips[clip, frame] for clips in (original, original // 2) for clip in (0, 1) for frame in (0, 2)]
    assert len(drawn) == len(expected)
    for image, frame in zip(drawn, expected, strict=True):
        assert np.array_equal(image, frame.permute(1, 2, 0).numpy())


def test_rows_of_other_clips_are_refused() -> None:
    with pytest.raises(InputError, match="same clips"):
        pretraining.masked_clips({"a": torch.zeros(1, 4, 3, 8, 8), "b": torch.zeros(2, 4, 3, 8, 8)})


def test_a_bar_is_the_mean_over_seeds() -> None:
    table = pd.DataFrame({"start": ["random", "random", "places"], "seen": [1.0, 3.0, 5.0], "unseen": [0.0, 1.0, 2.0]})
    fig = pretraining.starts(table, ["random", "places"])
    assert [bar.get_height() for bar in fig.axes[0].patches] == [2.0, 5.0, 0.5, 2.0]
