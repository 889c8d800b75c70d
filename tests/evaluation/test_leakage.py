"""What a split gives away: memory with and without a clip's own video, and splits by source video."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_world import LONDON, LYON, TOKYO, made
from torch.nn import functional

from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.evaluation import leakage
from cityguessr.evaluation.leakage import AS_SPLIT, BY_VIDEO, OTHERS_HIDDEN, OWN_HIDDEN

CITIES, VIDEOS, CLIPS = 6, 3, 4  # of a city, and of a video


@pytest.fixture
def drives() -> tuple[torch.Tensor, list[int], list[str]]:
    """Clips that look like their video and not at all like their city."""
    random = torch.Generator().manual_seed(0)
    looks = torch.randn(CITIES * VIDEOS, 32, generator=random).repeat_interleave(CLIPS, 0)
    vectors = functional.normalize(looks + 0.1 * torch.randn(looks.shape, generator=random))
    number = [i // CLIPS for i in range(len(vectors))]
    return vectors, [n // VIDEOS for n in number], [f"v{n}" for n in number]


def halves(values: object) -> tuple:
    """Validation, every fourth clip, and training."""
    if isinstance(values, torch.Tensor):
        out = torch.arange(len(values)) % CLIPS == 0
        return values[out], values[~out]
    return [v for i, v in enumerate(values) if not i % CLIPS], [v for i, v in enumerate(values) if i % CLIPS]


def test_memory_of_drives_fails_once_the_own_video_is_hidden(drives: tuple) -> None:
    hits = leakage.memory(*(halves(part) for part in drives))
    assert hits[AS_SPLIT].all()
    assert hits[OTHERS_HIDDEN].all()
    assert hits[OWN_HIDDEN].double().mean() < 0.5
    by_source, held_out, searched = leakage.memory_by_video(*drives)
    assert by_source.double().mean() < 0.5
    assert not set(held_out[1]) & set(searched[1])
    assert len(held_out[0]) == len(by_source)


def test_memory_of_cities_does_not_need_the_own_video() -> None:
    looks = functional.normalize(torch.randn(CITIES, 32, generator=torch.Generator().manual_seed(1)))
    cities = [i // (VIDEOS * CLIPS) for i in range(CITIES * VIDEOS * CLIPS)]
    videos = [f"v{i // CLIPS}" for i in range(len(cities))]
    hits = leakage.memory(*(halves(part) for part in (looks[cities], cities, videos)))
    assert hits[OWN_HIDDEN].all()


def test_a_city_of_one_video_is_left_out_of_a_split_by_video() -> None:
    out, usable = leakage.held_out_videos(["a", "a", "b", "c", "c"], [0, 0, 0, 1, 1])
    assert usable.tolist() == [True] * 3 + [False] * 2
    assert out[:3].any()
    assert not out[3:].any()
    with pytest.raises(InputError, match="no city has clips of two source videos"):
        leakage.held_out_videos(["a", "a", "b"], [0, 0, 1])


def test_accuracy_is_told_by_how_many_training_videos_a_city_has() -> None:
    training = [0, 1, 1, 1, 2, 2, 2, 2, 2], ["a", "b", "c", "c", "d", "e", "f", "g", "h"]
    frame = leakage.by_training_videos(
        torch.tensor([True, False, False, True]), ([0, 0, 1, 2], ["p", "q", "r", "s"]), training
    ).set_index("training_videos")
    assert frame["accuracy"].to_dict() == {"1": 50, "2": 0, "5 or more": 100}
    assert frame["clips"].to_dict() == {"1": 2, "2": 1, "5 or more": 1}


def test_a_line_says_whether_the_own_video_may_be_in_training() -> None:
    own = {split: leakage.line("x", split, torch.ones(3), list("abc"))[2] for split in (AS_SPLIT, OWN_HIDDEN, BY_VIDEO)}
    assert own == {AS_SPLIT: True, OWN_HIDDEN: False, BY_VIDEO: False}


def test_predictions_take_recovered_videos() -> None:
    predictions = made([LONDON, LYON, TOKYO], [LONDON, LYON, LYON])
    named = predictions.with_videos({"clip0": "a", "clip1": "a", "clip2": "b"}, ["a", "c"])
    assert named.seen.tolist() == [True, True, False]
    assert named.video_ids == ("a", "a", "b")
    assert np.array_equal(named.logits["city"], predictions.logits["city"])
    with pytest.raises(InputError, match="2 of 3 clips have no video, the first clip1"):
        predictions.with_videos({"clip0": "a"}, [])


def test_what_cannot_be_trained_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ensure_all(names: list[str], *_: object, **__: object) -> dict[str, object]:
        asked.append(names)
        return {name: MissingWeights("no weights.") if name == "cityguessr" else ("run",) for name in names}

    monkeypatch.setattr(leakage.jobs, "ensure_all", ensure_all)
    found, missing = leakage.trained("mini", [0], ([0, 0, 1, 1], ["a", "b", "c", "d"]))  # each clip its own video
    assert asked[0] == ["videomae", "cityguessr"]
    assert (found, missing["cityguessr"]) == ({"videomae": ("run",)}, "no weights")
    assert "use the split by clip" in missing["videomae_by_video"]
    found, _ = leakage.trained("mini", [0], ([0, 0, 0, 0], ["a", "a", "b", "b"]))
    assert set(found) == {"videomae", "videomae_by_video", "cityguessr_by_video"}


def test_a_run_is_scored_with_the_videos_that_are_given() -> None:
    predictions = made([LONDON, LYON], [LONDON, LONDON])
    halves = {
        "val": SimpleNamespace(labels={"city": predictions.labels["city"]}, clip_ids=predictions.clip_ids),
        "train": SimpleNamespace(labels={"city": torch.tensor([LYON])}, clip_ids=["clip9"]),
    }
    clips = SimpleNamespace(split=lambda name, by: halves[name])
    run = SimpleNamespace(predictions=predictions, config=SimpleNamespace(split="clip"), clips=lambda: clips)
    hits, val, train = leakage.of_runs([run], {"clip0": "a", "clip1": "a", "clip9": "b"})
    assert hits.tolist() == [[True, False]]
    assert val == ([LONDON, LYON], ["a", "a"])
    assert train == ([LYON], ["b"])
