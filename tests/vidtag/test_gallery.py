"""The gallery and retrieval from it."""

import errno
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from cityguessr.base.errors import InputError
from cityguessr.measures import boxes
from cityguessr.measures.sphere import great_circle_km
from cityguessr.tracks import gama
from cityguessr.vidtag import gallery, retrieval

CITIES = {"lyon": [(45.74, 4.82), (45.78, 4.88)], "quito": [(-0.20, -78.52), (-0.15, -78.48)]}


@pytest.fixture
def points() -> np.ndarray:
    return gallery.build(CITIES, resolution_km=0.5)


@pytest.mark.parametrize("city", CITIES)
def test_each_region_has_steps_of_its_own_at_least_the_resolution(city: str) -> None:
    box = boxes.around(CITIES[city]).padded(0.005)
    grid = gallery.grid(box, 0.5)
    lats, lons = np.unique(grid[:, 0]), np.unique(grid[:, 1])
    height, width = box.size_km
    for step, size in (
        (great_circle_km((lats[0], lons[0]), (lats[1], lons[0])), height),
        (great_circle_km((lats[0], lons[0]), (lats[0], lons[1])), width),
    ):
        assert step * (1 + 1e-6) >= 0.5
        assert step < 0.5 * (int(size / 0.5) + 1) / int(size / 0.5)
    assert len(grid) == int(height / 0.5) * int(width / 0.5)
    assert grid.min(axis=0) == pytest.approx([box.south, box.west])


@pytest.mark.parametrize(("centres", "share"), [(False, 1.42), (True, 0.71)])
def test_every_training_point_is_near_a_point_of_the_gallery(centres: bool, share: float) -> None:
    rng = np.random.default_rng(0)
    region = np.array(CITIES["lyon"])
    inside = rng.uniform(region[0], region[1], (500, 2))
    points = gallery.build({"lyon": inside}, 0.25, centres=centres)
    assert gallery.ceiling_km(inside, points).max() < share * 0.25 * 1.05  # cells are a few percent larger than asked


def test_the_ceiling_is_the_distance_to_the_nearest_point(points: np.ndarray) -> None:
    places = np.array([(45.761, 4.841), (-0.171, -78.501)])
    every = great_circle_km(places[:, None], points[None])
    assert gallery.ceiling_km(places, points) == pytest.approx(every.min(axis=1))


def test_a_region_narrower_than_the_resolution_has_one_column() -> None:
    grid = gallery.grid(boxes.Box(10.0, 20.0, 10.05, 20.0), 0.5)
    assert len(np.unique(grid[:, 1])) == 1
    assert len(grid) == 11


def test_a_box_over_the_date_line_is_as_wide_as_it_is_on_the_ground() -> None:
    box = boxes.around([(0, 179.9), (0, -179.9)])
    assert box.size_km[1] == pytest.approx(22.24, abs=0.01)
    points = gallery.grid(box.padded(0.01), 1.0)
    assert ((points[:, 1] >= 179.89) | (points[:, 1] <= -179.89)).all()


def test_gama_s_boxes_have_about_a_million_points_at_half_a_kilometre() -> None:
    assert len(gallery.of_boxes(gama.BOXES.values(), 0.5)) == pytest.approx(1_024_400, rel=0.01)


def test_a_gallery_without_coordinates_or_resolution_is_refused() -> None:
    with pytest.raises(InputError, match="region without coordinates"):
        gallery.build({"lyon": np.empty((0, 2))})
    with pytest.raises(InputError, match="resolution_km=0: give a positive number"):
        gallery.build(CITIES, 0)


def test_a_point_stands_in_the_gallery_once() -> None:
    twice = gallery.distinct([np.array([[1.0, 2], [3, 4]]), np.array([[3.0, 4], [0, 0]])])
    assert twice.tolist() == [[1, 2], [3, 4], [0, 0]]


@pytest.mark.parametrize("chunk", [1, 7, 100, 101])
def test_the_size_of_a_piece_changes_no_answer(chunk: int) -> None:
    generator = torch.Generator().manual_seed(0)
    stored = torch.nn.functional.normalize(torch.randn(100, 32, generator=generator), dim=1)
    stored[60] = stored[11]  # a tie: the first one counts
    queries = torch.cat([stored[[60, 3]], torch.randn(20, 32, generator=generator)])
    index, cosine = retrieval.nearest(queries, stored, chunk)
    every = queries.double() @ stored.double().T
    assert index.tolist() == [11, 3, *every[2:].argmax(1).tolist()]
    assert torch.allclose(cosine, every.max(1).values)


def test_embeddings_on_the_disk_give_the_same_answers(tmp_path: Path, points: np.ndarray) -> None:
    def encode(latlon: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.cat([latlon.sin(), (50 * latlon).cos()], dim=1), dim=1)

    memory = retrieval.in_memory(encode, points, chunk=17)
    disk = retrieval.on_disk(tmp_path, encode, points, chunk=23)
    assert disk.shape == memory.shape
    assert np.array_equal(memory.numpy(), disk[:])
    assert np.array_equal(memory.numpy()[5:9], disk[5:9])
    assert len(disk[len(points) - 1 : len(points) + 9]) == 1
    queries = encode(torch.from_numpy(points[::31]))
    assert retrieval.nearest(queries, disk, 10)[0].tolist() == list(range(0, len(points), 31))
    assert list(tmp_path.iterdir()) == []  # the file has no name, so that none is left behind
    file = disk._file
    del disk
    assert file.closed


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(retrieval.tempfile, "TemporaryFile", lambda dir: Full())
    with pytest.raises(InputError, match="the disk is full; free some space"):
        retrieval.on_disk(tmp_path, lambda latlon: latlon, np.zeros((3, 2)))


def test_an_empty_gallery_is_refused() -> None:
    with pytest.raises(InputError, match="the gallery is empty"):
        retrieval.nearest(torch.zeros(1, 2), torch.zeros(0, 2))
