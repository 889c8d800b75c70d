"""A JPEG has the same pixels whoever decodes it, and a damaged one is named."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.data import jpeg

KINDS = {
    "as prepared": {"quality": 95, "subsampling": 0},
    "4:2:2": {"quality": 90, "subsampling": 1},
    "4:2:0": {"quality": 75, "subsampling": 2},
    "progressive": {"quality": 85, "progressive": True},
    "with restart markers": {"quality": 85, "restart_marker_rows": 1},
    "RGB inside": {"quality": 95, "keep_rgb": True},
}


def street(height: int = 60, width: int = 84) -> Image.Image:
    """A picture with edges, slopes and noise in every colour."""
    y, x = np.mgrid[:height, :width]
    colours = np.stack([3 * x, 2 * y + 40 * (x % 16 > 7), 255 - 2 * x + y], axis=-1)
    noise = np.random.default_rng(0).normal(0, 12, colours.shape)
    return Image.fromarray(np.clip(colours + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image | None = None, **options: object) -> np.ndarray:
    content = io.BytesIO()
    (image or street()).save(content, "JPEG", **(options or KINDS["as prepared"]))
    return np.frombuffer(content.getvalue(), np.uint8)


def by_pillow(content: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content.tobytes())).convert("RGB")).transpose(2, 0, 1)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("size", [(64, 64), (61, 83)], ids=["even", "odd"])
def test_pixels_are_those_of_pillow_bit_for_bit(options: dict[str, object], size: tuple[int, int]) -> None:
    content = encoded(street(*size), **options)
    assert np.array_equal(jpeg.decode(content), by_pillow(content))
    into = np.zeros((3, *size), np.uint8)
    assert jpeg.decode(content, into) is into
    assert np.array_equal(into, by_pillow(content))


def test_grey_becomes_three_equal_colours_and_a_turned_camera_turns_nothing() -> None:
    grey = encoded(street().convert("L"), quality=90)
    assert np.array_equal(jpeg.decode(grey), by_pillow(grey))
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: a quarter turn
    content = encoded(quality=90, exif=turned)
    assert jpeg.decode(content).shape == (3, 60, 84)
    assert np.array_equal(jpeg.decode(content), by_pillow(content))


@pytest.mark.parametrize("left", [0, 1, 2, 300, -60, -2, -1])
def test_a_file_cut_off_anywhere_is_refused(left: int) -> None:
    content = encoded()
    with pytest.raises(InputError, match=r"not a whole JPEG \(.* bytes\)"):
        jpeg.decode(content[:left])


@pytest.mark.parametrize("lost", [2, 40, 2000])
def test_a_file_whose_end_was_lost_to_zeros_is_refused_and_one_with_more_behind_it_is_not(lost: int) -> None:
    content, thumbnail = encoded(), np.frombuffer(b"\xff\xd8 \xff\xd9", np.uint8)
    for file in (content, np.insert(content, 2, [0xFF, 0xFE, 0, 2 + thumbnail.size, *thumbnail])):
        zeros = file.copy()
        zeros[-lost:] = 0
        with pytest.raises(InputError, match="not a whole JPEG"):
            jpeg.decode(zeros)
        longer = np.concatenate([file, np.zeros(lost, np.uint8)])
        assert np.array_equal(jpeg.decode(longer), by_pillow(content))


def test_other_bytes_and_another_size_are_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8)
    noise[-2:] = 0xFF, 0xD9
    with pytest.raises(InputError, match="not a whole JPEG"):
        jpeg.decode(noise)
    with pytest.raises(InputError, match="84 x 60 pixels, not 64 x 64"):
        jpeg.decode(encoded(), np.zeros((3, 64, 64), np.uint8))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_the_device_needs_a_gpu() -> None:
    with pytest.raises(InputError, match="nvJPEG needs a CUDA GPU"):
        jpeg.decode_on_device([torch.from_numpy(encoded().copy())])
    with pytest.raises(InputError, match="device='cpu' is none"):
        jpeg.decode_on_device([torch.from_numpy(encoded().copy())], "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="nvJPEG needs a CUDA GPU")
def test_the_device_gives_nearly_the_same_pixels_in_memory_that_nobody_reads() -> None:
    files = [encoded(), *(encoded(street().rotate(turn), quality=95, subsampling=0) for turn in (10, 20, 30))]
    tensors = [torch.from_numpy(file.copy()) for file in files]
    expected = torch.from_numpy(np.stack([jpeg.decode(file) for file in files]))
    pictures = jpeg.decode_on_device(tensors)
    assert pictures.shape == expected.shape
    assert pictures.is_cuda
    difference = (pictures.cpu().int() - expected).abs()
    assert difference.max() <= 4
    assert difference.float().mean() < 0.5

    for _ in range(20):  # memory freed while a queued sum still reads it is not given to the decoder
        victims = [torch.full((3, 60, 84), 7, dtype=torch.uint8, device="cuda") for _ in files]
        torch.cuda.synchronize()
        torch.cuda._sleep(50_000_000)
        sums = [victim.sum() for victim in victims]
        del victims
        jpeg.decode_on_device(tensors)
        assert {total.item() for total in sums} == {7 * 3 * 60 * 84}

    with pytest.raises(InputError, match="cannot be decoded on cuda"):
        jpeg.decode_on_device([tensors[0][:300]])
    with pytest.raises(InputError, match="cannot be decoded on cuda"):
        jpeg.decode_on_device([tensors[0], torch.from_numpy(encoded(street(32, 32)).copy())])
