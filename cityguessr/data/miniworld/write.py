"""From plans to disk: long H.264 videos, and the release layout of CityGuessr68k compiled from those very files.

    root/videos/<City>/<City>_v<k>.mp4
    root/release/<split>/<City>/<City>_<idx>/<n>.jpg      n from 1, not zero-padded
    root/release/labels_list.csv, train_labels.txt, val_labels.txt      21 fields a line: clip, four ids, 16 scenes
    root/release/clips.csv, frame_scenes.csv, gps.csv, world.json       what only a synthetic world can know

A writer for another layout (a Mapillary tree, say) starts from `MiniWorld.videos` as this one does.
"""

import csv
import dataclasses
import errno
import io
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cityguessr import paths
from cityguessr.data.miniworld.plan import VideoPlan
from cityguessr.data.miniworld.world import VERSION, MiniWorld, MiniWorldConfig
from cityguessr.errors import InputError
from cityguessr.progress import track
from cityguessr.taxonomy import LEVELS, Taxonomy

_PROGRESS = ".progress"  # one small file for every finished video, gone once the world is complete
_CHUNK = 64  # frames rendered and encoded at a time: a paper-scale video never stands in memory whole


def write(world: MiniWorld, root: str | Path, workers: int = 2, device: str | torch.device = "cpu") -> Path:
    """Render, encode and compile a world in `workers` processes; return the folder of the release, `root/release`.

    A world that is complete there is left as it is. An interrupted one goes on with the videos that are missing:
    every file appears under its name only when it is whole, and `release/world.json` comes last.

    Raises InputError where the folder holds another world, may not be written, or the disk is full.
    """
    root = Path(root)
    release = root / "release"
    try:
        if _is_complete(world, release):
            return release
        _claim(world, root)
        need, free = estimate(world.config, world) - _so_far(root)[1], shutil.disk_usage(root).free
        if need > free:
            raise InputError(
                f"{root}: the world takes about {need / 1e9:,.1f} GB more and {free / 1e9:,.1f} GB are free; give a "
                "folder on a larger disk"
            )
        _write_videos(world, root, workers, device)
        _write_tables(world, release)
        shutil.rmtree(root / _PROGRESS)
    except OSError as error:
        raise _explain(error, world, root) from error
    return release


def _is_complete(world: MiniWorld, release: Path) -> bool:
    marker = release / "world.json"
    if not marker.is_file():
        return False
    try:
        found = json.loads(marker.read_text(encoding="utf-8")).get("fingerprint")
    except ValueError:
        found = "unreadable"
    if found != world.fingerprint:
        raise InputError(
            f"{marker}: this folder holds another MiniWorld (fingerprint {found}, wanted {world.fingerprint}); "
            "give another folder, or remove this one"
        )
    return True


def _claim(world: MiniWorld, root: Path) -> None:
    """Mark a folder as being written with this world, or refuse one that another world has begun."""
    progress = root / _PROGRESS
    progress.mkdir(parents=True, exist_ok=True)
    owner = progress / "fingerprint"
    if owner.is_file() and owner.read_text().strip() not in ("", world.fingerprint):
        raise InputError(
            f"{root}: an unfinished MiniWorld of another configuration stands here; give another folder, or remove it"
        )
    _replace(owner, world.fingerprint)


def _write_videos(world: MiniWorld, root: Path, workers: int, device: str | torch.device) -> None:
    todo = [video for video in world.videos if not (root / _PROGRESS / video.video_id).is_file()]
    if not todo:
        return
    # Videos of one city are worked on in a row by one worker, since they share the city's textures.
    by_city: dict[int, list[str]] = {}
    for video in todo:
        by_city.setdefault(video.city, []).append(video.video_id)
    label = f"MiniWorld: videos written to {os.path.relpath(root, paths.root())}"
    jobs = _in_turn if workers == 1 else _in_parallel
    for _ in track(jobs(world, root, list(by_city.values()), workers, device), label, len(todo)):
        pass


def _in_turn(
    world: MiniWorld, root: Path, groups: list[list[str]], _: int, device: str | torch.device
) -> Iterator[str]:
    """Write group after group in this process; yield the id of each video."""
    threads = torch.get_num_threads()
    videos = {video.video_id: video for video in world.videos}
    try:
        torch.set_num_threads(1)  # the pictures are small: a second thread would wait more than it works
        for group in groups:
            for video_id in group:
                _write_video(world, videos[video_id], root, device)
                yield video_id
    finally:
        torch.set_num_threads(threads)


def _in_parallel(
    world: MiniWorld, root: Path, groups: list[list[str]], workers: int, device: str | torch.device
) -> Iterator[str]:
    """Write groups in several processes; the first failure stops the rest and is raised."""
    # Forked workers would inherit the locks of torch's threads; these start clean.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(min(workers, len(groups)), context, _start, (world.config, world.taxonomy)) as pool:
        futures = [pool.submit(_work, root, group, str(device)) for group in groups]
        try:
            for future in as_completed(futures):
                yield from future.result()
        except BrokenProcessPool:
            raise InputError(
                "a worker that renders MiniWorld ended by force, as it does where memory runs out, or where a script "
                'has no `if __name__ == "__main__":`; run again with workers=1, finished videos are kept'
            ) from None
        finally:
            for future in futures:
                future.cancel()


_worker: dict[str, MiniWorld] = {}  # in a worker process: the world it works on


def _start(config: MiniWorldConfig, taxonomy: Taxonomy) -> None:
    _worker["world"] = MiniWorld(config, taxonomy)


def _work(root: Path, group: list[str], device: str) -> list[str]:
    try:
        return list(_in_turn(_worker["world"], root, [group], 1, device))
    except OSError as error:
        # PyAV's errors of the file system do not survive the way between processes.
        raise OSError(error.errno, error.strerror, error.filename) from None


def _write_video(world: MiniWorld, video: VideoPlan, root: Path, device: str | torch.device) -> None:
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
    _replace(root / _PROGRESS / video.video_id, "done")


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
    _replace(release / "labels_list.csv", _csv([[level.capitalize() for level in LEVELS], *lines]))
    labels: dict[str, list[str]] = {"train": [], "val": []}
    clips: list[list] = [["clip", "video", "first_frame", "split"]]
    scenes: list[list] = [["clip", "frame", "scene"]]
    gps: list[list] = [["clip", "frame", "lat", "lon"]]
    for video in world.videos:
        ids = [row[f"{name}_id"] for row in (rows[video.city],) for name in LEVELS]
        has_place = video.start[0] == video.start[0]
        for clip in video.clips:
            numbers = torch.tensor([clip.first_frame + frame for frame in kept(config)])
            kinds = video.scenes[numbers]
            soft = torch.bincount(kinds, minlength=16).double() / len(kinds)
            labels[clip.split].append(",".join([clip.clip_id, *map(str, ids), *(f"{x:.6g}" for x in soft.tolist())]))
            clips.append([clip.clip_id, video.video_id, clip.first_frame, clip.split])
            scenes += [[clip.clip_id, n, kind] for n, kind in enumerate(kinds.tolist(), 1)]
            if has_place:
                track_ = video.gps[numbers].tolist()
                gps += [[clip.clip_id, n, f"{lat:.6f}", f"{lon:.6f}"] for n, (lat, lon) in enumerate(track_, 1)]
    for split, lines_ in labels.items():
        _replace(release / f"{split}_labels.txt", "".join(line + "\n" for line in lines_))
    for name, table in (("clips", clips), ("frame_scenes", scenes), ("gps", gps)):
        _replace(release / f"{name}.csv", _csv(table))
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
    _replace(release / "world.json", json.dumps(about, indent=2) + "\n")


def _csv(rows: list[list]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _replace(path: Path, text: str) -> None:
    """Write a small file so that it is either the old one or the whole new one."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _explain(error: OSError, world: MiniWorld, root: Path) -> InputError:
    """Turn a failure of the file system into one message: what happened, how far it got, what to do."""
    where = error.filename or root
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"{where}: no permission to write; give a folder of your own, or change its rights")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        done, size = _so_far(root)
        need = size / done * len(world.videos) if done else estimate(world.config, world)
        return InputError(
            f"{root}: the disk is full after {done:,} of {len(world.videos):,} videos ({size / 1e6:,.1f} MB written, "
            f"about {need / 1e6:,.0f} MB needed in all); free some space or give another folder: writing again goes on "
            "from here"
        )
    return InputError(f"{where}: cannot be written ({error.strerror or error}); check the folder and write again")


def _so_far(root: Path) -> tuple[int, int]:
    """Finished videos, and the bytes of all files that stand there."""
    done = len([p for p in (root / _PROGRESS).glob("*_v*") if p.is_file()]) if (root / _PROGRESS).is_dir() else 0
    size = 0
    for folder, _, files in os.walk(root):
        size += sum(os.path.getsize(os.path.join(folder, name)) for name in files)
    return done, size


def estimate(config: MiniWorldConfig, world: MiniWorld) -> int:
    """Bytes that a world takes on disk, roughly: a third of a byte a pixel for JPEG, a twentieth for H.264."""
    pixels = config.height * config.width
    clips = sum(len(video.clips) for video in world.videos)
    frames = sum(video.frames for video in world.videos)
    return int(clips * config.kept_frames * (pixels * 0.33 + 600) + frames * pixels * 0.05)
