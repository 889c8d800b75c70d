"""From plans to disk: long H.264 videos, and the release layout of CityGuessr68k compiled from those very files.

    root/videos/<City>/<City>_v<k>.mp4
    root/release/<split>/<City>/<City>_<idx>/<n>.jpg      n from 1, not zero-padded
    root/release/labels_list.csv, train_labels.txt, val_labels.txt      21 fields a line: clip, four ids, 16 scenes
    root/release/clips.csv, frame_scenes.csv, gps.csv, world.json       what only a synthetic world can know

`miniworld.mapillary` writes a Mapillary tree; `miniworld.disk` is what the two have in common.
"""

import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.miniworld.plan import VideoPlan
from cityguessr.miniworld.world import VERSION, MiniWorld, MiniWorldConfig
from cityguessr.miniworld.write import categories, jobs
from cityguessr.taxonomy import LEVELS

_CHUNK = 64  # frames rendered and encoded at a time: a paper-scale video never stands in memory whole


def write_cityguessr68k(
    world: MiniWorld, root: str | Path, workers: int = 2, device: str | torch.device = "cpu"
) -> Path:
    """Render, encode and compile a world in `workers` processes; return the folder of the release, `root/release`.

    A world that is complete there is left as it is. An interrupted one goes on with the videos that are missing:
    every file appears under its name only when it is whole, and `release/world.json` comes last.

    Raises InputError where the folder holds another world, may not be written, or the disk is full.
    """
    root = Path(root)
    release = root / "release"
    try:
        if jobs.is_complete(world, release / "world.json"):
            return release
        jobs.claim(world, root)
        need, free = world.estimate() - jobs.so_far(root)[1], shutil.disk_usage(root).free
        if need > free:
            raise InputError(
                f"{root}: the world takes about {need / 1e9:,.1f} GB more and {free / 1e9:,.1f} GB are free; give a "
                "folder on a larger disk"
            )
        start = (MiniWorld, (world.config, world.taxonomy))
        jobs.work(world, root, _write_video, "MiniWorld: videos", workers, device, start)
        _write_tables(world, release)
        shutil.rmtree(root / jobs.PROGRESS)
    except OSError as error:
        raise jobs.explain(error, world, root) from error
    return release


def _write_video(world: MiniWorld, video: VideoPlan, root: Path, device: str) -> None:
    config = world.config
    path = video_path(world, video, root)
    path.parent.mkdir(parents=True, exist_ok=True)

    def chunks() -> Iterator[Tensor]:
        for first in range(0, video.frames, _CHUNK):
            numbers = torch.arange(first, min(first + _CHUNK, video.frames))
            yield world.render(video, config.height, config.width, device, numbers)

    if not path.is_file():
        partial = path.with_name(f".{path.name}.part")
        try:
            encode(chunks(), partial, config.fps)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    compile_clips(world, video, path, root / "release")


def video_path(world: MiniWorld, video: VideoPlan, root: str | Path) -> Path:
    """Where a source video stands: `root/videos/<City>/<City>_v<k>.mp4`."""
    return Path(root) / "videos" / world.taxonomy.folders[video.city] / f"{video.video_id}.mp4"


def encode(chunks: Iterator[Tensor], path: Path, fps: int) -> None:
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


def kept(config: MiniWorldConfig) -> list[int]:
    """Which frames of a clip the release keeps, spread evenly (paper, section 3: 100 of 800-900)."""
    return [i * config.clip_source_frames // config.kept_frames for i in range(config.kept_frames)]


def compile_clips(world: MiniWorld, video: VideoPlan, path: Path, release: Path) -> None:
    """The compilation of the paper's section 3 on one file: decode, split into clips, keep frames, write JPEG."""
    import av
    from av.video.reformatter import VideoReformatter

    config = world.config
    wanted = {clip.first_frame + frame: (clip, n) for clip in video.clips for n, frame in enumerate(kept(config), 1)}
    city = world.taxonomy.folders[video.city]
    folders = {clip.clip_id: release / clip.split / city / clip.clip_id for clip in video.clips}
    partial = {clip_id: folder.with_name(f".{folder.name}.part") for clip_id, folder in folders.items()}
    try:
        for folder in partial.values():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        found, converter = 0, VideoReformatter()  # one for all frames: setting one up costs as much as a conversion
        with av.open(str(path)) as container:
            container.streams.video[0].thread_count = 1
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    clip, n = wanted[number]
                    (partial[clip.clip_id] / f"{n}.jpg").write_bytes(
                        _jpeg(converter.reformat(frame, format="rgb24"), config.quality)
                    )
                    found += 1
        if found != len(wanted):
            raise InputError(f"{path}: {found} of {len(wanted)} frames could be read; remove the file and write again")
        for clip_id, folder in folders.items():
            shutil.rmtree(folder, ignore_errors=True)
            partial[clip_id].rename(folder)
    finally:
        for folder in partial.values():
            shutil.rmtree(folder, ignore_errors=True)


def _jpeg(frame: "av.VideoFrame", quality: int) -> bytes:  # noqa: F821
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame.to_ndarray()).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _write_tables(world: MiniWorld, release: Path) -> None:
    """Label files and the extra tables, all from the plans; `world.json`, which says that all is there, comes last."""
    taxonomy, config = world.taxonomy, world.config
    rows = taxonomy.rows()
    lines = [[str(row[name]).replace(" ", "_") for name in LEVELS] for row in rows]
    jobs.replace_text(release / "labels_list.csv", jobs.csv_text([[level.capitalize() for level in LEVELS], *lines]))
    labels: dict[str, list[str]] = {"train": [], "val": []}
    clips: list[list] = [["clip", "video", "first_frame", "split"]]
    scenes: list[list] = [["clip", "frame", "scene", "category"]]
    gps: list[list] = [["clip", "frame", "lat", "lon"]]
    for video in world.videos:
        ids = [row[f"{name}_id"] for row in (rows[video.city],) for name in LEVELS]
        categories_ = categories.of_frames(video, world.effects.style(video.city))
        has_place = video.start[0] == video.start[0]
        for clip in video.clips:
            numbers = torch.tensor([clip.first_frame + frame for frame in kept(config)])
            kinds = video.scenes[numbers]
            soft = torch.bincount(kinds, minlength=16).double() / len(kinds)
            labels[clip.split].append(",".join([clip.clip_id, *map(str, ids), *(f"{x:.6g}" for x in soft.tolist())]))
            clips.append([clip.clip_id, video.video_id, clip.first_frame, clip.split])
            both = zip(kinds.tolist(), categories_[numbers].tolist(), strict=True)
            scenes += [[clip.clip_id, n, kind, category] for n, (kind, category) in enumerate(both, 1)]
            if has_place:
                track_ = video.gps[numbers].tolist()
                gps += [[clip.clip_id, n, f"{lat:.6f}", f"{lon:.6f}"] for n, (lat, lon) in enumerate(track_, 1)]
    for split, lines_ in labels.items():
        jobs.replace_text(release / f"{split}_labels.txt", "".join(line + "\n" for line in lines_))
    for name, table in (("clips", clips), ("frame_scenes", scenes), ("gps", gps)):
        jobs.replace_text(release / f"{name}.csv", jobs.csv_text(table))
    about = {
        "name": "MiniWorld",
        "synthetic": True,
        "version": VERSION,
        "fingerprint": world.fingerprint,
        "seed": config.seed,
        "config": dataclasses.asdict(config),
        "videos": len(world.videos),
        "clips": len(clips) - 1,
    }
    jobs.replace_text(release / "world.json", json.dumps(about, indent=2) + "\n")
