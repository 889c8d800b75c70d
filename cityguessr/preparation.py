"""The prepared clips that a profile trains on, made on the spot where they are not there yet."""

import multiprocessing
from pathlib import Path

import torch
from filelock import FileLock

from cityguessr import paths
from cityguessr.data.clips import PreparedClips
from cityguessr.data.files import make_folder
from cityguessr.data.prepare import prepare
from cityguessr.data.release import ReleaseSource
from cityguessr.errors import InputError
from cityguessr.model import ModelConfig
from cityguessr.profiles import Profile

REJECTED_SHARE = 0.05  # of the listed clips; more than these point at the source, not at single files


def miniworld(profile: Profile, data_root: str | Path | None = None, workers: int = 2) -> Path:
    """The folder of the profile's MiniWorld: `videos/` and `release/`, rendered at the first call.

    It is `data/miniworld/<profile>`, or `data_root` when that is given. The paper's size is rendered on a GPU where
    there is one; the small world never is, so that its pictures depend on the processor alone.
    """
    from cityguessr.data.miniworld import MiniWorld, MiniWorldConfig, write

    folder = Path(data_root) if data_root else paths.data() / "miniworld" / profile.name
    config = MiniWorldConfig.mini() if profile.name == "mini" else MiniWorldConfig.paper_scale()
    device = "cuda" if profile.name != "mini" and torch.cuda.is_available() else "cpu"
    make_folder(folder.parent)
    with FileLock(folder.with_name(folder.name + ".lock")):
        write(MiniWorld(config), folder, workers=workers, device=device)
    return folder


def release_root(profile: Profile, data_root: str | Path | None = None, workers: int = 2) -> Path:
    """The folder in the CityGuessr68k layout that the profile reads.

    Raises:
        InputError: for a real data set without `data_root`.
    """
    if profile.source == "miniworld":
        return miniworld(profile, data_root, workers) / "release"
    if not data_root:
        raise InputError(
            f"the profile {profile.name!r} reads the real data set; give its folder as data_root (the one that holds "
            "labels_list.csv, train/ and val/)"
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

    They stand in `data/prepared/<profile>-<sampling>-<frames>x<size>`. A set that is there is not made again, but held
    against its source; without `data_root`, a set of real clips is taken as it is.

    Args:
        data_root: the release to read, for a profile of real data; where MiniWorld is rendered, for the others.
        workers: processes on this machine.
        cluster: the address of a Dask scheduler to prepare on instead, such as "tcp://10.0.0.1:8786".
        dataset: "cityguessr68k".
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker that imports the caller's script
        raise InputError("preparation starts processes: put your script's calls under if __name__ == '__main__':")
    folder = paths.data() / "prepared" / f"{profile.name}-{config.sampling}-{config.frames}x{config.size}"
    if profile.source == "release" and not data_root and (folder / "meta.json").is_file():
        return _checked(PreparedClips.load(folder))
    make_folder(folder.parent)
    with FileLock(folder.with_name(folder.name + ".lock")):
        source = ReleaseSource(release_root(profile, data_root, workers))
        clips = prepare(
            source,
            folder,
            frames=config.frames,
            size=config.size,
            sampling=config.sampling,
            workers=workers,
            cluster=cluster,
        )
    return _checked(clips)


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
