"""How a long video is cut, as a figure."""

import numpy as np
import pandas as pd
import pytest

from cityguessr.figures import long_videos


@pytest.mark.usefixtures("fresh_style")
def test_every_clip_is_drawn_over_its_own_frames_with_a_line_for_each_that_is_kept() -> None:
    clips = pd.DataFrame(
        {"clip": ["Lyon_0000", "Lyon_0001"], "first_frame": [0, 12], "frames": [12, 14], "split": ["train", "val"]}
    )
    pictures = list(np.zeros((4, 9, 16, 3), np.uint8))
    fig = long_videos.cuts(pictures, [3, 10, 17, 24], clips, kept=4, fps=2, frames=30, title="a.mp4")
    below = fig.axes[1]
    bars, lines = below.collections[0::2], below.collections[1::2]
    spans = [bar.get_paths()[0].get_extents() for bar in bars]
    assert [(span.x0, span.x1) for span in spans] == [(0, 12), (12, 26)]
    kept = [path.vertices[0, 0] - 0.5 for line in lines for path in line.get_paths()]
    assert kept == [0, 3, 6, 9, 12, 15, 19, 22]
    assert [tick.get_text() for tick in below.get_xticklabels()][-1] == "15"  # seconds
    assert fig.get_suptitle() == "a.mp4"
