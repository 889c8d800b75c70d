"""MiniWorld's streets: what stands in them keeps its place and its shape, and nothing drives into the camera."""

import math

import pytest
import torch

from cityguessr.miniworld import MiniWorld, MiniWorldConfig, VideoPlan
from cityguessr.miniworld.plan import BEHIND
from cityguessr.miniworld.render import layout, pavement
from cityguessr.miniworld.render.camera import SWAY, place_camera
from cityguessr.miniworld.render.cutouts import CAR_WIDTH, PASSING, oncoming_lane
from cityguessr.miniworld.render.layout import Layout
from cityguessr.miniworld.style import Style
from cityguessr.miniworld.tiles import grounds
from cityguessr.miniworld.tiles.atlas import Tile

Street = tuple[VideoPlan, Style, Layout]


@pytest.fixture(scope="module")
def videos() -> list[tuple[VideoPlan, Style]]:
    world = MiniWorld(MiniWorldConfig.mini())
    return [(video, world.effects.style(video.city)) for video in world.videos]


@pytest.fixture(scope="module")
def streets(videos: list[tuple[VideoPlan, Style]]) -> list[Street]:
    return [(video, style, layout.build(video, style)) for video, style in videos[::12]]


def test_both_halves_of_a_crossing_lie_at_the_same_place_inside_their_plot(streets: list[Street]) -> None:
    # A crossing takes 3.2 to 10 metres of its tile, see `grounds.paint_street`.
    seen = 0
    for video, _, street in streets:
        tile, phase = street.street.view(2, -1), street.phase.view(2, -1)
        for plot in (tile[0] == Tile.CROSSING).nonzero()[:, 0].tolist():
            start = plot * video.plot_width - BEHIND
            assert tile[1, plot] == Tile.CROSSING
            assert phase[0, plot] == pytest.approx(phase[1, plot])
            first, last = (3.2 - phase[0, plot] - start).item(), (8.6 - phase[0, plot] - start).item()
            assert first >= 0
            assert last <= video.plot_width
            seen += 1
    assert seen > 20


def test_dashes_of_both_halves_of_the_centre_line_are_in_step(streets: list[Street]) -> None:
    for _, style, street in streets:
        road = (street.street.view(2, -1) == Tile.ROAD).all(0)
        phase = street.phase.view(2, -1)[:, road]
        dash = float(style.pick("dashes", (1, 4, 8, 16 / 3)))  # metres after which the line repeats
        steps = (phase[1] - phase[0]) / dash
        assert (steps - steps.round()).abs().max() < 1e-4


def test_a_tile_of_road_repeats_its_centre_line_as_often_as_the_street_thinks(videos: list) -> None:
    styles = {style.city: style for _, style in videos}
    for style in list(styles.values())[:24]:
        dash = float(style.pick("dashes", (1, 4, 8, 16 / 3)))
        line = grounds.paint_street(style, 64, "road")[:3, :, 0].sum(0)
        bright = (line > line.mean()).float()
        if dash > 1:
            moved = bright.roll(round(64 * dash / 16))
            assert (bright - moved).abs().mean() < 0.15


def test_no_oncoming_car_comes_near_the_camera(videos: list[tuple[VideoPlan, Style]]) -> None:
    drawn = 0
    for video, style in videos:
        if (lane := oncoming_lane(video, style)) is None:
            continue
        camera = place_camera(video, torch.arange(video.frames))
        assert (camera.x - lane).abs().min() - CAR_WIDTH / 2 >= PASSING - 1e-3
        assert abs(lane) + CAR_WIDTH / 2 <= style.road_half + 1e-6
        drawn += 1
    assert drawn > 0.8 * len(videos)


def test_a_parked_car_keeps_its_proportions_and_stands_beside_the_cameras_way(streets: list[Street]) -> None:
    cars = 0
    for video, style, street in streets:
        tile, width, height = (x.view(2, -1) for x in (street.thing, street.thing_width, street.thing_height))
        sign = torch.tensor([[-1.0], [1.0]])
        beside = street.kerb + 0.7 + street.thing_offset.view(2, -1) - sign * video.lateral
        there = width > 0
        assert ((beside - width / 2)[there] >= pavement.CLEARANCE - 1e-4).all()
        parked = there & (tile >= Tile.CAR) & (tile < Tile.PERSON)
        assert torch.allclose(width[parked] / height[parked], torch.tensor(1.85 / 1.5))
        assert (width[parked] > 1.85 * 0.8).all()
        outer = (street.kerb + 0.7 + street.thing_offset.view(2, -1) + width / 2)[parked]
        assert (outer <= style.street_half + 1e-3).all()
        cars += int(parked.sum())
    assert pavement.CLEARANCE > SWAY
    assert cars > 100


def test_name_boards_stand_apart(streets: list[Street]) -> None:
    boards = 0
    for _, _, street in streets:
        there = (street.thing == Tile.SIGN + 1) & (street.thing_width > 0)
        for side in there.view(2, -1):
            places = side.nonzero()[:, 0].double() * pavement.CELL
            boards += len(places)
            assert (places.diff() >= 40).all()
    assert boards > 20


def test_nobody_drives_a_car_across_a_square(streets: list[Street]) -> None:
    for video, _, street in streets:
        square = (street.street == Tile.PLAZA) | (street.street == Tile.COVERED)
        assert video.walk or not square.any()
        at = ((torch.arange(street.cells) + 0.5) * pavement.CELL / video.plot_width).long().clamp(max=street.plots - 1)
        parked = (street.thing >= Tile.CAR) & (street.thing < Tile.PERSON) & (street.thing_width > 0)
        assert not (parked.view(2, -1) & square.view(2, -1)[:, at]).any()


def test_exposures_leave_the_sky_its_colour(videos: list[tuple[VideoPlan, Style]]) -> None:
    exposures = torch.tensor([video.exposure for video, _ in videos])
    assert exposures.max() <= math.exp(0.2) + 1e-6
    assert exposures.log().std() > 0.08
