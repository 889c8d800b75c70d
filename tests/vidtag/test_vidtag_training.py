"""Both phases on toy features that say where a frame was taken, exact resume, and the answers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.measures.sphere import great_circle_km
from cityguessr.vidtag import answers, retrieval, training
from cityguessr.vidtag import gallery as galleries
from cityguessr.vidtag.answers import Gallery, answer, answer_all, centres, smoothed
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.model import VidTAG
from cityguessr.vidtag.schedule import MSLS, Phase
from cityguessr.vidtag.training import Example, train

CONFIG = VidTAGConfig(
    features=24, bottleneck=24, temporal_heads=2, head=(32,), width=32, fourier=32, location_width=64,
    refiner_heads=2, refiner_feed_forward=64, unit_features=False, alpha=0.01,
)  # fmt: skip
ONE = Phase(epochs=3, batch_size=16, learning_rate=2e-3, frames=8, gap=1)
TWO = Phase(epochs=2, batch_size=16, optimizer="adamw", learning_rate=1e-3, frames=8, gap=1)
CENTRE = torch.tensor([45.75, 4.85], dtype=torch.float64)


def examples(count: int, frames: int = 12, seed: int = 0) -> list[Example]:
    """Straight drives of 1 km through a town of 4 km, whose features are waves of the place with some noise."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.randn(2, 24, generator=torch.Generator().manual_seed(99)) * 0.6
    made = []
    for _ in range(count):
        start = (torch.rand(2, generator=generator) - 0.5) * 4
        heading = torch.rand((), generator=generator) * 2 * math.pi
        km = start + torch.linspace(0, 1, frames)[:, None] * torch.stack([heading.cos(), heading.sin()])
        features = (km @ waves).sin() + 0.2 * torch.randn(frames, 24, generator=generator)
        latlon = CENTRE + km.double() / torch.tensor([111.2, 77.6])
        made.append(Example(features.unsqueeze(1).half(), latlon))
    return made


@pytest.fixture(scope="module")
def learned() -> tuple[VidTAG, list[Example], Gallery]:
    torch.manual_seed(0)
    model, known = VidTAG(CONFIG), examples(96)
    phases = (
        Phase(epochs=30, batch_size=16, learning_rate=2e-3, frames=8, gap=1, shape="one cycle"),
        Phase(epochs=10, batch_size=16, optimizer="adamw", learning_rate=1e-3, frames=8, gap=1, shape="one cycle"),
    )
    log = train(model, known, phases, seed=0, report=lambda line: None)
    assert [row["phase"] for row in log] == [1] * 30 + [2] * 10
    assert log[29]["loss"] < log[0]["loss"]
    points = galleries.build({"lyon": torch.cat([e.latlon for e in known]).numpy()}, 0.25)
    return model, known, Gallery(model, points)


def median_km(learned: tuple, retrieved: bool) -> float:
    model, _, gallery = learned
    errors = []
    for example in examples(12, seed=1):
        given = answer(model, example.features, gallery)
        errors.append(great_circle_km(given.retrieved if retrieved else given.refined, example.latlon.numpy()))
    return float(np.median(np.concatenate(errors)))


def test_a_frame_of_an_unseen_drive_is_placed_better_than_by_the_town_s_centre(learned: tuple) -> None:
    unseen = torch.cat([e.latlon for e in examples(12, seed=1)]).numpy()
    floor = float(np.median(great_circle_km(unseen, CENTRE.numpy())))
    assert median_km(learned, retrieved=True) < 0.75 * floor  # 0.6 or so, by the number of threads
    assert median_km(learned, retrieved=False) < floor


def test_every_answer_is_a_point_of_the_gallery_and_lengths_may_differ(learned: tuple) -> None:
    model, _, gallery = learned
    points = {tuple(point) for point in gallery.points.tolist()}
    for frames in (1, 5, 40):
        given = answer(model, torch.randn(frames, 2, 24), gallery)
        assert given.retrieved.shape == given.refined.shape == (frames, 2)
        assert {tuple(point) for point in np.concatenate([given.retrieved, given.refined]).tolist()} <= points


def test_the_same_view_twice_is_the_same_answer(learned: tuple) -> None:
    model, known, gallery = learned
    one = answer(model, known[0].features, gallery)
    two = answer(model, known[0].features.expand(-1, 2, -1), gallery)
    assert np.array_equal(one.retrieved, two.retrieved)


@pytest.mark.parametrize(
    "changes", [{}, {"level": "video", "queue": 5, "symmetric": True}, {"temporal": "none", "mask_km": 0.1}]
)
def test_a_training_that_was_stopped_ends_with_the_same_weights(changes: dict, tmp_path: Path) -> None:
    known = examples(20)

    def fresh() -> VidTAG:
        torch.manual_seed(3)
        return VidTAG(CONFIG.replace(**changes))

    whole, parts = fresh(), fresh()
    log = train(whole, known, (ONE, TWO), seed=1, report=lambda line: None)
    for stop in (1, 3, None):  # in phase I, in phase II, to the end
        parts = fresh()
        again = train(parts, known, (ONE, TWO), 1, tmp_path / "state.pt", stop_after=stop, report=lambda line: None)
    for (name, tensor), other in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), name
    assert [row["loss"] for row in again] == [row["loss"] for row in log]


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    train(VidTAG(CONFIG), examples(20), (ONE, TWO), 0, path, stop_after=1, report=lambda line: None)
    with pytest.raises(InputError, match=r"state.pt: written by a training of another configuration; delete it"):
        train(VidTAG(CONFIG), examples(20), (ONE, TWO), 1, path, report=lambda line: None)
    content = torch.load(path, weights_only=True)
    del content["model"]["logit_scale"]
    torch.save(content, path)
    with pytest.raises(InputError, match=r"state.pt: damaged or edited"):
        train(VidTAG(CONFIG), examples(20), (ONE, TWO), 0, path, report=lambda line: None)


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    known = examples(20)
    broken = [Example(e.features * float("nan"), e.latlon) for e in known]
    with pytest.raises(InputError, match="the loss is not finite in epoch 1 of phase 1; lower its learning rate"):
        train(VidTAG(CONFIG), broken, (ONE, TWO), 0, report=lambda line: None)
    with pytest.raises(InputError, match="no training sequence"):
        train(VidTAG(CONFIG), [], (ONE, TWO), 0)


def test_the_published_schedules() -> None:
    one, two = MSLS
    steps = 129  # 16,588 sequences in batches of 128 or so
    assert one.rate(0, steps) == pytest.approx(5e-8)
    assert one.rate(999, steps) == pytest.approx(5e-5 * 0.99**7)
    assert one.rate(600 * steps - 1, steps) == pytest.approx(5e-5 * 0.99**599)
    assert two.rate(100 * steps - 1, steps) == pytest.approx(1e-4 * 0.95**99)
    cycle = Phase(epochs=10, shape="one cycle", learning_rate=1.0)
    rates = [cycle.rate(step, 10) for step in range(100)]
    assert max(rates) == rates[9] == rates[10] == 1
    assert rates[-1] < 1e-3


def test_a_median_filter_takes_out_one_wrong_frame_and_knows_the_date_line() -> None:
    track = np.stack([np.full(9, 10.0), np.array([179.7, 179.8, 179.9, -180, -179.9, 20, -179.7, -179.6, -179.5])], 1)
    smooth = smoothed(track)
    east = (smooth[:, 1] - 179.7) % 360
    assert east.max() < 0.9
    assert (np.diff(east) >= 0).all()
    assert smoothed(track[:2]).shape == (2, 2)
    assert np.allclose(smoothed(track, 1), track)
    with pytest.raises(InputError, match="give an odd number"):
        smoothed(track, 4)


def test_a_region_s_centre_is_the_mean_of_its_training_coordinates() -> None:
    tracks = [np.array([[0.0, 179.0]]), np.array([[0.0, -179.0], [0.0, -179.0]]), np.array([[5.0, 6.0]])]
    found = centres(tracks, ["fiji", "fiji", "lyon"])
    assert found["fiji"] == pytest.approx([0, -180 + 1 / 3])
    assert found["lyon"].tolist() == [5, 6]


def test_of_ten_crops_the_mean_of_the_logits_decides_and_crops_stay_with_their_frame() -> None:
    torch.manual_seed(0)
    model = VidTAG(CONFIG.replace(temporal="none", unit_features=True)).eval()
    points = np.random.default_rng(0).uniform((45, 4), (46, 5), (60, 2))
    crops = torch.randn(7, 10, 24) * torch.rand(7, 10, 1) * 3
    with torch.no_grad():
        frames = F.normalize(model.head(F.normalize(crops, dim=-1)), dim=-1)  # (T, 10, e)
        logits = model.logit_scale.exp() * frames @ model.places(torch.from_numpy(points)).mT  # (T, 10, n)
    seen: list[torch.Tensor] = []
    model.refiner.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    given = answer(model, crops, Gallery(model, points))
    assert np.array_equal(given.retrieved, points[logits.mean(dim=1).argmax(dim=1).numpy()])
    alone = [answer(model, crops[frame : frame + 1], Gallery(model, points)).retrieved[0] for frame in range(7)]
    assert np.array_equal(given.retrieved, alone)
    # GeoRefiner is given the mean of the embeddings, of length 1 again.
    assert torch.allclose(seen[0][0], F.normalize(frames.mean(dim=1), dim=-1), atol=1e-6)


def test_videos_looked_up_together_have_the_answers_that_each_has_alone(learned: tuple) -> None:
    model, _, gallery = learned
    videos = [example.features for example in examples(5, seed=2)] + [torch.randn(3, 1, 24)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "TOGETHER", {"cpu": 20})  # two drives of 12 frames at a time, and the last ones
        together = list(answer_all(model, iter(videos), gallery))
    assert [len(given.retrieved) for given in together] == [12] * 5 + [3]
    for video, given in zip(videos, together, strict=True):
        alone = answer(model, video, gallery)
        assert np.array_equal(given.retrieved, alone.retrieved)
        assert np.array_equal(given.refined, alone.refined)
    assert list(answer_all(model, [], gallery)) == []


def test_a_large_gallery_is_embedded_to_the_disk_and_answers_the_same(
    learned: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, known, small = learned
    monkeypatch.setattr(paths, "data", lambda: tmp_path / "data")
    assert isinstance(small.embeddings, torch.Tensor)
    monkeypatch.setattr(answers, "LARGE", 50)
    large = Gallery(model, small.points, chunk=40)
    assert isinstance(large.embeddings, retrieval.Stored)
    assert np.array_equal(large.embeddings[:], small.embeddings.numpy())
    for one, other in zip(*(answer_all(model, [known[0].features], each) for each in (small, large)), strict=True):
        assert np.array_equal(one.retrieved, other.retrieved)
        assert np.array_equal(one.refined, other.refined)
    assert list((tmp_path / "data").iterdir()) == []


def test_frames_are_sampled_as_the_phase_says(monkeypatch: pytest.MonkeyPatch) -> None:
    number = torch.arange(40.0)[:, None]  # a frame's feature and its latitude are its number
    drive = Example(number[:, None].expand(-1, 1, 24), torch.cat([number, number], dim=1).double())
    taken: dict[str, list[list[int]]] = {}
    for sampled in ("spaced", "spread"):
        shown: list[list[int]] = []

        def phase_one(
            model: VidTAG, _: torch.Tensor, latlon: torch.Tensor, queue: object, shown: list[list[int]] = shown
        ) -> torch.Tensor:
            shown.append(latlon[0, :, 0].int().tolist())
            return model.logit_scale

        monkeypatch.setattr(training, "_phase_one", phase_one)
        phase = Phase(epochs=30, batch_size=1, frames=8, gap=3, sampled=sampled)
        train(VidTAG(CONFIG.replace(refiner=False)), [drive], (phase, phase), 0, report=lambda line: None)
        taken[sampled] = shown
    assert all(np.unique(np.diff(frames)).tolist() == [3] for frames in taken["spaced"])
    assert all([frame // 5 for frame in frames] == list(range(8)) for frames in taken["spread"])  # one of each eighth
    assert any(len(set(np.diff(frames))) > 1 for frames in taken["spread"])
    with pytest.raises(InputError, match="no way in which frames are sampled 'cells'; it is one of spaced, spread"):
        Phase(epochs=1, sampled="cells")


def test_a_gallery_is_embedded_anew_after_a_step() -> None:
    """T-G8: embeddings of weights that were trained on meanwhile would be answered with in silence."""
    model = VidTAG(CONFIG.replace(refiner=False))
    points = np.stack([np.linspace(-60, 60, 50), np.linspace(-170, 170, 50)], axis=1)
    before = Gallery(model, points)
    optimizer = torch.optim.SGD(model.location.parameters(), lr=1.0)
    model.places(torch.from_numpy(points[:5])).sum().backward()
    optimizer.step()
    with pytest.raises(InputError, match="changed since this gallery was embedded"):
        before.nearest(model.places(torch.from_numpy(points[:1])))
    anew = Gallery(model, points)
    assert np.array_equal(anew.nearest(model.places(torch.from_numpy(points)).detach()), points)
    assert not torch.equal(torch.as_tensor(anew.embeddings[:]), torch.as_tensor(before.embeddings[:]))
