"""Losses, masks, queue and noise of both phases, with their right values."""

import math

import pytest
import torch

from cityguessr.measures.sphere import great_circle_km
from cityguessr.vidtag import noise
from cityguessr.vidtag.losses import (
    CoordinateQueue,
    alignment,
    contrastive,
    distance_km,
    mean_coordinate,
    near,
    refinement,
)
from cityguessr.vidtag.sampling import spaced, spread

KM = 1 / 111.19508  # degrees of latitude


def test_frames_look_for_coordinates_and_not_the_other_way_round() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert contrastive(logits, torch.eye(2), 1.0).item() == pytest.approx((0.126928 + 0.313262) / 2, abs=1e-6)
    uneven = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    there, back = contrastive(uneven, torch.eye(2), 1.0), contrastive(uneven.T, torch.eye(2), 1.0)
    assert not torch.isclose(there, back)
    assert torch.isclose(contrastive(uneven, torch.eye(2), 1.0, symmetric=True), (there + back) / 2)


def test_two_frames_at_one_place_keep_the_loss_above_ln_2_unless_they_are_hidden() -> None:
    places = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    latlon = torch.tensor([[48.85, 2.35], [48.85, 2.35]])
    assert contrastive(places, places, 1000.0).item() == pytest.approx(math.log(2))
    assert contrastive(places, places, 1000.0, near(latlon, latlon, 0.0)).item() == 0
    assert near(latlon, latlon, None) is None


def test_an_entry_of_the_queue_within_a_kilometre_is_no_negative_of_that_row() -> None:
    rows = torch.tensor([[10.0, 20.0], [12.0, 20.0]], dtype=torch.float64)
    queue = torch.tensor([[10 + 0.9 * KM, 20.0], [10 + 1.1 * KM, 20.0]], dtype=torch.float64)
    assert near(rows, queue, 1.0).tolist() == [[True, False], [False, False]]
    assert distance_km(rows, queue).numpy() == pytest.approx(great_circle_km(rows[:, None], queue[None]))


def test_the_queue_takes_batches_of_any_size_in_place_of_the_oldest() -> None:
    queue = CoordinateQueue(5)
    assert queue.get().shape == (0, 2)  # empty at first: the first logits are those of the batch
    batch = torch.arange(6.0).view(3, 2)
    queue.put(batch)
    queue.put(batch + 10)
    assert int(queue.pointer) == 1
    assert queue.get()[0].tolist() == [14, 15]  # the last of the second batch
    queue.put(torch.arange(14.0).view(7, 2))  # more than it holds: the last five
    assert sorted(queue.get()[:, 0].tolist()) == [4, 6, 8, 10, 12]
    fresh = CoordinateQueue(5)
    fresh.load_state_dict(queue.state_dict())
    assert torch.equal(fresh.get(), queue.get())


def test_the_refiner_s_loss_in_both_readings() -> None:
    similarity = torch.tensor([[1.0, 0.5], [0.2, 0.9]])
    assert alignment(similarity, 10, 1, "zeros").item() == pytest.approx(0.780)
    assert alignment(similarity, 10, 1, "strict").item() == pytest.approx(2.905)


def test_a_perfect_refinement_of_places_that_have_nothing_in_common_costs_nothing() -> None:
    true = torch.eye(4).view(4, 1, 4)  # four videos of one frame
    assert refinement(true, true, 10, 1).item() == 0
    assert refinement(true.roll(1, 0), true, 10, 1).item() > 0


def test_the_mean_of_a_track_over_the_date_line_lies_on_it() -> None:
    tracks = torch.tensor([[[0.0, 179.0], [2.0, -179.0]], [[10.0, 20.0], [10.0, 40.0]]])
    assert mean_coordinate(tracks).tolist() == [[1, -180], [10, 30]]


def test_noise_is_the_published_one() -> None:
    true = torch.tensor([60.0, 10.0], dtype=torch.float64).expand(10_000, 16, 2)
    moved = noise.noised(true, torch.Generator().manual_seed(0))
    collapsed = (moved == moved[:, :1]).all(dim=(1, 2))
    assert collapsed.double().mean().item() == pytest.approx(noise.COLLAPSE, abs=0.01)
    offset = (moved - true)[~collapsed]
    span = offset.amax(1) - offset.amin(1)
    assert span.max().item() <= 2 * noise.JITTER[1]
    assert span.min().item() >= 0
    middle = (offset.amax(1) + offset.amin(1)) / 2  # the shift, up to the jitter
    assert middle.abs().max().item() <= noise.SHIFT + noise.JITTER[1]
    assert middle.std(0).numpy() == pytest.approx(noise.SHIFT / 3**0.5, rel=0.03)
    assert (offset.abs().amax() > noise.SHIFT).item()


def test_at_60_north_a_degree_east_is_half_as_far() -> None:
    assert great_circle_km((60, 10), (60.2, 10)) == pytest.approx(22.24, abs=0.01)
    assert great_circle_km((60, 10), (60, 10.2)) == pytest.approx(11.12, abs=0.01)


def test_noise_stays_on_the_globe() -> None:
    corners = torch.tensor([[89.99, 179.99], [-89.99, -179.99]], dtype=torch.float64)
    true = corners.repeat(200, 1)[:, None].expand(-1, 3, 2)
    moved = noise.noised(true, torch.Generator().manual_seed(1))
    assert moved[..., 0].abs().max().item() <= 90
    assert moved[..., 1].min().item() >= -180
    assert moved[..., 1].max().item() < 180


@pytest.mark.parametrize(("length", "gap", "starts"), [(16, 1, {0}), (33, 1, set(range(17))), (100, 3, set(range(52)))])
def test_sixteen_frames_at_one_distance(length: int, gap: int, starts: set[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [spaced(length, generator) for _ in range(800)]
    assert {frames.step for frames in drawn} == {gap}
    assert {frames.start for frames in drawn} == starts
    assert all(len(set(frames)) == 16 and max(frames) < length for frames in drawn)


@pytest.mark.parametrize("length", [16, 17, 31, 47, 1093])
def test_no_frame_is_drawn_twice(length: int) -> None:
    frames = spread(length, torch.Generator().manual_seed(length))
    assert len(set(frames)) == 16
    assert frames == sorted(frames)
    assert frames[-1] < length
