"""A coordinate for the frames of a video of one's own, by a VidTAG run that is there already: nothing is trained.

The gallery is the run's own, made again of the training tracks that it was trained on. The encoders are those of its
scale, so that at mini size they are stand-ins.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cityguessr.base import paths
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.data import video
from cityguessr.data.frames import frame_files
from cityguessr.data.sampling import frame_indices
from cityguessr.measures.sphere import great_circle_km
from cityguessr.tracks import Track, Tracks, read_frames, read_shaped
from cityguessr.training import track_asking, track_experiments, track_runs, track_sets
from cityguessr.training.finished import PROVENANCE
from cityguessr.training.track_experiments import TrackScale
from cityguessr.training.track_runs import TrackRun
from cityguessr.vidtag import answers, encoders, views
from cityguessr.vidtag.encoders import FrameEncoder
from cityguessr.vidtag.model import VidTAG

FRAMES = 16
"""Frames of a video that are given a coordinate, as many as a training sequence has."""
SMALL = 96  # pixels, the short side of the pictures that are kept to be looked at


@dataclasses.dataclass(frozen=True, eq=False)
class OwnTrack:
    """Coordinates of T frames of a video, in the order of time.

    Attributes:
        path: the video, or the folder of pictures.
        frames: T short texts, what is known of each frame's time: "1.5 s", or the name of its picture.
        pictures: T arrays uint8 (H, W, 3), 96 pixels on the short side, to be looked at.
        retrieved: (T, 2) degrees, phase I's.
        refined: (T, 2) degrees, after GeoRefiner; None for a system without one.
        regions: T regions of the training tracks, that of the nearest training coordinate to the final answer.
        gallery: (n, 2) degrees, the points that can be answered.
        synthetic: whether it was trained on MiniWorld, so that of a real video it knows nothing.
        stand_ins: whether small stand-ins took the place of the published encoders.
        run: the folder of the run that answered.
    """

    path: Path
    frames: tuple[str, ...]
    pictures: list[NDArray[np.uint8]]
    retrieved: NDArray[np.float64]
    refined: NDArray[np.float64] | None
    regions: tuple[str, ...]
    gallery: NDArray[np.float64]
    synthetic: bool
    stand_ins: bool
    run: Path

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def final(self) -> NDArray[np.float64]:
        """The last word, (T, 2) degrees: refined where the system refines."""
        return self.retrieved if self.refined is None else self.refined

    @property
    def counts(self) -> dict[str, int]:
        """Region -> how many frames are answered there, most first."""
        found = {region: self.regions.count(region) for region in dict.fromkeys(self.regions)}
        return dict(sorted(found.items(), key=lambda item: -item[1]))


@dataclasses.dataclass(frozen=True, eq=False)
class Locator:
    """A trained VidTAG with all that it needs to be asked about a video; `load` gives one.

    Attributes:
        experts: its frozen frame encoders, in the order in which their features are joined.
        gallery: the points that can be answered, with their embeddings.
        training: region -> (n, 2) degrees, its training coordinates.
    """

    run: TrackRun
    scale: TrackScale
    model: VidTAG
    experts: tuple[FrameEncoder, ...]
    gallery: answers.Gallery
    training: dict[str, NDArray[np.float64]]
    synthetic: bool

    def __call__(self, path: str | os.PathLike[str], frames: int | None = FRAMES) -> OwnTrack:
        """Coordinates of frames of a video.

        Args:
            path: a video file, or a folder of numbered pictures.
            frames: how many, spread evenly over the whole; all of them where there are fewer. None: one per second of a
                video, and every picture of a folder.

        Raises InputError, naming the file, for a video or a picture that is missing, damaged, or not one.
        """
        place = paths.found(path)
        track, names = _frames(place if place.exists() else Path(os.fsdecode(path)), frames)
        given = answers.answer(self.model, self.features(track), self.gallery)
        final = given.retrieved if given.refined is None else given.refined
        nearest = {region: _nearest_km(final, places) for region, places in self.training.items()}
        regions = np.array(list(nearest))[np.argmin(np.stack(list(nearest.values())), axis=0)]
        return OwnTrack(
            path=place,
            frames=names,
            pictures=read_shaped(track, SMALL),
            retrieved=given.retrieved,
            refined=given.refined,
            regions=tuple(map(str, regions)),
            gallery=self.gallery.points,
            synthetic=self.synthetic,
            stand_ins=bool(self.scale.stand_ins),
            run=self.run.folder,
        )

    def features(self, track: Track) -> Tensor:
        """Features of a track as of one of validation: float16 (T, V, d)."""
        read = functools.cache(lambda size: _views(track, size, self.scale.validation_views))
        return torch.cat([_of(expert, read(expert.size)) for expert in self.experts], dim=2)


def finished(
    profile: str | TrackScale = "mini", experiment: str = "vidtag", root: Path | None = None
) -> list[TrackRun]:
    """The runs of an experiment that are on this machine, whole: those of the present code first, then the latest.

    Args:
        root: of the project, where it is another one.

    Raises InputError for an unknown profile or experiment.
    """
    scale, name = track_experiments.scale(profile), track_experiments.get(experiment).name
    place = (root or paths.root()) / "runs" / scale.profile / "vidtag" / name
    runs = [TrackRun(file.parent) for file in place.glob(f"seed*/{PROVENANCE}")]
    code = track_runs.code_of(track_experiments.get(experiment), scale)

    def order(run: TrackRun) -> tuple[bool, str]:
        return run.provenance["code"] == code, str(run.provenance.get("finished", ""))

    return sorted(filter(_readable, runs), key=order, reverse=True)


def load(
    profile: str | TrackScale = "mini",
    *,
    experiment: str = "vidtag",
    data_root: str | Path | None = None,
    tracks: Tracks | None = None,
    allow_downloads: bool = False,
) -> Locator:
    """The system of a profile that can be asked about videos, from a run that is there; nothing is trained for it.

    Keep it to ask about several videos: each then costs its own frames alone.

    Args:
        data_root: the real data set that it was trained on, of whose coordinates its gallery is made.
        tracks: tracks of your own in place of the profile's.
        allow_downloads: whether weights of encoders may be fetched.

    Raises CannotRun, with what to do about it, where there is no such run, the tracks that it was trained on are not
    here, or there is no such profile of tracks; and MissingWeights for an encoder.
    """
    if isinstance(profile, str) and profile not in track_experiments.SCALES:
        known = ", ".join(track_experiments.SCALES)
        raise CannotRun(f"no track: VidTAG has no profile {profile}, which is one of {known}")
    scale = track_experiments.scale(profile)
    how = f'`track_runs.ensure("{experiment}", "{scale.profile}")` trains one, and so does notebook 51'
    runs = finished(scale, experiment)
    if not runs:
        raise CannotRun(f"no track: no finished run of {experiment} at the profile {scale.profile} is here; {how}")
    tracks = _tracks(scale, data_root) if tracks is None else tracks
    wanted = _decisive(track_experiments.get(experiment), scale, tracks)
    fitting = [run for run in runs if wanted.items() <= {**run.provenance, **run.provenance["training"]}.items()]
    if not fitting:
        raise CannotRun(
            f"no track: what was trained of {experiment} at the profile {scale.profile} learnt from other tracks, "
            f"encoders or a gallery than those of now; {how}"
        )
    return _loaded(fitting[0].folder, scale, experiment, tracks, allow_downloads)


def _readable(run: TrackRun) -> bool:
    try:
        return bool(run.provenance)
    except InputError:
        return False


def _decisive(experiment: Any, scale: TrackScale, tracks: Tracks) -> dict[str, Any]:
    """What a run's record must say for its weights to be asked with these tracks' gallery and these encoders."""
    return {
        "tracks": tracks.fingerprint,
        "encoders": [encoders.version(name) for name in experiment.encoders_at(scale)],
        "gallery": [experiment.gallery_at(scale), scale.resolution_km, scale.pad],
        "validation_views": scale.validation_views,
    }


def _tracks(scale: TrackScale, data_root: str | Path | None) -> Tracks:
    """A scale's tracks where they are on this machine: nothing is rendered for a guess."""
    if scale.dataset == "world":
        folder = track_sets.rendered_at(scale, data_root)
        if not (folder / "world.json").is_file():
            raise CannotRun(f"no track: {folder} is gone, of whose coordinates the gallery is made; run notebook 51")
    elif scale.dataset != "clips" and data_root is None:
        raise CannotRun(f"no track: the gallery of {scale.profile} is made of its data set; give its folder, data_root")
    return track_sets.TrackSource(scale, None if data_root is None else str(data_root)).read()


def _loaded(folder: Path, scale: TrackScale, experiment: str, tracks: Tracks, allow_downloads: bool) -> Locator:
    run, training = TrackRun(folder), tracks.split("train")
    model = run.model()
    names = track_experiments.get(experiment).encoders_at(scale)
    regions = dict.fromkeys(track.region for track in training)
    return Locator(
        run=run,
        scale=scale,
        model=model,
        experts=tuple(encoders.load(name, allow_downloads=allow_downloads) for name in names),
        gallery=answers.Gallery(model, track_asking.points(track_experiments.get(experiment), scale, training)),
        training={r: np.concatenate([t.latlon for t in training if t.region == r]) for r in regions},
        synthetic=tracks.synthetic,
    )


def _frames(path: Path, frames: int | None) -> tuple[Track, tuple[str, ...]]:
    """The frames of a video to be located, as a track whose coordinates mean nothing, and what is known of their time.

    Raises InputError, naming the path.
    """
    if frames is not None and frames < 1:
        raise InputError(f"{path}: frames is {frames}; a track has at least 1 frame")
    video.check(path)
    if path.is_dir():
        files = frame_files(path)
        chosen = frame_indices(len(files), min(frames or len(files), len(files)))
        pictures = tuple(files[k] for k in chosen)
        return Track(str(path), "", "val", np.zeros((len(chosen), 2)), pictures), tuple(file.name for file in pictures)
    info = video.video_info(path)
    if frames is None:
        seconds = np.arange(np.ceil(info.frames / info.fps - 1e-6))
    else:
        seconds = np.array(frame_indices(info.frames, min(frames, info.frames))) / info.fps
    return (
        Track(str(path), "", "val", np.zeros((len(seconds), 2)), video=path, seconds=seconds),
        tuple(f"{second:.1f} s" for second in seconds),
    )


def _views(track: Track, size: int, validation: views.Validation) -> Tensor:
    """What an encoder of validation is shown of a track: uint8 (T, V, 3, size, size)."""
    if validation == "whole":
        return views.whole(torch.from_numpy(read_frames(track, size)).permute(0, 3, 1, 2))
    pictures = [torch.from_numpy(picture).permute(2, 0, 1) for picture in read_shaped(track, size)]
    return torch.stack([views.ten_crops(picture, size) for picture in pictures])


def _of(expert: FrameEncoder, shown: Tensor, batch: int = 64) -> Tensor:
    """uint8 (T, V, 3, size, size) -> float16 (T, V, width), in the precision in which features are kept."""
    parts = [expert(part).half() for part in shown.flatten(0, 1).split(batch)]
    return torch.cat(parts).unflatten(0, shown.shape[:2])


def _nearest_km(latlon: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each of (T, 2) is from the nearest of (n, 2): (T,) km."""
    return np.array([great_circle_km(one, places).min() for one in latlon])
