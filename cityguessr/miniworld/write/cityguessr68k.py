"""From plans to disk: long H.264 videos, and the release layout of CityGuessr68k compiled from those very files.

    root/videos/<City>/<City>_v<k>.mp4
    root/release/<split>/<City>/<City>_<idx>/<n>.jpg      n from 1, not zero-padded
    root/release/labels_list.csv, train_labels.txt, val_labels.txt      21 fields per line: clip, four ids, 16 scenes
    root/release/clips.csv, frame_scenes.csv, gps.csv, world.json       what only a synthetic world can know

`write.mapillary` writes a Mapillary tree; `write.jobs` is what the two have in common. PyAV, which writes and reads the
videos, is imported inside the functions: a machine that renders and trains without video files need not have it.
"""

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.base.files import write_csv
from cityguessr.miniworld.plan import VideoPlan
from cityguessr.miniworld.world import VERSION, MiniWorld
from cityguessr.miniworld.write import categories, jobs
from cityguessr.taxonomy import LEVELS


def write_cityguessr68k(
    world: MiniWorld, root: str | Path, workers: int | None = None, device: str | torch.device = "cpu"
) -> Path:
    """Render, encode and compile a world in the layout of CityGuessr68k, in `workers` processes.

    A world that is complete there is left as it is. An interrupted one goes on with the videos that are missing:
    every file appears under its name only when it is whole, and `release/world.json` comes last.

    Returns the folder of the release, `root/release`. Raises InputError where the folder holds another world or may not
    be written, and where the disk is full.
    """
    root = Path(root)
    release = root / "release"
    marker = release / "world.json"
    with jobs.writing(world, root, marker) as unfinished:
        if unfinished:
            start = (MiniWorld, (world.config, world.taxonomy))
            jobs.work(world, root, _write_video, "MiniWorld: videos", workers, device, start)
            _write_tables(world, release)
            clips = sum(len(video.clips) for video in world.videos)
            jobs.write_marker(world, marker, "MiniWorld", VERSION, videos=len(world.videos), clips=clips)
    return release


def _write_video(world: MiniWorld, video: VideoPlan, root: Path, device: str) -> None:
    config = world.config
    path = video_path(world, video, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        partial = path.with_name(f".{path.name}.part")
        chunks = torch.arange(video.frames).split(jobs.CHUNK)
        pictures = (world.render(video, config.height, config.width, device, numbers) for numbers in chunks)
        try:
            encode(pictures, partial, config.fps)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    compile_clips(world, video, path, root / "release")


def video_path(world: MiniWorld, video: VideoPlan, root: str | Path) -> Path:
    """Where a source video stands: `root/videos/<City>/<City>_v<k>.mp4`."""
    return Path(root) / "videos" / world.taxonomy.folders[video.city] / f"{video.video_id}.mp4"


def encode(chunks: Iterable[Tensor], path: Path, fps: int) -> None:
    """Encode uint8 pictures (n, height, width, 3), given in chunks, as H.264 (libx264, yuv420p) in an MP4 file."""
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = None
        for chunk in chunks:
            for picture in chunk.numpy():
                if stream is None:
                    stream = container.add_stream("libx264", rate=fps)
                    stream.height, stream.width = picture.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    stream.codec_context.thread_count = 1
                    # x264's macroblock tree gives other bytes from run to run; without it one seed is one file.
                    stream.options = {"crf": "19", "preset": "veryfast", "x264-params": "mbtree=0"}
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())


def compile_clips(world: MiniWorld, video: VideoPlan, path: Path, release: Path) -> None:
    """The compilation of the paper's section 3 on one file: decode, split into clips, keep frames, write JPEG."""
    import av
    from av.video.reformatter import VideoReformatter

    wanted = {frame: (clip, n) for clip in video.clips for n, frame in enumerate(world.kept_frames(clip), 1)}
    city = world.taxonomy.folders[video.city]
    folders = {clip.clip_id: release / clip.split / city / clip.clip_id for clip in video.clips}
    partial = {clip_id: folder.with_name(f".{folder.name}.part") for clip_id, folder in folders.items()}
    try:
        for folder in partial.values():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        written, converter = 0, VideoReformatter()  # one for all frames: setting one up costs as much as a conversion
        with av.open(str(path)) as container:
            container.streams.video[0].thread_count = 1
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    clip, n = wanted[number]
                    picture = converter.reformat(frame, format="rgb24").to_ndarray()
                    (partial[clip.clip_id] / f"{n}.jpg").write_bytes(jobs.as_jpeg(picture, world.config.quality))
                    written += 1
        if written != len(wanted):
            raise InputError(f"{path}: {written} of {len(wanted)} frames could be read; delete it and write again")
        for clip_id, folder in folders.items():
            shutil.rmtree(folder, ignore_errors=True)
            partial[clip_id].rename(folder)
    finally:
        for folder in partial.values():
            shutil.rmtree(folder, ignore_errors=True)


def _write_tables(world: MiniWorld, release: Path) -> None:
    """Label files and the extra tables, all from the plans."""
    rows = world.taxonomy.rows()
    names = [[str(row[level]).replace(" ", "_") for level in LEVELS] for row in rows]
    write_csv(release / "labels_list.csv", [[level.capitalize() for level in LEVELS], *names])
    labels: dict[str, list[list]] = {"train": [], "val": []}
    clips: list[list] = [["clip", "video", "first_frame", "split"]]
    scenes: list[list] = [["clip", "frame", "scene", "category"]]
    gps: list[list] = [["clip", "frame", "lat", "lon"]]
    for video in world.videos:
        ids = [rows[video.city][f"{level}_id"] for level in LEVELS]
        finer = categories.label_frames(video, world.effects.style(video.city))
        has_place = not math.isnan(video.start[0])
        for clip in video.clips:
            numbers = torch.tensor(world.kept_frames(clip))
            kinds = video.scenes[numbers]
            soft = torch.bincount(kinds, minlength=16).double() / len(kinds)
            labels[clip.split].append([clip.clip_id, *ids, *(f"{share:.6g}" for share in soft.tolist())])
            clips.append([clip.clip_id, video.video_id, clip.first_frame, clip.split])
            both = zip(kinds.tolist(), finer[numbers].tolist(), strict=True)
            scenes += [[clip.clip_id, n, kind, category] for n, (kind, category) in enumerate(both, 1)]
            if has_place:
                track = video.gps[numbers].tolist()
                gps += [[clip.clip_id, n, f"{lat:.6f}", f"{lon:.6f}"] for n, (lat, lon) in enumerate(track, 1)]
    for split, lines in labels.items():
        write_csv(release / f"{split}_labels.txt", lines)
    for name, table in (("clips", clips), ("frame_scenes", scenes), ("gps", gps)):
        write_csv(release / f"{name}.csv", table)
