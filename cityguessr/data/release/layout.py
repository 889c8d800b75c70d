"""Where the parts of a release stand: in one folder, or in several side by side, as mounted archives are.

The authors publish CityGuessr68k as five squashfs archives, one of label files and four of cities by their first
letter. Each can be mounted and read as it is (`squashfuse`), which saves the disk what all of them unpacked would take.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.data.sources import SPLITS

LABELS_LIST = "labels_list.csv"
ARCHIVES = {"ac": ("a", "c"), "dk": ("d", "k"), "lo": ("l", "o"), "pz": ("p", "z")}
"""The end of an archive's name, as in `CityGuessr68k-ac.sq` -> the first letters of its cities, from and to. The fifth
archive, `CityGuessr68k-meta_files.sq`, has the label files."""

Roots = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""The folder of a release, or several that make it up: a list of paths, or one text with commas between them."""


def split_roots(roots: Roots) -> tuple[Path, ...]:
    """The folders that `roots` names: `"/mnt/ac,/mnt/dk"` names two, unless a folder has that very name.

    Each is found as `paths.found` finds it: `~` is the home folder, and a relative path is looked for in the working
    directory and then in the project's root.
    """
    return tuple(map(paths.found, _named(roots)))


def existing(roots: Roots) -> tuple[Path, ...]:
    """As `split_roots`. Raises InputError, with the places that were looked at, for a folder that is not there."""
    folders = split_roots(roots)
    for given, folder in zip(_named(roots), folders, strict=True):
        if not folder.is_dir():
            raise InputError(f"{paths.nowhere(given)}: no such folder; give the one that holds the data set")
    return folders


def _named(roots: Roots) -> Sequence[str | os.PathLike[str]]:
    if not isinstance(roots, str | os.PathLike):
        return roots
    text = os.fspath(roots)
    several = isinstance(text, str) and "," in text and not paths.found(text).is_dir()
    return [part.strip() for part in text.split(",") if part.strip()] if several else [text]


def find_parts(roots: Roots) -> tuple[Path, ...]:
    """The folders with the parts of a release: those given, or folders directly in them where these have the parts.

    A part is what has `labels_list.csv`, `train` or `val` in it. So the folder above several mounted archives can be
    given in place of all of them, and the root of a MiniWorld in place of its `release`.

    Raises InputError for a folder that does not exist, is given twice or has no part; where it has archives instead,
    with the commands that open them.
    """
    found: list[Path] = []
    for root in existing(roots):
        root = root.resolve()
        parts = [root] if _is_part(root) else []
        if not any((root / split).is_dir() for split in SPLITS):
            parts += sorted(filter(_is_part, _folders(root)))
        if not parts:
            raise InputError(f"{root}: no {LABELS_LIST}; give the folder of a release that has it{_archive_help(root)}")
        found += parts
    if not found:
        raise InputError(f"no folder in {roots!r}; give the folder of a release, with {LABELS_LIST} in it")
    for number, part in enumerate(found):
        if part in found[:number]:
            raise InputError(f"{part}: given twice; name each folder of the release once")
    return tuple(found)


def labels_folder(parts: Sequence[Path]) -> Path:
    """The part with the label files. Raises InputError where none has them, or several have."""
    having = [part for part in parts if (part / LABELS_LIST).is_file()]
    if not having:
        hint = next((hint for part in parts for at in (part, part.parent) if (hint := _archive_help(at))), "")
        raise InputError(
            f"{', '.join(map(str, parts))}: no {LABELS_LIST}; give the folder of a release that has it{hint}"
        )
    if len(having) > 1:
        raise InputError(f"{having[0]} and {having[1]} both have {LABELS_LIST}; give one release, not two")
    return having[0]


class Places:
    """Where clips have their frames, found by looking at the folders of cities and not at those of clips.

    Args:
        parts: the folders of `find_parts`.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self.parts = tuple(map(str, parts))  # texts: paths of 68,269 clips are slow to build as `Path`
        self._of_city: dict[tuple[str, str], tuple[str, ...]] = {}

    def of_city(self, split: str, city: str) -> tuple[str, ...]:
        """The folders of a city's clips: none, one, or one in each of several parts."""
        key = split, city
        if key not in self._of_city:
            folders = (os.path.join(part, split, city) for part in self.parts)
            self._of_city[key] = tuple(folder for folder in folders if os.path.isdir(folder))
        return self._of_city[key]

    def of_clip(self, split: str, city: str, clip_id: str, path: str = "") -> str:
        """The folder of a clip: at its place in the layout, or else where a path points from one of the parts.

        It need not exist: where no part has the city, the place in the first part is given.
        """
        places = [os.path.join(folder, clip_id) for folder in self.of_city(split, city)]
        places = places or [os.path.join(self.parts[0], split, city, clip_id)]
        if len(places) == 1 and not path:
            return places[0]
        places += [os.path.normpath(os.path.join(part, path)) for part in self.parts] if path else []
        return next((place for place in places if os.path.isdir(place)), places[0])


def archive_of(city: str) -> str:
    """The end of the name of the archive that has a city: "ac" for Abu_Dhabi."""
    letter = city[:1].casefold()
    return next((name for name, (first, last) in ARCHIVES.items() if first <= letter <= last), "pz")


def _is_part(folder: Path) -> bool:
    return (folder / LABELS_LIST).is_file() or any((folder / split).is_dir() for split in SPLITS)


def _folders(root: Path) -> Iterable[Path]:
    try:
        return [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{root}: cannot be read ({error.strerror}); give the folder of a release") from None


def archives(folder: Path) -> list[Path]:
    """The squashfs archives that stand in a folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in (".sq", ".squashfs", ".sqfs"))
    except OSError:
        return []


def _archive_help(folder: Path) -> str:
    """What to do with the archives that stand in a folder, for the end of a message; empty where there are none."""
    there = archives(folder)
    if not there:
        return ""
    name = there[0].stem.rsplit("-", 1)[-1]
    return (
        f"; it has {len(there)} archives: mount each in a folder of its own (mkdir -p {folder}/{name} && squashfuse "
        f"{there[0]} {folder}/{name}) and give {folder} again, or unpack all into one folder (unsquashfs -f -d "
        f"{folder}/unpacked {there[0]}) and give that"
    )
