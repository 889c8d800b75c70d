"""A geoclip wheel made for tests: the same files as the released one, from a system of any size."""

import io
import zipfile
from pathlib import Path

import torch

from cityguessr.vidtag import geoclip
from cityguessr.vidtag.model import VidTAG


def write_wheel(path: Path, model: VidTAG, csv: str = "LAT,LON\n0,0\n") -> Path:
    """The wheel of a system's weights and a gallery, written to `path`."""
    weights = {
        geoclip.LOCATION: model.location.state_dict(),
        geoclip.HEAD: model.head.state_dict(),
        geoclip.LOGIT_SCALE: model.logit_scale.detach(),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in weights.items():
            buffer = io.BytesIO()
            torch.save(content, buffer)
            archive.writestr(f"geoclip/model/weights/{name}", buffer.getvalue())
        archive.writestr(f"geoclip/model/gps_gallery/{geoclip.COORDINATES}", csv)
    return path
