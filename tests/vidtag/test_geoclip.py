"""What a geoclip wheel holds: location encoder, image head, logit scale and gallery, taken as they are or refused."""

import importlib.util
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from wheels import write_wheel

from cityguessr.base.errors import InputError
from cityguessr.vidtag import geoclip
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.location import LocationEncoder
from cityguessr.vidtag.model import VidTAG

NEW_YORK = (40.7128, -74.0060)
SMALL = {"fourier": 8, "inner": 16, "width": 12}
TOY = VidTAGConfig.geoclip(features=6, head=(5,), width=12, fourier=8, location_width=16)


def latlon(*places: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(places, dtype=torch.float64)


def encoder(sigmas: tuple[float, ...] = geoclip.SIGMAS, **sizes: int) -> LocationEncoder:
    return LocationEncoder(sigmas, **(SMALL | sizes))


def saved(folder: Path, location: LocationEncoder) -> Path:
    torch.save(location.state_dict(), folder / geoclip.LOCATION)
    return folder / geoclip.LOCATION


def test_other_scales_take_geoclip_s_weights_with_scaled_directions(tmp_path: Path) -> None:
    released = encoder()
    ours = geoclip.load_location(encoder((1, 8, 256)), saved(tmp_path, released)).state_dict()
    for name, tensor in released.state_dict().items():
        assert torch.equal(ours[name], tensor * 0.5 if name == "LocEnc1.capsule.0.b" else tensor)
    with pytest.raises(InputError, match="has three branches; this one has 4"):
        geoclip.load_location(encoder((1, 16, 256, 4096)), tmp_path / geoclip.LOCATION)


def test_all_of_the_release_is_taken_from_the_wheel_bit_for_bit(tmp_path: Path) -> None:
    released = VidTAG(TOY)
    released.logit_scale.data.fill_(3.681)
    model = geoclip.load(VidTAG(TOY), write_wheel(tmp_path / geoclip.WHEEL, released))
    for name, tensor in released.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    with pytest.raises(InputError, match=r"make the system with VidTAGConfig.geoclip\(\), and train none"):
        geoclip.load(VidTAG(TOY.replace(sigmas=(1.0, 8.0, 256.0))), tmp_path / geoclip.WHEEL)


def test_its_gallery_has_every_place_once_latitude_first(tmp_path: Path) -> None:
    csv = "LAT,LON\n-50.943392,-72.935664\n34.201047,-118.599931\n-50.943392,-72.935664\n48.839963,-3.504874\n"
    wheel = write_wheel(tmp_path / geoclip.WHEEL, VidTAG(TOY), csv)
    expected = [[-50.943392, -72.935664], [34.201047, -118.599931], [48.839963, -3.504874]]
    assert geoclip.coordinates(wheel).tolist() == expected
    swapped = write_wheel(tmp_path / "swapped.whl", VidTAG(TOY), "LON,LAT\n-72.9,-50.9\n")
    assert geoclip.coordinates(swapped).tolist() == [[-50.9, -72.9]]  # by name, not by place


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("LAT,LON\n1,2\n-118.6,34.2\n", r"coordinates_100K.csv, line 3: \[-118.6, 34.2\] is no place"),
        ("LAT,LON\n1,\n", r"line 2: \[1.0, nan\] is no place"),
        ("lat,lon\n1,2\n", "has no columns LAT and LON of numbers"),
        ("LAT,LON\nnorth,2\n", "has no columns LAT and LON of numbers"),
        ("", "has no columns LAT and LON of numbers"),
    ],
)
def test_a_gallery_that_is_none_is_refused(csv: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        geoclip.coordinates(write_wheel(tmp_path / geoclip.WHEEL, VidTAG(TOY), csv))


def test_files_that_are_no_location_encoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"head.0.weight has the shape \(14, 16\), \(12, 16\) is needed.*wheel"):
        geoclip.load_location(encoder(), saved(tmp_path, encoder(width=14)))
    torch.save({"LocEnc0.capsule.0.b": torch.zeros(8, 2)}, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"part.pth: LocEnc0\S+ is in \S+ or in the system, and not in both"):
        geoclip.load_location(encoder(), tmp_path / "part.pth")
    torch.save([torch.zeros(8, 2)], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds no tensors by name"):
        geoclip.load_location(encoder(), tmp_path / "list.pth")


def empty(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other/__init__.py", "")


def spoilt(path: Path) -> None:
    content = bytearray(write_wheel(path, VidTAG(TOY)).read_bytes())
    content[2000:2400] = bytes(400)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, f"this wheel holds no {geoclip.HEAD}"),
        (lambda path: path.write_bytes(b"PK"), "cannot be read as a wheel"),
        (lambda path: None, "cannot be read as a wheel"),
        (spoilt, "cannot be read as a wheel"),
    ],
)
def test_what_is_no_geoclip_wheel_is_refused(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / geoclip.WHEEL
    make(path)
    with pytest.raises(InputError, match=message):
        geoclip.load(VidTAG(TOY), path)


def test_a_file_that_claims_to_be_huge_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(tmp_path / geoclip.WHEEL, VidTAG(TOY))
    monkeypatch.setattr(geoclip, "_LARGEST", 1000)
    with pytest.raises(InputError, match=r"holds [\d,]+ bytes of image_encoder_mlp_weights.pth"):
        geoclip.load(VidTAG(TOY), wheel)


def released() -> Path | None:
    """GeoCLIP's location weights, where the user names them or the package is installed."""
    if chosen := os.environ.get("CITYGUESSR_GEOCLIP"):
        return Path(chosen)
    spec = importlib.util.find_spec("geoclip")
    return Path(spec.origin).parent / "model" / "weights" / geoclip.LOCATION if spec and spec.origin else None


@pytest.mark.skipif(released() is None, reason="no geoclip wheel: CITYGUESSR_GEOCLIP=<wheel or location weights>")
def test_released_weights_give_geoclip_s_embeddings() -> None:
    location = geoclip.load_location(LocationEncoder(geoclip.SIGMAS), released())
    with torch.no_grad():
        york, zero, hundred, one, five = location(
            latlon(NEW_YORK, (0, 0), *((NEW_YORK[0] + km / 111.195, NEW_YORK[1]) for km in (0.1, 1, 5)))
        )
    assert york.norm().item() == pytest.approx(0.2243418, abs=1e-5)
    assert york[:3].tolist() == pytest.approx([-0.0103929, 0.0078845, 0.0130265], abs=1e-5)
    assert zero.norm().item() == pytest.approx(0.3952259, abs=1e-5)
    cosines = [torch.cosine_similarity(york, other, dim=0).item() for other in (hundred, one, five)]
    assert cosines == pytest.approx([0.9994, 0.9466, 0.5786], abs=1e-3)


WHOLE = (released() or Path()).suffix == ".whl"


@pytest.mark.skipif(not WHOLE, reason="no geoclip wheel: CITYGUESSR_GEOCLIP=<wheel>")
def test_the_released_wheel_is_zero_shot_geoclip() -> None:
    with torch.device("meta"):
        model = VidTAG(VidTAGConfig.geoclip())
    model = geoclip.load(model.to_empty(device="cpu"), released())
    assert model.logit_scale.item() == pytest.approx(3.6810, abs=1e-4)
    deviations = [model.location.get_submodule(name).capsule[0].b.std().item() for name in model.location.branches]
    assert deviations == pytest.approx([0.976, 15.79, 253.6], rel=1e-3)
    with zipfile.ZipFile(released()) as wheel, wheel.open(f"geoclip/model/weights/{geoclip.HEAD}") as file:
        head = torch.load(file, weights_only=True)
    assert {name: tuple(tensor.shape) for name, tensor in head.items() if "weight" in name} == {
        "0.weight": (768, 768),
        "2.weight": (512, 768),
    }
    for name, tensor in head.items():
        assert torch.equal(model.head.state_dict()[name], tensor)


@pytest.mark.skipif(not WHOLE, reason="no geoclip wheel: CITYGUESSR_GEOCLIP=<wheel>")
def test_the_released_gallery_has_94123_places_and_94100_in_single_precision() -> None:
    points = geoclip.coordinates(released())
    assert points.shape == (94_123, 2)
    assert len(np.unique(points.astype(np.float32), axis=0)) == 94_100
    assert points[0].tolist() == [-50.943392, -72.935664]
    assert points.min(axis=0) == pytest.approx([-55.944, -179.742], abs=1e-3)
    assert points.max(axis=0) == pytest.approx([79.522, 179.984], abs=1e-3)
    assert len(np.unique(points, axis=0)) == len(points)
