"""Pedestrians with a face in MiniWorld's streets, for trying a face detector without anybody's picture.

Bodies are drawn; the one face is a portrait in the public domain that comes with matplotlib (Grace Hopper, photographed
for the US Navy, 1984). Each pedestrian stands at a place in the street, so that size and motion follow from the camera,
and where each face is in the picture is known exactly. One face in many sizes shows how a detector copes with size; it
does not show how it copes with people.
"""

import colorsys
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from cityguessr.base import threads
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_bytes
from cityguessr.base.tables import read_json, read_rows
from cityguessr.faces import pedestrian
from cityguessr.faces.detectors import BOX, iou
from cityguessr.faces.pedestrian import FACE_WIDTH, Pedestrian
from cityguessr.miniworld.plan import INDOOR, VideoPlan
from cityguessr.miniworld.world import MiniWorld

TRUTH = "true_faces.csv"
_FORMAT = 1


def streets(world: MiniWorld, count: int, seed: int = 0) -> list[VideoPlan]:
    """Videos drawn at random, each of another city: on foot, by day, without rain and fog, not starting indoors."""
    fair = [
        video
        for video in world.videos
        if video.walk
        and 8 <= video.hour <= 17
        and video.weather not in ("rain", "fog")
        and int(video.scenes[0]) not in INDOOR
    ]
    by_city: dict[int, VideoPlan] = {}
    for video in random.Random(f"{world.fingerprint}/{seed}").sample(fair, len(fair)):
        by_city.setdefault(video.city, video)
    return list(by_city.values())[:count]


def street(
    world: MiniWorld, video: VideoPlan, frames: Sequence[int] = (0,), height: int = 720, width: int = 1280
) -> NDArray[np.uint8]:
    """Frames of a video without pedestrians, uint8 (len(frames), height, width, 3)."""
    with threads.limited(1):
        return world.render(video, height, width, frames=list(frames)).numpy()


def picture(
    world: MiniWorld,
    video: VideoPlan,
    frames: Sequence[int] = (0,),
    *,
    people: int = 12,
    widths: tuple[float, float] = (10.0, 60.0),
    seed: int = 0,
    height: int = 720,
    width: int = 1280,
    rendered: NDArray[np.uint8] | None = None,
) -> list[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Frames of a street with pedestrians, and where their faces are.

    Args:
        frames: numbers of the video's frames; the pedestrians are placed for the first of them and stay there.
        people: at most so many; fewer where one more would hide a face.
        widths: least and greatest width of a face in the first frame, in pixels; drawn evenly by their logarithm.
        seed: of places and looks.
        rendered: the empty frames, from `street`, where they have been rendered already.

    Returns one pair per frame: uint8 (height, width, 3), and float32 (n, 5): x, y, width, height in pixels of every
    face in it, and 1 where the face is whole and nobody stands before it, else 0.
    """
    if rendered is None:
        rendered = street(world, video, frames, height, width)
    cameras = [_Camera(world, video, frame, height, width) for frame in frames]
    crowd = _place(cameras[0], world, video, people, widths, random.Random(f"{video.video_id}/{seed}"))
    return [_paint(empty, camera, crowd) for empty, camera in zip(rendered, cameras, strict=True)]


def write(
    root: str | Path,
    *,
    clips: int = 5,
    frames: int = 2,
    people: int = 12,
    seed: int = 0,
    world: MiniWorld | None = None,
) -> Path:
    """Write clips of streets with pedestrians in the layout of a release, `<split>/<City>/<clip>/<n>.jpg`, once.

    Frames are 1280 x 720. The last clip has nobody in it, and the first frame of the one before it is empty too.
    `true_faces.csv` (clip, frame, x, y, width, height, clear) lists the faces. A folder that is whole and of the same
    settings stays as it is.

    Returns the folder. Raises InputError for a folder of other settings.
    """
    world, root = world or MiniWorld(), make_folder(root)
    settings = {"format": _FORMAT, "world": world.fingerprint, "clips": clips, "frames": frames, "people": people}
    settings, marker = settings | {"seed": seed}, root / "crowd.json"
    if marker.is_file():
        if read_json(marker) == settings:
            return root
        raise InputError(f"{root}: holds another crowd; give another folder, or remove this one")
    lines = ["clip,frame,x,y,width,height,clear"]
    for number, video in enumerate(streets(world, clips, seed)):
        name = f"{video.clips[0].split}/{world.taxonomy.folders[video.city]}/{video.clips[0].clip_id}"
        numbers = range(video.clips[0].first_frame, video.clips[0].first_frame + frames)
        empty = street(world, video, numbers)
        crowd = people if number < clips - 1 else 0
        pictures = picture(world, video, numbers, people=crowd, seed=seed, rendered=empty)
        if number == clips - 2:
            pictures[0] = (empty[0], np.zeros((0, 5), np.float32))
        for n, (frame, boxes) in enumerate(pictures, start=1):
            make_folder(root / name)
            Image.fromarray(frame).save(root / name / f"{n}.jpg", quality=92)
            lines += [f"{name},{n}.jpg,{','.join(f'{value:.1f}' for value in box)}" for box in boxes]
    write_bytes(root / TRUTH, ("\n".join(lines) + "\n").encode())
    write_bytes(marker, json.dumps(settings).encode())
    return root


def not_faces(root: str | Path, marks: pd.DataFrame) -> list[str]:
    """The detections that a careful person would reject on the inspection sheets: those on none of the true faces.

    Args:
        root: a folder that `write` made; any other has no true faces listed, and nothing is rejected.
        marks: of `inspection.read_marks`.

    Returns names as `inspection.reject` takes them.
    """
    if not (Path(root) / TRUTH).is_file():
        return []
    true: dict[tuple[str, str], list[list[float]]] = {}
    for _, row in read_rows(Path(root) / TRUTH, ("clip", "frame", *BOX)):
        true.setdefault((row["clip"], row["frame"]), []).append([float(row[name]) for name in BOX])
    names = []
    for row in marks.itertuples():
        faces = np.array(true.get((row.clip, row.frame), np.zeros((0, 4))))
        if not (iou(np.array([[row.x, row.y, row.width, row.height]]), faces) > 0.3).any():
            names.append(f"{row.clip}:{row.face}")
    return names


class _Camera:
    """The renderer's camera of one frame: from metres in the street to pixels."""

    def __init__(self, world: MiniWorld, video: VideoPlan, frame: int, height: int, width: int) -> None:
        self.at = world.camera(video, frame)
        self.focal = width / 2 / math.tan(math.radians(video.fov / 2))
        self.height, self.width = height, width

    def project(self, x: float, y: float, s: float) -> tuple[float, float, float]:
        """Column, row, and pixels per metre, of a point x right, y up, s along (metres); all 0 behind the camera.

        The inverse of the renderer's turns of a pixel's ray: yaw, then pitch, then roll.
        """
        at = self.at
        dx, dy, ds = x - at.x, y - at.y, s - at.s
        sin, cos = math.sin(at.yaw), math.cos(at.yaw)
        dx, ds = dx * cos - ds * sin, dx * sin + ds * cos
        sin, cos = math.sin(at.pitch), math.cos(at.pitch)
        dy, ds = dy * cos - ds * sin, dy * sin + ds * cos
        if ds < 0.3:
            return 0.0, 0.0, 0.0
        sin, cos = math.sin(at.roll), math.cos(at.roll)
        dx, dy = dx * cos + dy * sin, dy * cos - dx * sin
        return self.width / 2 + self.focal * dx / ds, self.height / 2 - self.focal * dy / ds, self.focal / ds

    def outline(self, person: Pedestrian) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Left, top, right and bottom of a pedestrian and of the face, in pixels."""
        return pedestrian.outline(*self.project(person.x, 0.0, person.s), person.height)


def _place(
    camera: _Camera,
    world: MiniWorld,
    video: VideoPlan,
    people: int,
    widths: tuple[float, float],
    rng: random.Random,
) -> list[Pedestrian]:
    """Pedestrians on the pavements and around the camera's way, none hiding another's face at first, far ones first."""
    style = world.effects.style(video.city)
    placed: list[tuple[float, Pedestrian, tuple[float, ...], tuple[float, ...]]] = []  # distance, whom, whole, face
    for _ in range(people * 40):
        if len(placed) >= people:
            break
        distance = camera.focal * FACE_WIDTH / math.exp(rng.uniform(math.log(widths[0]), math.log(widths[1])))
        side = rng.choice((-1, 1))
        x = rng.choice((side * rng.uniform(style.road_half + 0.3, max(style.road_half + 0.5, style.street_half - 0.4)),
                        camera.at.x + rng.uniform(-0.8, 0.8) * distance))  # fmt: skip
        person = _draw_looks(rng, x, camera.at.s + distance)
        whole, face = camera.outline(person)
        if abs(x) > style.street_half - 0.3 or face[0] < 2 or face[1] < 2:
            continue
        if face[2] > camera.width - 2 or face[3] > camera.height - 2:
            continue
        if not any(
            _overlap(whole, other_face) if distance < other else _overlap(face, other_whole)
            for other, _, other_whole, other_face in placed
        ):
            placed.append((distance, person, whole, face))
    return sorted((person for _, person, _, _ in placed), key=lambda person: -person.s)


def _draw_looks(rng: random.Random, x: float, s: float) -> Pedestrian:
    """A pedestrian of random looks at a place in the street."""
    return Pedestrian(
        x=x, s=s, height=rng.uniform(1.52, 1.88), mirrored=rng.random() < 0.5,
        tint=tuple(rng.uniform(0.86, 1.1) for _ in range(3)), exposure=math.exp(rng.gauss(0, 0.18)),
        coat=_colour(rng, (0.08, 0.5), (0.22, 0.72)), legs=_colour(rng, (0.05, 0.35), (0.14, 0.4)),
    )  # fmt: skip


def _colour(rng: random.Random, saturation: tuple[float, float], value: tuple[float, float]) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return round(red * 255), round(green * 255), round(blue * 255)


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def _paint(
    empty: NDArray[np.uint8], camera: _Camera, crowd: Sequence[Pedestrian]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A street with pedestrians painted into it, the far ones first; and their faces, as `picture` gives them."""
    canvas = Image.fromarray(empty)
    outlines = [camera.outline(person) for person in crowd]
    boxes = []
    for i, (person, (whole, face)) in enumerate(zip(crowd, outlines, strict=True)):
        if whole[3] - whole[1] < 4:
            continue
        light = np.asarray(canvas)[max(0, int(whole[1])) : int(whole[3]) + 1, max(0, int(whole[0])) : int(whole[2]) + 1]
        glow = (float(light.mean()) / 118) ** 0.35 if light.size else 1.0  # in a dark street a person is darker
        figure, corner = pedestrian.draw(person, whole, face, glow)
        canvas.paste(figure, corner, figure)
        if _overlap(face, (0, 0, camera.width, camera.height)):
            whole_face = face[0] >= 0 and face[1] >= 0 and face[2] <= camera.width and face[3] <= camera.height
            clear = whole_face and not any(_overlap(face, nearer) for nearer, _ in outlines[i + 1 :])
            boxes.append((face[0], face[1], face[2] - face[0], face[3] - face[1], clear))
    return np.asarray(canvas), np.array(boxes, np.float32).reshape(-1, 5)
