"""Tracks of Mapillary Street-Level Sequences, as VidTAG takes them: every city that has coordinates.

The layout is that of `data.mapillary`. VidTAG's MSLS is not CityGuessr's: coordinates are in `raw.csv`, which the six
cities of `test/` do not ship, and the 24 of `train_val/` all count, in CityGuessr68k or not. Sequences have at least 16
frames (paper, as quoted). The split is within cities, by sequence: a gallery made of the training coordinates of a city
then covers its validation. The paper's share is not public.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from cityguessr.base.errors import InputError, one_of
from cityguessr.base.progress import track as progress
from cityguessr.base.tables import read_json
from cityguessr.data.mapillary import PATCH, SideSequence, city_sides, read_places, read_side
from cityguessr.data.pictures import open_image
from cityguessr.tracks.track import Tally, Track, Tracks, split_of

LEAST_FRAMES = 16
NO_COORDINATES = "its city has no raw.csv, so no coordinates"


def read_msls(
    root: str | os.PathLike[str],
    cities: Collection[str] | None = None,
    least: int = LEAST_FRAMES,
    val_share: float = 0.2,
    *,
    check: bool = False,
) -> Tracks:
    """The sequences of an MSLS tree that have coordinates, in the order of their frame numbers.

    Left out and counted are: panoramas; images without coordinates, or at exactly (0, 0), which is what a receiver
    without a fix says; images whose file is missing or empty; sequences of fewer than `least` frames, before or after
    that. The parts of one sequence in `query` and `database` are two tracks of one split. The split goes by a hash of
    city and sequence alone: it does not depend on which others are there, so that a city of very few sequences may have
    none in one of the halves.

    Args:
        root: the folder with `train_val/`, `test/` or both.
        cities: folders to read; where left out, every city with coordinates, the 24 of `train_val/` in the whole.
        least: the fewest frames of a track.
        val_share: the share of the sequences that is for validation, between 0 and 1.
        check: whether every picture is decoded, and those that are damaged left out and counted. That takes a
            millisecond or two a picture; without it, `read_frames` complains of them. The release has some, which its
            patch v1.1 mends.

    Raises InputError, naming file and line, for what is no such tree, a line that makes no sense (a coordinate that is
    no place on Earth, too), a city that is not in the tree or, where it was asked for, has no coordinates.
    """
    root = Path(root).resolve()
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder of MSLS, with train_val/ in it")
    if least < 1:
        raise InputError(f"least is {least}; a track has at least 1 frame, and 16 in the paper")
    split_of("", val_share)  # complains of a wrong share before anything is read
    about = read_json(root / "world.json") if (root / "world.json").is_file() else {}
    sides = list(city_sides(root))
    there = dict.fromkeys(folder for folder, _, _ in sides)
    if cities is not None:
        if isinstance(cities, str):
            raise InputError(f"cities is the text {cities!r}; give a list of folders, such as ['london', 'cph']")
        for name in cities:
            if name not in there:
                raise one_of("city", name, there)
        sides = [side for side in sides if side[0] in cities]
    synthetic, tally = bool(about.get("synthetic")), Tally()
    tracks: list[Track] = []
    for folder, side, place in sides if synthetic else progress(sides, "reading tracks of MSLS, cities' sides"):
        sequences = read_side(folder, side, place)
        if not (place / "raw.csv").is_file():
            if cities is not None:
                raise InputError(f"{place}: no raw.csv, so no coordinates; leave {folder} out of `cities`")
            tally.add(folder, "sequences", NO_COORDINATES, len(sequences), example=place)
            continue
        short = [sequence for sequence in sequences if len(sequence.frames) < least]
        tally.add(
            folder, "sequences", f"fewer than {least} frames", len(short), example=_name(short[0]) if short else ""
        )
        sequences = [sequence for sequence in sequences if len(sequence.frames) >= least]
        for sequence in sequences:
            sequence.order(place / "seq_info.csv")
        read_places(sequences, place / "raw.csv")
        if sequences and not (place / "images").is_dir():
            raise InputError(f"{place}: no images/; unpack the archives of images there, or leave {folder} out")
        files = _files(place / "images") if sequences else {}
        for sequence in sequences:
            keep = np.array(list(_usable(sequence, files, tally, check)), dtype=bool)
            if keep.sum() < least:
                tally.add(folder, "sequences", f"fewer than {least} frames can be used", example=_name(sequence))
                continue
            assert sequence.gps is not None
            pictures = [sequence.images / f"{key}.jpg" for key, kept in zip(sequence.keys, keep, strict=True) if kept]
            split = split_of(f"{folder}/{sequence.key}", val_share)
            tracks.append(Track(_name(sequence), folder, split, sequence.gps[keep], tuple(pictures)))
    return Tracks(
        str(about.get("name") or root.name),
        tuple(tracks),
        tally.frame(),
        synthetic,
        str(about.get("fingerprint") or ""),
    )


def _name(sequence: SideSequence) -> str:
    return f"{sequence.folder}_{sequence.side}_{sequence.key}"


def _files(images: Path) -> dict[str, bool]:
    """File name -> whether there is something in it, for the files of a folder: one look instead of one per image."""
    with os.scandir(images) as entries:
        return {entry.name: entry.is_file() and entry.stat().st_size > 0 for entry in entries}


def _usable(sequence: SideSequence, files: dict[str, bool], tally: Tally, check: bool) -> Iterator[bool]:
    """Whether each image of a sequence can be a frame; the others are counted."""
    assert sequence.gps is not None
    assert sequence.panoramas is not None
    for key, place, panorama in zip(sequence.keys, sequence.gps, sequence.panoramas, strict=True):
        reason, path = "", sequence.images / f"{key}.jpg"
        if panorama:
            reason = "a panorama"
        elif np.isnan(place).any():
            reason = "no coordinates in raw.csv"
        elif not place.any():
            reason = "at exactly (0, 0), no fix"
        elif not files.get(path.name):
            reason = "the picture is missing or empty"
        elif check:
            try:
                open_image(path)
            except InputError:
                reason = f"the picture is damaged ({PATCH})"
        if reason:
            tally.add(sequence.folder, "frames", reason, example=path)
        yield not reason
