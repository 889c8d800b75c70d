"""The prepared clips that a profile trains on, made on the spot where they are not there yet."""

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from filelock import FileLock

from cityguessr import paper
from cityguessr.base import paths
from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.base.files import make_folder
from cityguessr.config import ModelConfig
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.counts import count_mapillary
from cityguessr.data.mapillary import MIN_FRAMES, MapillarySource
from cityguessr.data.prepare import prepare
from cityguessr.scenes import SCENES, Places365Labeller
from cityguessr.training import profiles
from cityguessr.training.profiles import Profile

if TYPE_CHECKING:
    from cityguessr.miniworld import MiniWorldConfig

DATASETS = ("cityguessr68k", "mapillary")
REJECTED_SHARE = 0.05  # of the listed clips; more than these point at the source, not at single files


def miniworld(
    profile: Profile, data_root: str | Path | None = None, workers: int = 2, dataset: str = "cityguessr68k"
) -> Path:
    """The folder of the profile's MiniWorld, rendered at the first call.

    For "cityguessr68k" it is `data/miniworld/<profile>`, with `videos/` and `release/`; for "mapillary"
    `data/miniworld/<profile>-mapillary`, an MSLS tree of the same cities. `data_root` stands in place of
    `data/miniworld/<profile>` when it is given. The paper's size is rendered on a GPU where there is one; the small
    world never is, so that its pictures depend on the processor alone.
    """
    from cityguessr.miniworld import MapillaryConfig, MiniWorld, write_cityguessr68k, write_mapillary

    mini = profile.name == "mini"
    folder = Path(data_root) if data_root else paths.data() / "miniworld" / profile.name
    if dataset == "mapillary":
        folder = folder.with_name(f"{folder.name}-mapillary")
    device = "cuda" if not mini and torch.cuda.is_available() else "cpu"
    make_folder(folder.parent)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if dataset == "mapillary":
            sequences = MapillaryConfig.mini() if mini else MapillaryConfig.paper_scale()
            write_mapillary(sequences, folder, workers=workers, device=device)
        else:
            write_cityguessr68k(MiniWorld(miniworld_config(profile)), folder, workers=workers, device=device)
    return folder


def miniworld_config(profile: str | Profile) -> "MiniWorldConfig":
    """How large the MiniWorld of a profile is, in the layout of CityGuessr68k."""
    from cityguessr.miniworld import MiniWorldConfig

    name = profile if isinstance(profile, str) else profile.name
    return MiniWorldConfig.mini() if name == "mini" else MiniWorldConfig.paper_scale()


def release_root(profile: Profile, data_root: str | Path | None = None, workers: int = 2) -> Path:
    """The folder in the CityGuessr68k layout that the profile reads.

    Raises:
        InputError: for a real data set without `data_root`, and for the profile of another data set.
    """
    if profile.source == "miniworld":
        return miniworld(profile, data_root, workers) / "release"
    if profile.source == "mapillary":
        raise InputError(f"the profile {profile.name!r} is of Mapillary; CityGuessr68k is read with 'cityguessr68k'")
    if not data_root:
        raise InputError(
            f"the profile {profile.name!r} reads the real data set; give its folder as data_root (the one that holds "
            "labels_list.csv, train/ and val/)"
        )
    return Path(data_root)


def mapillary_root(profile: Profile, data_root: str | Path | None = None, workers: int = 2) -> Path:
    """The folder in the layout of Mapillary Street-Level Sequences that the profile reads.

    Raises:
        InputError: for the real data set without `data_root`.
    """
    if profile.source == "miniworld":
        return miniworld(profile, data_root, workers, "mapillary")
    if not data_root:
        raise InputError(
            f"the profile {profile.name!r} reads the real data set; give its folder as data_root (the one that holds "
            "train_val/ and test/)"
        )
    return Path(data_root)


def prepared(
    profile: Profile,
    config: ModelConfig,
    data_root: str | Path | None = None,
    workers: int = 2,
    cluster: str | None = None,
    dataset: str = "cityguessr68k",
) -> PreparedClips:
    """The prepared clips of a profile, with as many frames, of that size and so sampled, as the model takes.

    They stand in `data/prepared/<profile>-<sampling>-<frames>x<size>`, with `-mapillary` after a MiniWorld profile's
    name for that data set, and `-365` at the end where frames are labelled with that many scenes. A set that is there
    is not made again, but held against its source; without `data_root`, a set of real clips is taken as it is.

    Args:
        data_root: the data set to read, for a profile of real data; where MiniWorld is rendered, for the others.
        workers: processes on this machine.
        cluster: the address of a Dask scheduler to prepare on instead, such as "tcp://10.0.0.1:8786".
        dataset: "cityguessr68k" or "mapillary" (Table 6).

    Raises InputError for a data set that the profile does not have, and MissingWeights where only a classifier that is
    not on this machine could give the 365 scenes that the model learns.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker that imports the caller's script
        raise InputError("preparation starts processes: put your script's calls under if __name__ == '__main__':")
    if dataset not in DATASETS:
        raise InputError(f"no data set {dataset!r}; it is one of {', '.join(DATASETS)}")
    if dataset == "mapillary" and profile.source == "release":
        raise InputError(f"the profile {profile.name!r} is of CityGuessr68k; for Mapillary use the profile 'msls'")
    if dataset != "mapillary" and profile.source == "mapillary":
        raise InputError(
            f"the profile {profile.name!r} is of Mapillary (Table 6); for CityGuessr68k use 'cityguessr68k'"
        )
    name = f"{profile.name}-mapillary" if dataset == "mapillary" and profile.source == "miniworld" else profile.name
    finer = "" if config.scenes == len(SCENES) else f"-{config.scenes}"
    folder = paths.data() / "prepared" / f"{name}-{config.sampling}-{config.frames}x{config.size}{finer}"
    if profile.source != "miniworld" and not data_root and (folder / "meta.json").is_file():
        return _checked(PreparedClips.load(folder))
    make_folder(folder.parent)
    with FileLock(folder.with_name(folder.name + ".lock")):
        source, labeller = _source(profile, config, data_root, workers, dataset)
        clips = prepare(
            source,
            folder,
            frames=config.frames,
            size=config.size,
            sampling=config.sampling,
            workers=workers,
            cluster=cluster,
            scene_labeller=labeller,
        )
    return _checked(clips)


def _source(
    profile: Profile, config: ModelConfig, data_root: str | Path | None, workers: int, dataset: str
) -> tuple[ReleaseSource | MapillarySource, Places365Labeller | None]:
    """The clips of a data set, and what labels their scenes where the data set does not."""
    if dataset == "cityguessr68k":
        release = ReleaseSource(release_root(profile, data_root, workers), scenes=config.scenes)
        return release, None if release.synthetic or config.scenes == len(SCENES) else _labeller(config.scenes)
    root = mapillary_root(profile, data_root, workers)
    if config.sampling == "released":
        raise InputError(
            "sampling='released' takes every fifth of about 100 frames, and most sequences of Mapillary are shorter; "
            "use sampling='uniform' with this data set"
        )
    # The paper leaves out what is shorter than its model's 15 frames: for a model of 16, that is one more.
    source = MapillarySource(root, min_frames=max(MIN_FRAMES, config.frames), scenes=config.scenes)
    if source.synthetic:
        return source, None
    print(agreement(source), flush=True)
    try:
        return source, _labeller(config.scenes)
    except MissingWeights as error:
        if config.scenes != len(SCENES):
            raise
        print(f"{source.name}: prepared without scenes, which the full model needs: {error}, and delete this set")
        return source, None


def _labeller(scenes: int) -> Places365Labeller:
    """The classifier of scenes, with the sheet of its authors where that stands beside the weights."""
    sheet = paths.data() / "weights" / "scene_hierarchy_places365.csv"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Places365Labeller(hierarchy_csv=sheet if sheet.is_file() else None, device=device, level=scenes)


def _checked(clips: PreparedClips) -> PreparedClips:
    """Refuse a set that lost more than a few clips: an archive that was not unpacked must not pass for a data set."""
    counts = clips.meta["clips"]
    if counts["rejected"] > REJECTED_SHARE * counts["listed"]:
        raise InputError(
            f"{clips.folder}: {counts['rejected']:,} of {counts['listed']:,} clips were rejected, the first because "
            f"{clips.rejected()[0]['reason']}; mend the source (rejected.csv names every clip), delete the folder, and "
            "run again"
        )
    if counts["rejected"]:
        print(f"{clips.name}: {counts['rejected']:,} of {counts['listed']:,} clips rejected, see rejected.csv there")
    return clips


def sources(
    profile: str, data_root: str | Path | None = None, msls_root: str | Path | None = None, workers: int = 2
) -> tuple[ReleaseSource | None, MapillarySource | None]:
    """CityGuessr68k and Mapillary's sequences as they stand on disk, None for one that was not given.

    A synthetic profile has both, rendered where they are not there yet; for a real one `data_root` is the folder of
    CityGuessr68k and `msls_root` that of MSLS.
    """
    scale = profiles.get(profile)
    if not scale.synthetic:
        given = ReleaseSource(data_root) if data_root else None
        return given, MapillarySource(msls_root) if msls_root else None
    release = ReleaseSource(release_root(scale, data_root, workers))
    return release, MapillarySource(mapillary_root(scale, data_root, workers))


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
    if frame["agrees"].all():
        return f"{head}: all {len(frame)} counts as in the paper"
    wrong = frame[~frame["agrees"]]
    differences = [f"{row.quantity} {row.counted:,g}, in the paper {row.paper:,g}" for row in wrong.itertuples()]
    return f"{head}: {len(wrong)} of {len(frame)} counts differ from the paper's ({'; '.join(differences)})"
