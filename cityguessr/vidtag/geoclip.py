"""GeoCLIP as it was released, read from the geoclip wheel that the user points to: its weights and its gallery.

The wheel is read as an archive, and never installed or imported. Of its files of weights tensors alone are read.
"""

import io
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from cityguessr.base import tensors
from cityguessr.base.errors import InputError
from cityguessr.vidtag.gallery import distinct
from cityguessr.vidtag.location import LocationEncoder, adopt
from cityguessr.vidtag.model import VidTAG

WHEEL = "geoclip-1.3.0-py3-none-any.whl"
"""The wheel, as it is called in `data/weights/`."""
LOCATION = "location_encoder_weights.pth"
"""What the wheel calls its location encoder."""
HEAD = "image_encoder_mlp_weights.pth"
"""Its image head, two linear layers and a ReLU: 768 numbers of CLIP to 768 to 512."""
LOGIT_SCALE = "logit_scale_weights.pth"
"""The logarithm of its factor on cosines, 3.6810."""
COORDINATES = "coordinates_100K.csv"
"""Its own gallery: LAT, LON in degrees, 100,000 rows."""
SIGMAS = (1.0, 16.0, 256.0)
"""Of its location encoder's three branches."""

_REMEDY = "take the geoclip wheel 1.3.0"
_LARGEST = 256 * 1024**2  # bytes of a file in the wheel; its largest has 38 MB


def load(model: VidTAG, path: str | Path) -> VidTAG:
    """Give a system all of GeoCLIP's released weights, bit for bit, and return it: image head, locations, logit scale.

    Nothing is trained then: CLIP's frozen features go through the head, and find their coordinate ("zero-shot").

    Args:
        model: of `VidTAGConfig.geoclip()`.
        path: the geoclip wheel.

    Raises InputError for a system that is not GeoCLIP's, and for a file that is missing or holds other tensors.
    """
    config = model.config
    if (config.temporal, config.refiner, config.unit_features, config.head_activation, config.sigmas) != (
        "none", False, False, "relu", SIGMAS,
    ):  # fmt: skip
        raise InputError("released weights are GeoCLIP's: make the system with VidTAGConfig.geoclip(), and train none")
    path = Path(path)
    head = _tensors(path, HEAD, model.head.state_dict())
    scale = _tensors(path, LOGIT_SCALE, {"logit_scale": model.logit_scale})
    load_location(model.location, path)
    model.head.load_state_dict(head)
    model.logit_scale.data.copy_(scale["logit_scale"])
    return model


def load_location(encoder: LocationEncoder, path: str | Path) -> LocationEncoder:
    """Give a location encoder GeoCLIP's released weights, and return it.

    Where a branch's sigma is not GeoCLIP's, its directions b are scaled by the ratio, see `location.adopt`.

    Args:
        encoder: with three branches of GeoCLIP's sizes.
        path: the geoclip wheel, or its `location_encoder_weights.pth` by itself.

    Raises InputError for a file that is missing or holds other tensors.
    """
    if len(encoder.branches) != len(SIGMAS):
        raise InputError(f"GeoCLIP's location encoder has three branches; this one has {len(encoder.branches)}")
    return adopt(encoder, _tensors(Path(path), LOCATION, encoder.state_dict()), SIGMAS)


def coordinates(path: str | Path) -> NDArray[np.float64]:
    """GeoCLIP's own gallery of the whole world, from its wheel: (94123, 2) degrees, every place once, in its order.

    GeoCLIP reads its 100,000 rows in float32, in which 23 pairs a metre apart become one: 94,100 places.

    Raises InputError for a file that is missing, and for a row that is no place on Earth.
    """
    path = Path(path)
    content = _content(path, COORDINATES)
    try:
        points = pd.read_csv(io.BytesIO(content), usecols=["LAT", "LON"])[["LAT", "LON"]].to_numpy(np.float64)
    except (ValueError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: {COORDINATES} has no columns LAT and LON of numbers ({reason}); {_REMEDY}") from None
    wrong = ~(np.abs(points) <= (90, 180)).all(axis=1)  # true for NaN
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{path}: {COORDINATES}, line {row + 2}: {points[row].tolist()} is no place; {_REMEDY}")
    return distinct([points])


def _tensors(path: Path, name: str, needed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file of weights in the wheel, or of the file itself: those that are needed, of their shapes."""
    if path.suffix != ".whl":
        state = tensors.read(path, _REMEDY)
    else:
        content = _content(path, name)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name  # a name of ours, whatever the archive calls it
            file.write_bytes(content)
            state = tensors.read(file, _REMEDY)
    if isinstance(state, Tensor):  # one without a name, such as the logit scale
        state = dict.fromkeys(needed, state)
    if not isinstance(state, dict):
        raise InputError(f"{path}: {name} holds no tensors by name; {_REMEDY}")
    state = tensors.weights(path, state, _REMEDY, {key: tensor.shape for key, tensor in needed.items()})
    if other := sorted(state.keys() ^ needed.keys()):
        raise InputError(f"{path}: {other[0]} is in {name} or in the system, and not in both; {_REMEDY}")
    return state


def _content(path: Path, name: str) -> bytes:
    """A file of the wheel, by the last part of its name there."""
    try:
        with zipfile.ZipFile(path) as wheel:
            inside = next((entry for entry in wheel.infolist() if Path(entry.filename).name == name), None)
            if inside is None or inside.file_size > _LARGEST:
                what = "no" if inside is None else f"{inside.file_size:,} bytes of"
                raise InputError(f"{path}: this wheel holds {what} {name}; {_REMEDY}")
            return wheel.read(inside)
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as a wheel ({error}); {_REMEDY}") from None
