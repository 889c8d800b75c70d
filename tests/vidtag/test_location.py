"""The location encoder: the projection's right values, its shapes, and the mistakes that are taken in silence."""

import pytest
import torch

from cityguessr.base.errors import InputError
from cityguessr.vidtag.location import LocationEncoder, adopt, equal_earth, wrapped

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


def test_weights_for_other_scales_have_their_directions_scaled_and_nothing_else() -> None:
    theirs = LocationEncoder(sigmas=(1, 16, 256), **SMALL)
    ours = adopt(LocationEncoder(sigmas=(1, 8, 256), **SMALL), theirs.state_dict(), (1, 16, 256)).state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours[name], tensor * 0.5 if name == "LocEnc1.capsule.0.b" else tensor)
    for other in (LocationEncoder(sigmas=(1, 16), **SMALL), LocationEncoder(fourier=8, inner=16, width=14)):
        with pytest.raises(InputError, match="has other branches or sizes"):
            adopt(other, theirs.state_dict(), theirs.sigmas)
