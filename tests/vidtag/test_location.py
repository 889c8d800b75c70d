"""The location encoder: the projection's right values, GeoCLIP's shapes, and the mistakes that are taken in silence."""

import importlib.util
import os
import zipfile
from pathlib import Path

import pytest
import torch

from cityguessr.base.errors import InputError
from cityguessr.vidtag.location import WEIGHTS, LocationEncoder, equal_earth, load_geoclip, wrapped

NEW_YORK = (40.7128, -74.0060)
SMALL = {"fourier": 8, "inner": 16, "width": 12}


def latlon(*places: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(places, dtype=torch.float64)


@pytest.mark.parametrize(
    ("place", "plane"),
    [
        (NEW_YORK, (-0.362761586, 0.290791195)),
        ((0, 180), (0.999999934, 0)),
        ((90, 0), (0, 0.486716943)),
        ((45, 90), (0.428523452, 0.317823653)),
        ((-33.8688, 151.2093), (0.771108838, -0.245576136)),
    ],
)
def test_equal_earth(place: tuple[float, float], plane: tuple[float, float]) -> None:
    assert equal_earth(latlon(place))[0].tolist() == pytest.approx(plane, abs=1e-9)


def test_a_swapped_pair_is_refused_where_it_can_be_seen() -> None:
    with pytest.raises(InputError, match=r"coordinate \[1\]: \[139.69, 35.68\] is no latitude \(-90..90\)"):
        equal_earth(latlon((35.68, 139.69), (139.69, 35.68)))
    with pytest.raises(InputError, match="nan"):
        LocationEncoder(**SMALL)(latlon((float("nan"), 0)))


def test_a_place_on_the_date_line_has_one_embedding() -> None:
    encoder = LocationEncoder(**SMALL)
    a, b, c = encoder(latlon((60, 180), (60, -180), (60, 540 - 360)))
    assert torch.equal(a, b)
    assert torch.equal(a, c)
    assert wrapped(latlon((0, 180), (0, -180), (0, 190)))[:, 1].tolist() == [-180, -180, -170]


def test_directions_are_kept_and_never_trained() -> None:
    encoder = LocationEncoder()
    assert sum(p.numel() for p in encoder.parameters()) == 9_447_936
    assert sum(t.numel() for t in encoder.state_dict().values()) == 9_449_472
    before = encoder.LocEnc2.capsule[0].b.clone()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.1)
    encoder(latlon(NEW_YORK)).square().sum().backward()
    optimizer.step()
    assert torch.equal(encoder.LocEnc2.capsule[0].b, before)


def test_cosines_come_first_and_the_kernel_halves_at_469_km_for_a_sigma_of_eight() -> None:
    features = LocationEncoder(sigmas=(8.0,), fourier=20_000, inner=2, width=2).LocEnc0.capsule[0]
    zero, near = features(torch.tensor([[0.0, 0.0], [469 / 20_015, 0.0]]))
    assert zero[:20_000].eq(1).all()
    assert zero[20_000:].eq(0).all()
    assert (zero @ near / 20_000).item() == pytest.approx(0.5, abs=0.02)


def test_the_answer_has_the_dtype_of_the_weights() -> None:
    assert LocationEncoder(**SMALL).double()(latlon(NEW_YORK)).dtype == torch.float64
    assert LocationEncoder(**SMALL)(latlon(NEW_YORK)).dtype == torch.float32


def saved(folder: Path, encoder: LocationEncoder) -> Path:
    torch.save(encoder.state_dict(), folder / WEIGHTS)
    return folder / WEIGHTS


def test_other_scales_take_geoclip_s_weights_with_scaled_directions(tmp_path: Path) -> None:
    released = LocationEncoder(sigmas=(1, 16, 256), **SMALL)
    ours = load_geoclip(LocationEncoder(sigmas=(1, 8, 256), **SMALL), saved(tmp_path, released)).state_dict()
    for name, tensor in released.state_dict().items():
        assert torch.equal(ours[name], tensor * 0.5 if name == "LocEnc1.capsule.0.b" else tensor)


def test_the_weights_are_found_in_a_wheel(tmp_path: Path) -> None:
    released = LocationEncoder(sigmas=(1, 16, 256), **SMALL)
    file = saved(tmp_path, released)
    wheel = tmp_path / "geoclip-1.3.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, f"geoclip/model/weights/{WEIGHTS}")
    loaded = load_geoclip(LocationEncoder(sigmas=(1, 16, 256), **SMALL), wheel)
    assert torch.equal(loaded(latlon(NEW_YORK)), released(latlon(NEW_YORK)))


def test_files_that_are_no_location_encoder_are_refused(tmp_path: Path) -> None:
    encoder = LocationEncoder(sigmas=(1, 16, 256), **SMALL)
    other = LocationEncoder(sigmas=(1, 16, 256), fourier=8, inner=16, width=14)
    with pytest.raises(InputError, match=r"head.0.weight has the shape \(14, 16\), \(12, 16\) is needed.*wheel"):
        load_geoclip(encoder, saved(tmp_path, other))
    torch.save({"LocEnc0.capsule.0.b": torch.zeros(8, 2)}, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"part.pth: LocEnc0\S+ is in the file or in the encoder, and not in both"):
        load_geoclip(encoder, tmp_path / "part.pth")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("other/__init__.py", "")
    with pytest.raises(InputError, match=f"holds no {WEIGHTS}"):
        load_geoclip(encoder, tmp_path / "other.whl")
    (tmp_path / "broken.whl").write_bytes(b"PK")
    with pytest.raises(InputError, match="cannot be read as a wheel"):
        load_geoclip(encoder, tmp_path / "broken.whl")


def released() -> Path | None:
    """GeoCLIP's location weights, where the user names them or the package is installed."""
    if chosen := os.environ.get("CITYGUESSR_GEOCLIP"):
        return Path(chosen)
    spec = importlib.util.find_spec("geoclip")
    return Path(spec.origin).parent / "model" / "weights" / WEIGHTS if spec and spec.origin else None


@pytest.mark.skipif(released() is None, reason="no geoclip wheel: CITYGUESSR_GEOCLIP=<wheel or location weights>")
def test_released_weights_give_geoclip_s_embeddings() -> None:
    encoder = load_geoclip(LocationEncoder(sigmas=(1, 16, 256)), released())
    with torch.no_grad():
        york, zero, hundred, one, five = encoder(
            latlon(NEW_YORK, (0, 0), *((NEW_YORK[0] + km / 111.195, NEW_YORK[1]) for km in (0.1, 1, 5)))
        )
    assert york.norm().item() == pytest.approx(0.2243418, abs=1e-5)
    assert york[:3].tolist() == pytest.approx([-0.0103929, 0.0078845, 0.0130265], abs=1e-5)
    assert zero.norm().item() == pytest.approx(0.3952259, abs=1e-5)
    cosines = [torch.cosine_similarity(york, other, dim=0).item() for other in (hundred, one, five)]
    assert cosines == pytest.approx([0.9994, 0.9466, 0.5786], abs=1e-3)
