"""CityGuessr on the world of tracks: the same sequences, in the same split, as clips that a city classifier learns.

A track is one clip; its label is its city, and its frames are as many of the track's as the model takes. So CityGuessr
and VidTAG can be asked about the same frames.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from cityguessr.base import locks, paths
from cityguessr.base.errors import InputError
from cityguessr.data.clips import PreparedClips
from cityguessr.data.mapillary import cities
from cityguessr.data.prepare import prepare, taken
from cityguessr.data.release.frame_tables import read_scenes
from cityguessr.data.sources import ClipRef
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.tracks import Tracks
from cityguessr.training import executors, experiments, profiles, runs, track_experiments, track_sets
from cityguessr.training.finished import Run
from cityguessr.training.jobs import spread

EXPERIMENT = "cityguessr_msls"
"""The experiment that is trained on them: the recipe for few, long sequences."""


def city_ids(regions: Iterable[str], taxonomy: Taxonomy) -> dict[str, int]:
    """Region of tracks -> its city's id, for folders of Mapillary's and cities of CityGuessr68k alone (InputError)."""
    return {region: taxonomy.city_id(cities().get(region, {"city": region})["city"]) for region in regions}


class TrackClips:
    """Tracks whose frames are pictures, as a source of clips (`data.prepare.Source`).

    Args:
        scenes: the `scenes.csv` of a MiniWorld's tree, or None.

    Raises InputError for a track whose frames are in a video.
    """

    text_features = None

    def __init__(self, tracks: Tracks, scenes: Path | None = None) -> None:
        if videos := [track.name for track in tracks.tracks if track.video is not None]:
            raise InputError(f"{videos[0]}: its frames are in a video; give tracks of pictures")
        self.name, self.synthetic = tracks.name, tracks.synthetic
        names = (cities().get(region, {"city": region})["city"] for region in tracks.regions)
        self.taxonomy = Taxonomy.cityguessr68k().subset(names)
        self._tracks = tracks.tracks
        self._scenes = {} if scenes is None else {row["key"]: s for _, row, s in read_scenes(scenes, ("key",), 16)}

    def clips(self) -> list[ClipRef]:
        """A clip for every track, under its name and in its split."""
        ids, refs = city_ids(dict.fromkeys(track.region for track in self._tracks), self.taxonomy), []
        for track in self._tracks:
            scenes = np.array([self._scenes.get(path.stem, -1) for path in track.pictures], np.int16)
            refs.append(
                ClipRef(
                    clip_id=track.name,
                    video_id=track.name,
                    split=track.split,
                    labels=tuple(int(self.taxonomy.ancestors[level][ids[track.region]]) for level in LEVELS),
                    path=str(track.pictures[0].parent),
                    frame_scenes=scenes if self._scenes else None,
                    gps=track.latlon,
                    files=tuple(path.name for path in track.pictures),
                )
            )
        return refs


def prepared(profile: str = "mini", data_root: str | Path | None = None, workers: int | None = None) -> PreparedClips:
    """The tracks of a MiniWorld as prepared clips, in `data/prepared/<profile>-tracks-...`; made where they are not.

    Raises InputError for a profile that has no world of tracks, and as `read_tracks` and `prepare` do.
    """
    scale = track_experiments.scale(profile)
    if scale.dataset != "world":
        raise InputError(f"the profile {profile!r} has no world of tracks; give one of {', '.join(track_sets.WORLDS)}")
    tracks = track_sets.TrackSource(scale, None if data_root is None else str(data_root)).read()
    clip_format = experiments.get(EXPERIMENT).config(profile).clip_format
    folder = paths.data() / "prepared" / clip_format.folder(f"{profile}-tracks")
    source = TrackClips(tracks, track_sets.rendered_at(scale, data_root) / "scenes.csv")
    if clips := taken(source, folder, clip_format):
        return clips
    with locks.beside(folder):
        return prepare(source, folder, clip_format, workers=workers)


def ensure(
    profile: str = "mini",
    seeds: Sequence[int] = (0,),
    *,
    data_root: str | Path | None = None,
    processes: int | None = None,
    report: Callable[[str], None] = print,
) -> tuple[Run, ...]:
    """CityGuessr's runs on the tracks of a MiniWorld, one per seed: trained now, unless they are there already.

    They stand among those of `EXPERIMENT`, told apart by their data. Arguments and errors as in `jobs.ensure_all`.
    """
    first = runs.plan(EXPERIMENT, profile, seeds[0], clips=prepared(profile, data_root))
    plans = {(first.name, seed): first.with_seed(seed) for seed in seeds}
    count = processes or executors.at_a_time(profiles.get(profile).threads, first.execution.device)
    folders = spread(plans, {}, count, first.execution.device, None, report)
    return tuple(Run(folders[first.name, seed]) for seed in seeds)
