"""The clips that a profile trains on: rendered, read and prepared on the spot where they are not there yet."""

import dataclasses
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from cityguessr import paper
from cityguessr.base import locks, paths, threads, weights
from cityguessr.base.errors import InputError, MissingWeights, one_of
from cityguessr.config import ClipFormat
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.counts import count_mapillary
from cityguessr.data.labelling import label_scenes
from cityguessr.data.leakage import recovery
from cityguessr.data.mapillary import MIN_FRAMES, PATCH, MapillarySource
from cityguessr.data.places365 import Places365Labeller
from cityguessr.data.prepare import prepare, taken
from cityguessr.data.prepared import META
from cityguessr.data.release.layout import Roots, existing
from cityguessr.data.shortfalls import shortfalls
from cityguessr.data.survey import survey
from cityguessr.miniworld import (
    MapillaryConfig,
    MiniWorld,
    MiniWorldConfig,
    taken_prepared,
    write_cityguessr68k,
    write_mapillary,
    write_prepared,
)
from cityguessr.scenes import SCENES
from cityguessr.training import profiles
from cityguessr.training.profiles import Profile
from cityguessr.training.scene_labels import Scenes, by_frame

REJECTED_SHARE = 0.05  # of the listed clips; more than these point at the source, not at single files

WORLDS: dict[str, tuple[MiniWorldConfig, MapillaryConfig]] = {
    "mini": (MiniWorldConfig.mini(), MapillaryConfig.mini()),
    "midi": (MiniWorldConfig.midi(), MapillaryConfig.midi()),
    "paper": (MiniWorldConfig.paper_scale(), MapillaryConfig.paper_scale()),
}
"""The size of a MiniWorld (`Profile.world`) -> how large it is in the layouts of CityGuessr68k and of Mapillary."""

Prepared = tuple[ReleaseSource | MapillarySource, Places365Labeller | None]
"""The clips of a data set, and what labels their scenes where the data set does not."""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One of the paper's two data sets.

    Attributes:
        holds: what its folder holds, for a message that asks for it.
        render: (size of the world, folder, processes, device) -> the root of a MiniWorld in its layout.
        read: (root, clip format) -> its clips, and what labels their scenes.
    """

    holds: str
    render: Callable[[str, Path, int | None, str], Path]
    read: Callable[[Roots, ClipFormat], Prepared]


def _render_cityguessr68k(world: str, folder: Path, workers: int | None, device: str) -> Path:
    return write_cityguessr68k(MiniWorld(WORLDS[world][0]), folder, workers=workers, device=device)


def _render_msls(world: str, folder: Path, workers: int | None, device: str) -> Path:
    write_mapillary(WORLDS[world][1], folder, workers=workers, device=device)
    return folder


def _read_cityguessr68k(root: Roots, clip_format: ClipFormat) -> Prepared:
    classes = clip_format.scene_classes
    release = recovery.applied(ReleaseSource(root, scene_classes=classes), paths.data() / "recovered" / "cityguessr68k")
    if release.synthetic or release.has_scenes:
        return release, None
    return release, _labeller_if_there(release.name, classes)


def _read_msls(root: Roots, clip_format: ClipFormat) -> Prepared:
    if not isinstance(root, Path):
        raise InputError(f"Mapillary's sequences are in one folder, not in {len(tuple(root))}; unpack all of it there")
    if clip_format.sampling == "released":
        raise InputError(
            "sampling='released' takes every fifth of about 100 frames, and most sequences of Mapillary are shorter; "
            "use sampling='uniform' with this data set"
        )
    # The paper leaves out what is shorter than its model's 15 frames: for a model of 16, that is one more.
    least = max(MIN_FRAMES, clip_format.frames)
    source = MapillarySource(root, min_frames=least, scene_classes=clip_format.scene_classes)
    if source.synthetic:
        return source, None
    print(agreement(source), flush=True)
    return source, _labeller_if_there(source.name, clip_format.scene_classes)


DATASETS = {
    "cityguessr68k": DataSet("labels_list.csv, train/ and val/", _render_cityguessr68k, _read_cityguessr68k),
    "msls": DataSet("train_val/ and test/", _render_msls, _read_msls),
}
"""The data sets by the names that experiments, profiles and the paper's numbers give them."""


def root(
    profile: str | Profile, data_root: Roots | None = None, workers: int | None = None, dataset: str = "cityguessr68k"
) -> Path | tuple[Path, ...]:
    """The folder that a profile reads a data set from, or the folders where `data_root` names several.

    For a MiniWorld it is rendered at the first call: `data/miniworld/<profile>/release` in the layout of CityGuessr68k
    (the long videos stand beside it in `videos/`), `data/miniworld/<profile>-msls` in Mapillary's. The paper's size is
    rendered on a GPU where there is one; the small world never is, so that its pictures depend on the processor alone.

    Args:
        data_root: the folder of a real data set, or several that make it up (`release_layout.Roots`); for a MiniWorld,
            where to render it in place of `data/miniworld/<profile>`. `~` is the home folder, and a relative path is
            looked for in the working directory, then in the project's root.
        workers: processes that render; by default as many as there are cores.
        dataset: one of `DATASETS`.

    Raises InputError for a data set that is none, or that the profile does not have, and for a real one without
    `data_root`.
    """
    profile = profiles.get(profile)
    kind = _check(profile, dataset)
    if profile.world is None:
        if not data_root:
            raise InputError(
                f"the profile {profile.name!r} reads the real data set; give its folder as data_root (the one that "
                f"holds {kind.holds})"
            )
        folders = existing(data_root)
        return folders[0] if len(folders) == 1 else folders
    if data_root and not isinstance(data_root, str | Path):
        raise InputError(f"data_root={data_root!r}: the profile {profile.name!r} is rendered, to one folder")
    folder = paths.found(data_root) if data_root else paths.data() / "miniworld" / profile.name
    if dataset != "cityguessr68k":
        folder = folder.with_name(f"{folder.name}-{dataset}")
    device = "cpu" if profile.world == "mini" else _device()
    with locks.beside(folder):
        return kind.render(profile.world, folder, workers or threads.cores(), device)


def prepared(
    profile: str | Profile,
    clip_format: ClipFormat,
    data_root: Roots | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    dataset: str = "cityguessr68k",
    scenes: Scenes = "clip",
) -> PreparedClips:
    """The prepared clips of a profile, in the format that a model takes (`ModelConfig.clip_format`).

    They stand in `data/prepared/<profile>-<sampling>-<frames>x<size>`, with `-msls` after a MiniWorld profile's name
    for that data set; scene labels of 16 and of 365 classes stand beside the same frames. A set that is there is not
    made again, but held against its source; without `data_root`, a set of real clips is taken as it is.

    The larger MiniWorlds are rendered straight to prepared clips (`rendered`), which takes about a hundredth of the
    disk that videos and frames of the paper's size would. With `data_root` these are written there first, as the small
    world's are, and prepared in a folder of their own, with `-files` after the profile's name.

    Before a real set is prepared, `survey` prints what is there, how large the set will be and how long it takes, and
    the disk is checked; afterwards counts are held against the paper's, and `<set>-folders.csv` lists what is short.

    Args:
        data_root: the data set to read, for a profile of real data; where MiniWorld is rendered, for the others.
        workers: processes on this machine; by default as many as there are cores.
        cluster: the address of a Dask scheduler to prepare on instead, such as "tcp://10.0.0.1:8786".
        dataset: one of `DATASETS`; Table 6 is of "msls".
        scenes: "frame" for a system that needs the scenes of single frames (`scene_labels.needed`): a classifier gives
            them where the data set has those of clips as a whole.

    Raises InputError for a data set that the profile does not have, and MissingWeights where only a classifier that is
    not on this machine could give the scenes that the model learns.

    Example:
        >>> clips = prepared("mini", experiments.get("cityguessr").config("mini").clip_format)
        >>> clips.split("val")[0]["frames"].shape
        torch.Size([8, 3, 64, 64])
    """
    _check_process()
    profile, workers = profiles.get(profile), workers or threads.cores()
    kind = _check(profile, dataset)
    name = profile.name if len(profile.datasets) == 1 or dataset == "cityguessr68k" else f"{profile.name}-{dataset}"
    if profile.world not in (None, "mini") and dataset == "cityguessr68k":
        if not data_root:
            folder = paths.data() / "prepared" / clip_format.folder(name)
            return rendered(WORLDS[profile.world][0], clip_format, folder, workers=workers, cluster=cluster)
        name = f"{name}-files"
    folder = paths.data() / "prepared" / clip_format.folder(name)
    if profile.world is None and not data_root and (folder / META).is_file():
        clips = _checked(PreparedClips.load(folder, clip_format.scene_classes))
        return clips if scenes == "clip" else by_frame(clips, lambda: _labeller(clip_format.scene_classes))
    source, labeller = kind.read(root(profile, data_root, workers, dataset), clip_format)
    clips = taken(source, folder, clip_format)  # without a lock: the tasks of an array look side by side
    if clips is None or (labeller and not clips.labelled):
        with locks.beside(folder):
            real = isinstance(source, ReleaseSource) and not source.synthetic and not (folder / META).is_file()
            if real:
                print(survey(source, clip_format, folder, workers).check(), flush=True)
            clips = prepare(source, folder, clip_format, workers=workers, cluster=cluster)
            if real:
                print(shortfalls(source, folder.with_name(f"{folder.name}-folders.csv")), flush=True)
            if labeller and not clips.labelled:
                clips = label_scenes(clips, labeller)
    clips = _checked(clips, PATCH if dataset == "msls" and profile.world is None else "")
    return clips if scenes == "clip" else by_frame(clips, lambda: _labeller(clip_format.scene_classes))


def rendered(
    world: MiniWorldConfig,
    clip_format: ClipFormat,
    folder: str | Path,
    device: str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
) -> PreparedClips:
    """The clips of a MiniWorld of any size, rendered straight to prepared clips: no video is written, or read.

    How long it takes and how large it will be is printed before it starts; stopped, it goes on where it stopped.
    Labels, scenes and places are those that `prepared` gives of the same world, and the pictures show the same, without
    what H.264 takes from them: another set, with a fingerprint of its own.

    Args:
        folder: where the set stands, or is to stand.
        device: "cpu", or a GPU such as "cuda"; by default a GPU where there is one.
        workers: processes that render, on a processor; by default as many as there are cores.
        cluster: as for `prepared`.

    Raises InputError where the disk is too small, and where the folder holds anything else.

    Example:
        >>> clips = rendered(MiniWorldConfig.mini(), ClipFormat(8, 64), paths.data() / "prepared" / "mini-rendered")
    """
    _check_process()
    folder, workers = Path(folder), workers or threads.cores()
    made, device = MiniWorld(world), device or _device()
    clips = taken_prepared(made, folder, clip_format, device=device)
    if clips is None:
        with locks.beside(folder):
            clips = write_prepared(made, folder, clip_format, device=device, workers=workers, cluster=cluster)
    return _checked(clips)


def sources(
    profile: str, data_root: Roots | None = None, msls_root: str | Path | None = None, workers: int | None = None
) -> tuple[ReleaseSource | None, MapillarySource | None]:
    """CityGuessr68k and Mapillary's sequences as they stand on disk, None for one that was not given.

    A synthetic profile has both, rendered where they are not there yet; for a real one `data_root` is the folder, or
    are the folders, of CityGuessr68k and `msls_root` is that of MSLS.
    """
    scale = profiles.get(profile)
    if not scale.synthetic:
        given = ReleaseSource(data_root) if data_root else None
        return given, MapillarySource(paths.found(msls_root)) if msls_root else None
    release = ReleaseSource(root(scale, data_root, workers))
    return release, MapillarySource(root(scale, data_root, workers, "msls"))


def against_paper(sequences: MapillarySource) -> pd.DataFrame:
    """What the paper counts in MSLS beside what was counted on disk: columns quantity, paper, counted, agrees."""
    counted = count_mapillary(sequences)
    rows = [
        {"quantity": f"{row.dataset} {row.quantity}", "paper": row.value, "counted": float(counted[key])}
        for row in paper.dataset().itertuples()
        if (key := (row.dataset, row.quantity)) in counted
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(agrees=frame["paper"] == frame["counted"])


def agreement(sequences: MapillarySource) -> str:
    """`against_paper` in words: that all counts agree, or each one that does not."""
    frame, count = against_paper(sequences), sequences.counts
    head = f"{sequences.name}: {count.kept:,} = {count.train:,} + {count.val:,} sequences of {sequences.taxonomy}"
    head += f", {count.panoramic:,} of them with panoramas, which the paper does not leave out" * bool(count.panoramic)
    head += f", {count.unplaced:,} images without coordinates" * bool(count.unplaced)
    if frame["agrees"].all():
        return f"{head}: all {len(frame)} counts as in the paper"
    wrong = frame[~frame["agrees"]]
    differences = [f"{row.quantity} {row.counted:,g}, in the paper {row.paper:,g}" for row in wrong.itertuples()]
    return f"{head}: {len(wrong)} of {len(frame)} counts differ from the paper's ({'; '.join(differences)})"


def _check_process() -> None:
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker that imports the caller's script
        raise InputError("preparation starts processes: put your script's calls under if __name__ == '__main__':")


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _check(profile: Profile, dataset: str) -> DataSet:
    if dataset not in DATASETS:
        raise one_of("data set", dataset, DATASETS)
    if dataset not in profile.datasets:
        others = [other.name for other in profiles.PROFILES.values() if dataset in other.datasets]
        own = ", ".join(profile.datasets) or "tracks alone"
        raise InputError(
            f"the profile {profile.name!r} has {own} and not {dataset}; profiles that have it: {', '.join(others)}"
        )
    return DATASETS[dataset]


def _labeller(scene_classes: int) -> Places365Labeller:
    """The classifier of scenes, with the sheet of its authors where that stands beside the weights."""
    sheet = weights.place("scene_hierarchy_places365.csv")
    return Places365Labeller(
        hierarchy_csv=sheet if sheet.is_file() else None, device=_device(), scene_classes=scene_classes
    )


def _labeller_if_there(name: str, scene_classes: int) -> Places365Labeller | None:
    """The classifier of scenes; where its weights are missing and 16 scenes would do, a word on it and None."""
    try:
        return _labeller(scene_classes)
    except MissingWeights as error:
        if scene_classes != len(SCENES):
            raise
        print(f"{name}: prepared without scenes, which the full model needs: {error}, and run again", flush=True)
        return None


def _checked(clips: PreparedClips, hint: str = "") -> PreparedClips:
    """Refuse a set that lost more than a few clips: an archive that was not unpacked must not pass for a data set."""
    counts, hint = clips.meta["clips"], hint and f" ({hint})"
    if counts["rejected"] > REJECTED_SHARE * counts["listed"]:
        raise InputError(
            f"{clips.folder}: {counts['rejected']:,} of {counts['listed']:,} clips were rejected, the first because "
            f"{clips.rejected()[0]['reason']}; mend the source{hint} (rejected.csv names every clip), delete the "
            "folder, and run again"
        )
    if counts["rejected"]:
        rejected = f"{counts['rejected']:,} of {counts['listed']:,} clips rejected"
        print(f"{clips.name}: {rejected}, see rejected.csv there{hint}")
    return clips
