"""What a split gives away: memory without a clip's own video, and one training read on seen and unseen clips."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_world import LONDON, LYON, TOKYO, made
from torch.nn import functional

from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.evaluation import leakage
from cityguessr.evaluation.leakage import OTHERS_HIDDEN, OWN_HIDDEN, SEEN, UNSEEN

CITIES, VIDEOS, CLIPS = 6, 3, 4  # of a city, and of a video


@pytest.fixture
def drives() -> tuple[torch.Tensor, list[int], list[str]]:
    """Clips that look like their video and not at all like their city."""
    random = torch.Generator().manual_seed(0)
    looks = torch.randn(CITIES * VIDEOS, 32, generator=random).repeat_interleave(CLIPS, 0)
    vectors = functional.normalize(looks + 0.1 * torch.randn(looks.shape, generator=random))
    number = [i // CLIPS for i in range(len(vectors))]
    return vectors, [n // VIDEOS for n in number], [f"v{n}" for n in number]


def search(vectors: torch.Tensor, cities: list[int], videos: list[str]) -> dict[str, leakage.Answered]:
    """Memory where each city's last video is held out whole, and one clip of each of the others."""
    number = torch.arange(len(vectors))
    unseen = number // CLIPS % VIDEOS == VIDEOS - 1
    out = unseen | (number % CLIPS == 0)
    sides = [([cities[i] for i in rows], [videos[i] for i in rows]) for rows in (number[out], number[~out])]
    return leakage.memory((vectors[out], vectors[~out]), *sides)


def test_memory_of_drives_fails_once_the_own_video_is_hidden_and_on_unseen_videos(drives: tuple) -> None:
    found = search(*drives)
    rate = {kind: hits.double().mean().item() for kind, (hits, _) in found.items()}
    assert rate[SEEN] == rate[OTHERS_HIDDEN] == 1
    assert max(rate[OWN_HIDDEN], rate[UNSEEN]) < 0.5
    assert found[SEEN][1] == found[OWN_HIDDEN][1] == found[OTHERS_HIDDEN][1]  # the same clips
    assert set(found[UNSEEN][1][1]) == {f"v{n}" for n in range(VIDEOS - 1, CITIES * VIDEOS, VIDEOS)}


def test_memory_of_cities_does_not_need_the_own_video() -> None:
    looks = functional.normalize(torch.randn(CITIES, 32, generator=torch.Generator().manual_seed(1)))
    cities = [i // (VIDEOS * CLIPS) for i in range(CITIES * VIDEOS * CLIPS)]
    found = search(looks[cities], cities, [f"v{i // CLIPS}" for i in range(len(cities))])
    assert found[OWN_HIDDEN][0].all()
    assert found[UNSEEN][0].all()


def test_without_unseen_clips_there_is_no_such_part(drives: tuple) -> None:
    vectors, cities, videos = drives
    found = leakage.memory((vectors[::2], vectors[1::2]), (cities[::2], videos[::2]), (cities[1::2], videos[1::2]))
    assert list(found) == [SEEN, OWN_HIDDEN, OTHERS_HIDDEN]


def test_the_gap_between_mixes_of_cities_is_told_from_that_within_cities() -> None:
    """City 0 is easy and city 1 hard, seen or not. Most seen clips are of the easy one, most unseen of the other."""
    seen = torch.tensor([1.0] * 8 + [0.0] * 2), ([0] * 8 + [1] * 2, [f"s{i}" for i in range(10)])
    unseen = torch.tensor([1.0] * 2 + [0.0] * 8), ([0] * 2 + [1] * 8, [f"u{i}" for i in range(10)])
    assert leakage.gap(seen, unseen)[0] == pytest.approx(60)
    difference, low, high = leakage.gap(seen, unseen, same_cities=True)
    assert difference == pytest.approx(0)
    assert low < 0 < high
    elsewhere = unseen[0], ([2] * 10, unseen[1][1])
    with pytest.raises(InputError, match="cities that have both"):
        leakage.gap(seen, elsewhere, same_cities=True)


def test_a_city_without_unseen_clips_is_left_out_of_the_gap_within_cities() -> None:
    seen = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 1]]), ([0, 0, 1, 1], ["a", "b", "c", "d"])
    unseen = torch.tensor([False, True]), ([0, 0], ["e", "f"])
    difference, low, high = leakage.gap(seen, unseen, same_cities=True)
    assert difference == pytest.approx(100 - 50)
    assert (low, high) == (0, 100)
    assert leakage.gap(seen, unseen)[0] == pytest.approx(62.5 - 50)


def test_the_gap_s_interval_is_the_textbooks_and_takes_whole_videos() -> None:
    random = torch.Generator().manual_seed(0)
    parts = []
    for share in (0.6, 0.4):
        hits = (torch.rand(400, generator=random) < share).repeat_interleave(3)  # three clips of a video are alike
        parts.append((hits, ([0] * 1200, [f"{share}-{i // 3}" for i in range(1200)])))
    difference, low, high = leakage.gap(*parts)
    rates = [hits.double().mean().item() for hits, _ in parts]
    half = 196 * sum(rate * (1 - rate) / 400 for rate in rates) ** 0.5
    assert difference == pytest.approx(100 * (rates[0] - rates[1]))
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert all(math.isnan(end) for end in leakage.gap(parts[0], (parts[1][0][:3], ([0] * 3, ["x"] * 3)))[1:])


def test_accuracy_is_told_by_how_many_training_videos_a_city_has() -> None:
    training = [0, 1, 1, 1, 2, 2, 2, 2, 2], ["a", "b", "c", "c", "d", "e", "f", "g", "h"]
    answered = torch.tensor([True, False, False, True]), ([0, 0, 1, 2], ["p", "q", "r", "s"])
    frame = leakage.by_training_videos(answered, training).set_index("training_videos")
    assert frame["accuracy"].to_dict() == {"1": 50, "2": 0, "5 or more": 100}
    assert frame["clips"].to_dict() == {"1": 2, "2": 1, "5 or more": 1}


def test_a_line_says_whether_the_own_video_may_be_in_training() -> None:
    answered = torch.ones(3), ([0, 0, 0], list("abc"))
    own = {part: leakage.line("x", part, answered)[2] for part in (SEEN, OTHERS_HIDDEN, OWN_HIDDEN, UNSEEN)}
    assert own == {SEEN: True, OTHERS_HIDDEN: True, OWN_HIDDEN: False, UNSEEN: False}


def test_predictions_take_recovered_videos_which_decide_what_is_seen() -> None:
    predictions = made([LONDON, LYON, TOKYO], [LONDON, LYON, LYON])
    named = predictions.with_videos({"clip0": "a", "clip1": "a", "clip2": "b"}, ["b", "c"])
    assert named.video_ids == ("a", "a", "b")
    assert named.seen.tolist() == [False, False, True]
    assert np.array_equal(named.logits["city"], predictions.logits["city"])
    with pytest.raises(InputError, match="2 of 3 clips have no video, the first clip1"):
        predictions.with_videos({"clip0": "a"}, [])


def test_what_cannot_be_trained_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def ensure_all(names: list[str], *_: object, **__: object) -> dict[str, object]:
        return {name: MissingWeights("no weights.") if name == "cityguessr" else ("run",) for name in names}

    monkeypatch.setattr(leakage.jobs, "ensure_all", ensure_all)
    assert leakage.trained("mini", [0]) == ({"videomae": ("run",)}, {"cityguessr": "no weights"})


@pytest.mark.parametrize(
    ("videos", "parts"),
    [
        ({"clip0": "a", "clip1": "b", "clip9": "b"}, {SEEN: ([[False]], ["b"]), UNSEEN: ([[True]], ["a"])}),
        ({"clip0": "a", "clip1": "a", "clip9": "b"}, {UNSEEN: ([[True, False]], ["a", "a"])}),
        ({"clip0": "b", "clip1": "b", "clip9": "b"}, {SEEN: ([[True, False]], ["b", "b"])}),
    ],
)
def test_a_run_is_read_apart_by_the_videos_that_are_given(videos: dict[str, str], parts: dict) -> None:
    predictions = made([LONDON, LYON], [LONDON, LONDON])
    train = SimpleNamespace(labels={"city": torch.tensor([LYON])}, clip_ids=["clip9"])
    clips = SimpleNamespace(split=lambda name, by: train)
    run = SimpleNamespace(predictions=predictions, config=SimpleNamespace(split="clip"), clips=lambda: clips)
    found, training = leakage.of_runs([run], videos)
    assert {name: (hits.tolist(), side[1]) for name, (hits, side) in found.items()} == parts
    assert training == ([LYON], ["b"])
