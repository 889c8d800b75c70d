"""Guess your own clip: probabilities and a path in the tree, and a warning where the model only knows MiniWorld."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from support import make_video

mpl.use("agg")

import matplotlib.pyplot as plt

from cityguessr.base.errors import InputError
from cityguessr.guessing import guess, guess_frames
from cityguessr.taxonomy import LEVELS
from cityguessr.training.runs import Run


def test_a_released_model_answers_without_products(run: Run) -> None:
    """Traced: the path is read off the likeliest city as it is, as the released code does, and so are the lists."""
    model = run.model()
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    sure = {"city": [0.0, 1.0, 0.9], "state": [0.0, 0.0, 9.0], "country": [0.0, 0.0], "continent": [0.0, 0.0]}
    for level in LEVELS:
        torch.nn.init.zeros_(model.classifiers[level].weight)
        model.classifiers[level].bias.data = torch.tensor(sure[level])
    described = guess_frames(frames, model)
    model.config = model.config.replace(evaluation="traced")
    released = guess_frames(frames, model)
    assert (described.chain["city"], released.chain["city"]) == (2, 1)
    assert (described.ids["city"][0], released.ids["city"][0]) == (2, 1)


def test_heads_that_contradict_each_other_utterly_still_give_probabilities(run: Run) -> None:
    model = run.model()
    for i, level in enumerate(LEVELS):
        torch.nn.init.zeros_(model.classifiers[level].weight)
        model.classifiers[level].bias.data = 500.0 * torch.eye(3)[i % 2, : model.taxonomy.size(level)]
    answer = guess_frames(np.zeros((4, 32, 32, 3), np.uint8), model)
    assert all(answer.probabilities[level].isfinite().all() for level in LEVELS)


def test_guess_a_video_of_ones_own(run: Run, tmp_path: Path) -> None:
    """The likeliest places of each level with probabilities, and an answer that is one path in the tree."""
    path = make_video(tmp_path / "walk.mp4")
    answer = guess(path, run)
    assert len(answer.table()) == 3  # the tree has three cities
    for level in LEVELS:
        assert answer.probabilities[level].sum().item() == pytest.approx(1, abs=1e-5)
        assert list(answer.probabilities[level]) == sorted(answer.probabilities[level], reverse=True)
    chain = run.taxonomy.chain(answer.ids["city"][0])
    assert answer.chain == {level: int(chain[level]) for level in LEVELS}
    assert str(answer).startswith("walk.mp4: ")
    assert "MiniWorld" not in str(answer)  # the guess of a model of synthetic data says so; this one is not


def test_a_guess_by_a_model_of_a_synthetic_world_says_so(run: Run) -> None:
    model = run.model()
    answer = guess_frames(np.zeros((4, 32, 32, 3), np.uint8), model, synthetic=True)
    assert "knows nothing of the real one" in str(answer)
    ax = answer.draw()
    assert any("of a real video this means nothing" in text.get_text() for text in ax.texts)
    plt.close(ax.figure)


def test_a_guess_shows_itself_in_a_notebook(run: Run) -> None:
    """The path, the warning, the frames, the table and the map, and none of the numbers of its frames."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    answer = guess_frames(frames, run.model(), 2, path=Path("a <walk>.mp4"), synthetic=True)
    assert repr(answer) == str(answer)
    page = answer._repr_html_()
    assert page.startswith("<p><strong>a &lt;walk&gt;.mp4: ")
    assert "knows nothing of the real one" in page
    assert answer.table().loc[2, "city"] in page
    assert [part.split('"')[1].split(":")[0] for part in page.split("<img ")[1:]] == [
        "Frames of a &lt;walk&gt;.mp4 that the model was given",
        "a &lt;walk&gt;.mp4",
    ]
    assert not plt.get_fignums()


def test_a_guess_of_a_text_file_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(InputError, match=r"notes\.mp4"):
        guess(tmp_path / "notes.mp4", run)
