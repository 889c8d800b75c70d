"""Faces in street frames: two detectors behind one call (supplement, section 5, step 1).

`scan` runs one of them over a data set, `inspection` lets a person judge what it found, and `blur` blurs it.
"""

import threading
from collections.abc import Sequence
from importlib import resources
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from cityguessr.base import weights
from cityguessr.base.errors import CannotRun, InputError, one_of

THRESHOLD, NMS = 0.5, 0.3
"""The paper's confidence threshold, and its IoU threshold of non-maximum suppression (supplement, section 5)."""

BOX = ("x", "y", "width", "height")
_RETINAFACE = "retinaface_r34.onnx"


class Detector(Protocol):
    """Anything that finds faces in a frame.

    Attributes:
        settings: everything that decides the result, for the record of a scan.
    """

    settings: dict[str, Any]

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The faces of a frame, uint8 (H, W, 3) RGB, as float32 (n, 5).

        A row is x, y (the upper left corner), width, height in pixels of the frame, inside it, and the score in [0, 1];
        the surest face comes first.
        """
        ...


class _Network:
    """The part that both detectors share: thresholds, and the faces of all scales merged."""

    name: ClassVar[str]

    def __init__(self, threshold: float = THRESHOLD, nms: float = NMS, scales: Sequence[float] = (1.0,)) -> None:
        if not 0 < threshold < 1 or not 0 < nms < 1:
            raise InputError(
                f"threshold={threshold} and nms={nms} lie between 0 and 1; the paper has {THRESHOLD}, {NMS}"
            )
        if not scales or not all(0.1 <= scale <= 4 for scale in scales):
            raise InputError(f"scales={list(scales)}: give at least one, each from 0.1 to 4; (1.0,) looks at full size")
        self.threshold, self.nms, self.scales = threshold, nms, tuple(float(scale) for scale in scales)
        self.settings = {"detector": self.name, "threshold": threshold, "nms": nms, "scales": list(self.scales)}
        self._local = threading.local()  # one network per thread: none of them may be used by two at once

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The faces of a frame; see `Detector`. Raises InputError for anything but uint8 (H, W, 3)."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise InputError(f"a frame is uint8 (H, W, 3), not {frame.dtype} {frame.shape}")
        height, width = frame.shape[:2]
        bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)  # as both networks were trained
        at_scales = []
        for scale in self.scales:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            resized = bgr if scale == 1 else cv2.resize(bgr, size, interpolation=cv2.INTER_LINEAR)
            at_scales.append(self._find(resized) / np.array([scale, scale, scale, scale, 1], np.float32))
        rows = np.concatenate(at_scales)
        if len(self.scales) > 1 and len(rows):  # the networks suppress within a scale, not between them
            kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 4].tolist(), self.threshold, self.nms)
            rows = rows[np.asarray(kept, dtype=int).reshape(-1)]
        edges = np.array([width, height], np.float32)
        low, high = rows[:, :2].clip(0, edges), (rows[:, :2] + rows[:, 2:4]).clip(0, edges)
        rows = np.concatenate([low, high - low, rows[:, 4:]], axis=1)
        rows = rows[(rows[:, 2:4] >= 1).all(1)]
        return rows[np.argsort(-rows[:, 4], kind="stable")].astype(np.float32)

    def _find(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Rows as of `Detector` in the pixels of this picture, above the threshold, after suppression."""
        raise NotImplementedError


class YuNet(_Network):
    """YuNet (Wu, Peng and Yu, 2023) through OpenCV, from the 0.2 MB of weights that the package carries.

    It stands in for the paper's RetinaFace where nothing may be downloaded.

    Args:
        threshold: least score of a face.
        nms: of two boxes whose IoU is above it, the surer one stays.
        scales: sizes, relative to the frame, at which it looks. 2.0 finds faces half as small at four times the work;
            0.5 finds faces that fill the frame.
    """

    name = "YuNet 2023mar (OpenCV)"

    def _find(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not hasattr(self._local, "network"):
            place = resources.files("cityguessr.faces") / "yunet.onnx"
            level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
            try:  # OpenCV 5 warns, on standard error, about a setting that its own detector makes
                with resources.as_file(place) as path:
                    network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), self.threshold, self.nms, 5000)
            finally:
                cv2.utils.logging.setLogLevel(level)
            self._local.network = network
        height, width = bgr.shape[:2]
        self._local.network.setInputSize((width, height))
        faces = self._local.network.detect(bgr)[1]
        return np.zeros((0, 5), np.float32) if faces is None else faces[:, [0, 1, 2, 3, 14]].astype(np.float32)


class RetinaFace(_Network):
    """RetinaFace (Deng et al., 2020), the paper's detector, with a ResNet-34 trained on WIDER FACE, through uniface.

    The paper does not say which backbone it used. uniface by itself shrinks every frame to 640 pixels, where a far face
    of a street is lost; this class looks at the frame as it is.

    Args:
        threshold, nms, scales: as of `YuNet`.
        allow_downloads: whether weights that are not in `data/weights/` may be fetched.

    Raises CannotRun where uniface or onnxruntime is not installed, MissingWeights where the weights are not on this
    machine, InputError where they are damaged.
    """

    name = "RetinaFace ResNet-34 (uniface)"

    def __init__(
        self,
        threshold: float = THRESHOLD,
        nms: float = NMS,
        scales: Sequence[float] = (1.0,),
        *,
        allow_downloads: bool = False,
    ) -> None:
        super().__init__(threshold, nms, scales)
        try:
            import onnxruntime  # noqa: F401
            from uniface import model_store
            from uniface.constants import MODEL_REGISTRY, RetinaFaceWeights
        except ImportError as error:
            raise CannotRun(
                f"RetinaFace needs uniface (4 or later) and onnxruntime ({error}); install them with "
                '`.venv/bin/uv pip install -e ".[retinaface]"`, or use detector="yunet", which is always there'
            ) from None
        self._weights = RetinaFaceWeights.RESNET34
        file = weights.place(_RETINAFACE)
        if not file.is_file() and not allow_downloads:
            raise weights.missing(_RETINAFACE, "RetinaFace", allow_downloads)
        # uniface itself would remove a file that it does not know, and fetch it, whoever asks.
        if not allow_downloads and weights.sha256(file) != MODEL_REGISTRY[self._weights].sha256:
            raise InputError(
                f"{file}: not the weights that uniface expects; remove it, and bring it with "
                f"`{weights.command(_RETINAFACE)}`"
            )
        try:
            model_store.verify_model_weights(self._weights, root=str(file.parent))
        except ConnectionError:
            raise weights.missing(_RETINAFACE, "RetinaFace", allow_downloads=True) from None
        model_store.set_cache_dir(str(file.parent))

    def _find(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not hasattr(self._local, "network"):
            from uniface.detection import RetinaFace as Network

            self._local.network = Network(
                model_name=self._weights, confidence_threshold=self.threshold, nms_threshold=self.nms, dynamic_size=True
            )
        rows = [
            (left, top, right - left, bottom - top, face.confidence)
            for face in self._local.network.detect(bgr)
            for left, top, right, bottom in [face.bbox[:4]]
        ]
        return np.array(rows, np.float32).reshape(-1, 5)


def get(
    name: str,
    threshold: float = THRESHOLD,
    nms: float = NMS,
    scales: Sequence[float] = (1.0,),
    *,
    allow_downloads: bool = False,
) -> Detector:
    """The detector of a name, "yunet" or "retinaface". Raises InputError for another."""
    if name == "yunet":
        return YuNet(threshold, nms, scales)
    if name == "retinaface":
        return RetinaFace(threshold, nms, scales, allow_downloads=allow_downloads)
    raise one_of("detector", name, ("yunet", "retinaface"))


def iou(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of each of n boxes with each of m others, (n, m), in [0, 1]; rows begin x, y, w, h."""
    a, b = np.asarray(boxes, np.float64)[:, None], np.asarray(others, np.float64)[None]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:4], b[..., :2] + b[..., 2:4])
    common = (high - low).clip(0).prod(-1)
    return common / np.maximum(a[..., 2:4].prod(-1) + b[..., 2:4].prod(-1) - common, 1e-9)
