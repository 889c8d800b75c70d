"""The release layout of a compilation: names and splits of its clips, their folders in place, and the tables."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from cityguessr.base.errors import InputError
from cityguessr.base.files import explain, make_folder, write_bytes, write_csv
from cityguessr.base.tables import read_json
from cityguessr.base.weights import sha256
from cityguessr.compilation.segments import Segment
from cityguessr.compilation.splitting import draw_splits
from cityguessr.compilation.trees import Tree
from cityguessr.data.cityguessr68k import LABELS_LIST
from cityguessr.data.sources import SPLITS
from cityguessr.data.video import VideoInfo
from cityguessr.faces.detectors import BOX
from cityguessr.faces.scan import TABLE as DETECTIONS
from cityguessr.taxonomy import LEVELS, Taxonomy

MARKER, NAMES = "compilation.json", "names.json"
_PACKAGES = ("av", "pillow", "opencv-python-headless", "numpy")


def finish(
    out: Path,
    shop: Path,
    segments: Sequence[Segment],
    reports: Sequence[dict[str, Any]],
    infos: Sequence[VideoInfo | None],
    tree: Tree,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Name the clips of finished stretches, move them to their places, and write the tables, `compilation.json` last.

    It can be stopped anywhere and called again.
    """
    if not (shop / NAMES).is_file():
        write_bytes(shop / NAMES, json.dumps(_name_clips(out, segments, reports)).encode())
    clips: list[dict[str, Any]] = read_json(shop / NAMES)["clips"]
    for clip in clips:
        _move(shop / clip["at"], out / clip["split"] / clip["city"] / clip["clip"])
    _write_labels(out, clips, tree.rows(segments[0].settings.tree == "listed"))
    _write_tables(out, clips, segments, reports)
    content = _about(clips, segments, reports, infos, about)
    write_bytes(out / MARKER, json.dumps(content, indent=1).encode() + b"\n")
    shutil.rmtree(shop)
    return content


def digest(path: Path | None) -> str | None:
    """The SHA-256 of a file, None where there is none."""
    return sha256(path) if path is not None and path.is_file() else None


def _name_clips(out: Path, segments: Sequence[Segment], reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Name and split of every clip, in the order of the table: numbers count the clips of a city, from 0."""
    cut = [(segment, clip) for segment, report in zip(segments, reports, strict=True) for clip in report["clips"]]
    if not cut:
        reasons = [r["reason"] or r["rejected"][0][2] for r in reports if r["reason"] or r["rejected"]]
        raise InputError(f"{out}: none of the videos gave a clip; the first: {reasons[0]}")
    places = [segment.place for segment, _ in cut]
    splits = draw_splits(
        [p.city for p in places], [p.video for p in places], [p.split for p in places], segments[0].settings
    )
    if empty := [split for split in SPLITS if split not in splits]:
        raise InputError(
            f"{out}: no clip is left for {empty[0]}, as all {len(cut)} are in the other half; both are needed: give "
            "more or longer videos, shorter clips, split='clip', or the column split in the table"
        )
    numbers: dict[str, int] = {}
    clips = []
    for (segment, clip), place, split in zip(cut, places, splits, strict=True):
        number = numbers[place.city] = numbers.get(place.city, -1) + 1
        at = f"{segment.folder.name}/{clip['folder']}"
        clips.append({"clip": f"{place.city}_{number:04d}", "city": place.city, "split": split, "at": at})
    return {"clips": clips}


def _move(source: Path, target: Path) -> None:
    if target.is_dir():
        return
    make_folder(target.parent)
    try:
        os.rename(source, target)
    except OSError as error:
        raise InputError(explain(target, error)) from None


def _cut(
    clips: Sequence[dict[str, Any]], segments: Sequence[Segment], reports: Sequence[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], Segment, dict[str, Any]]]:
    """Every clip's name, its stretch and what is known of it."""
    cut = [(segment, clip) for segment, report in zip(segments, reports, strict=True) for clip in report["clips"]]
    for clip, (segment, known) in zip(clips, cut, strict=True):
        yield clip, segment, known


def _write_labels(out: Path, clips: Sequence[dict[str, Any]], cities: list[list[str]]) -> None:
    write_csv(out / LABELS_LIST, [[level.capitalize() for level in LEVELS], *cities])
    taxonomy = Taxonomy.from_labels_list(out / LABELS_LIST)  # the ids that every reader of the list will count
    ids = {row["city"]: [row[f"{level}_id"] for level in LEVELS] for row in taxonomy.rows()}
    for split in SPLITS:
        write_csv(out / f"{split}_labels.txt", [[c["clip"], *ids[c["city"]]] for c in clips if c["split"] == split])


def _write_tables(
    out: Path, clips: Sequence[dict[str, Any]], segments: Sequence[Segment], reports: Sequence[dict[str, Any]]
) -> None:
    """What is known of clips besides their labels, and what was left out."""
    settings, known = segments[0].settings, list(_cut(clips, segments, reports))
    write_csv(
        out / "clips.csv",
        [
            ("clip", "video", "first_frame", "split", "frames"),
            *((c["clip"], s.place.video, k["first"], c["split"], k["frames"]) for c, s, k in known),
        ],
    )
    if any(segment.place.latlon for segment in segments):
        numbers = range(1, settings.kept + 1)
        rows = [(c["clip"], n, *s.place.latlon) for c, s, _ in known if s.place.latlon for n in numbers]
        write_csv(out / "gps.csv", [("clip", "frame", "lat", "lon"), *rows])
    remarks = [(c["clip"], n, remark) for c, _, k in known for remark, numbers in k["remarks"].items() for n in numbers]
    write_csv(out / "remarks.csv", [("clip", "frame", "remark"), *remarks])
    rejected = []
    for segment, report in zip(segments, reports, strict=True):
        where = (segment.place.line, segment.place.video)
        if report["reason"]:
            rejected.append((*where, "", "", report["reason"]))
        rejected += [(*where, *row) for row in report["rejected"]]
    write_csv(out / "rejected.csv", [("line", "video", "first_frame", "frames", "reason"), *rejected])
    if settings.blur is not None:
        faces = [
            (f"{c['split']}/{c['city']}/{c['clip']}", f"{n}.jpg", *(round(v, 1) for v in box[:4]), box[4])
            for c, _, k in known
            for n, boxes in k["faces"].items()
            for box in boxes
        ]
        write_csv(out / DETECTIONS, [("clip", "frame", *BOX, "score"), *faces])
    if settings.synthetic:
        write_bytes(out / "world.json", json.dumps({"name": out.name, "synthetic": True}).encode() + b"\n")


def _about(
    clips: Sequence[dict[str, Any]],
    segments: Sequence[Segment],
    reports: Sequence[dict[str, Any]],
    infos: Sequence[VideoInfo | None],
    about: dict[str, Any],
) -> dict[str, Any]:
    """The content of `compilation.json`. Nothing in it depends on when, or how often interrupted, it was made."""
    kept = segments[0].settings.kept
    faces = sum(len(boxes) for _, _, known in _cut(clips, segments, reports) for boxes in known["faces"].values())
    videos = []
    for segment, report, info in zip(segments, reports, infos, strict=True):
        first, end = segment.stretch(info) if info else (0, 0)
        videos.append(
            {"video": segment.place.video, "line": segment.place.line, "city": segment.place.city}
            | {"stamp": report["stamp"], "sha256": report.get("sha256") or digest(segment.place.path)}
            | ({"fps": info.fps, "width": info.width, "height": info.height, "frames": info.frames} if info else {})
            | {"first": first, "end": end, "clips": len(report["clips"]), "credit": segment.place.credit}
        )
    return about | {
        "counts": {
            "videos": len({segment.place.video for segment in segments}),
            "clips": len(clips),
            **{split: sum(clip["split"] == split for clip in clips) for split in SPLITS},
            "frames": len(clips) * kept,
            "cities": len({clip["city"] for clip in clips}),
            "clips_rejected": sum(len(report["rejected"]) for report in reports),
            "videos_rejected": len({s.place.video for s, r in zip(segments, reports, strict=True) if r["reason"]}),
            "faces_blurred": faces if segments[0].settings.blur else None,
        },
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "videos": videos,
    }
