"""How fast clips of full-size JPEG frames are prepared, beside the loader that the authors released.

    python -m cityguessr.speed.preparing [--release FOLDER]

Four ways with the same files, measured in turns, each in one thread: our preparation (decode at a reduced scale,
resize, encode); the released loader, which decodes each frame in full with OpenCV and resizes it with Pillow, again in
every epoch; the floor, decoding at a reduced scale alone; and an epoch from the prepared clips.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from cityguessr.base import threads
from cityguessr.base.errors import InputError
from cityguessr.base.progress import track
from cityguessr.config import ClipFormat
from cityguessr.data.clips import ClipDataset
from cityguessr.data.frames import frame_files
from cityguessr.data.pictures import encode_image, reduced, shrink
from cityguessr.data.prepare import prepare
from cityguessr.data.shards import JPEG_QUALITY
from cityguessr.data.sources import ClipRef
from cityguessr.faces import crowd, scan
from cityguessr.miniworld import MiniWorld
from cityguessr.taxonomy import Taxonomy

WAYS = {
    "prepare": "our preparation",
    "released": "the released loader",
    "floor": "decoding at a reduced scale alone",
    "epoch": "an epoch from prepared clips",
}


def render_clips(folder: Path, clips: int, frames: int, quality: int = 90) -> None:
    """Write MiniWorld's streets as `clips` folders of `<n>.jpg`, 1280 x 720, in the layout of the release.

    One wide picture is rendered for each clip, and the frames pan over it: as large as real ones, and soon made.
    """
    world = MiniWorld()
    videos = crowd.streets(world, min(clips, len(world.videos)))
    for k in track(range(clips), "rendering clips of 1280 x 720", clips):
        video = videos[k % len(videos)]
        clip = folder / "train" / "City" / f"City_{k:04d}"
        clip.mkdir(parents=True)
        wide = crowd.street(world, video, [k // len(videos) % video.frames], width=1280 + 8 * frames)[0]
        for n in range(frames):
            picture = np.ascontiguousarray(wide[:, 8 * n : 8 * n + 1280])
            (clip / f"{n + 1}.jpg").write_bytes(encode_image(Image.fromarray(picture), "JPEG", quality=quality))


def compare(
    folders: Sequence[Path],
    clip_format: ClipFormat,
    work: Path,
    rounds: int = 3,
    report: Callable[[str], None] = print,
) -> dict[str, float]:
    """Clips per second that one core gives in each of `WAYS`, and the two ratios to the released loader.

    Time is the processor's, of all threads of this process, so that others on the machine count little. The files are
    read once before, so that no disk counts.

    Args:
        folders: of the clips' frames.
        work: an empty folder for the prepared set.
        rounds: how often each way is measured; the medians count.
        report: gets a line for each round and each result.

    Returns clips per second by way, `preparation_ratio`, `epoch_ratio`, and `kilobytes` per frame.
    """
    files = [frame_files(folder, clip_format.frames, clip_format.sampling) for folder in folders]
    read = sum(len(file.read_bytes()) for clip in files for file in clip)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with _one_thread():
        clips = prepare(_Folders(folders), work, clip_format, workers=1).split("train")
        ways = _ways(files, clips, clip_format.size)
        for number in range(rounds):
            for way, run in ways.items():
                start = time.process_time()
                run()
                seconds[way].append(time.process_time() - start)
            rates = ", ".join(f"{WAYS[way]} {len(files) / seconds[way][-1]:.1f}" for way in WAYS)
            report(f"round {number + 1} of {rounds}, clips/s on one core: {rates}")
    result = {way: len(files) / statistics.median(taken) for way, taken in seconds.items()}
    result["preparation_ratio"] = statistics.median(_ratios(seconds["released"], seconds["prepare"]))
    result["epoch_ratio"] = statistics.median(_ratios(seconds["released"], seconds["epoch"]))
    result["kilobytes"] = read / 1000 / sum(map(len, files))
    for name, way in (("preparation_ratio", "prepare"), ("epoch_ratio", "epoch")):
        ratios = _ratios(seconds["released"], seconds[way])
        report(
            f"{WAYS[way]}: {result[way]:.1f} clips/s, {result[name]:.2f} times the released loader's "
            f"{result['released']:.1f} (rounds from {min(ratios):.2f} to {max(ratios):.2f})"
        )
    report(
        f"the floor: {result['floor']:.1f} clips/s; {len(files)} clips of {clip_format.frames} frames, "
        f"{result['kilobytes']:.0f} kB per frame, to {clip_format.size} px"
    )
    return result


def _ways(files: Sequence[Sequence[Path]], clips: ClipDataset, size: int) -> dict[str, Callable[[], None]]:
    """What is measured: every clip once, one after the other."""
    out = torch.empty((1, *clips.shape), dtype=torch.uint8)

    def each(do: Callable[[Sequence[Path]], object]) -> Callable[[], None]:
        return lambda: [do(clip) for clip in files] and None

    def epoch() -> None:
        for i in range(len(clips)):
            clips.frames_of([i], out)

    return {
        "prepare": each(lambda clip: [_prepared(file, size) for file in clip]),
        "released": each(lambda clip: torch.stack([_as_released(file, size) for file in clip])),
        "floor": each(lambda clip: [reduced(file, size) for file in clip]),
        "epoch": epoch,
    }


def _prepared(file: Path, size: int) -> bytes:
    """A frame as preparation stores it."""
    picture, content = shrink(file, size)
    return encode_image(picture, "JPEG", quality=JPEG_QUALITY, subsampling=0) if content is None else content


def _as_released(file: Path, size: int) -> torch.Tensor:
    """A frame as the authors' loader makes it: float32 (3, size, size) in [0, 1]; Resize, then ToTensor."""
    full = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    small = np.asarray(Image.fromarray(full).resize((size, size), Image.Resampling.BILINEAR))
    return torch.from_numpy(small.copy()).permute(2, 0, 1).contiguous().float().div(255)


def _ratios(slow: Iterable[float], quick: Iterable[float]) -> list[float]:
    return [a / b for a, b in zip(slow, quick, strict=True)]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV and torch use one thread within the block."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threads.limited(1):
            yield
    finally:
        cv2.setNumThreads(before)


@dataclasses.dataclass
class _Folders:
    """Folders of frames as a source of clips, all of the tree's first city."""

    folders: Sequence[Path]
    name: str = "folders of frames"
    synthetic: bool = False
    text_features: np.ndarray | None = None
    taxonomy: Taxonomy = dataclasses.field(default_factory=Taxonomy.cityguessr68k)

    def clips(self) -> list[ClipRef]:
        labels = tuple(int(ids[0]) for ids in self.taxonomy.chain(torch.tensor([0])).values())
        names = [f"{k:05d}" for k in range(len(self.folders))]
        return [
            ClipRef(name, name, "train", labels, str(folder)) for name, folder in zip(names, self.folders, strict=True)
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure on rendered clips, or on those of a release, and print the rates and ratios."""
    parser = argparse.ArgumentParser(prog="python -m cityguessr.speed.preparing", description=__doc__.splitlines()[0])
    parser.add_argument("--release", type=Path, help="a folder of clips' folders; rendered ones by default")
    parser.add_argument("--clips", type=int, default=40, help="how many, spread over the release (40)")
    parser.add_argument("--frames", type=int, default=16, help="of each clip (16)")
    parser.add_argument("--size", type=int, default=224, help="pixels (224)")
    parser.add_argument("--quality", type=int, default=90, help="of rendered JPEG frames (90)")
    parser.add_argument("--rounds", type=int, default=3, help="(3)")
    chosen = parser.parse_args(arguments)
    for name in ("clips", "frames", "size", "quality", "rounds"):
        if getattr(chosen, name) < 1:
            raise SystemExit(f"--{name} is {getattr(chosen, name)}; it must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = chosen.release
            if source is None:
                source = Path(folder) / "release"
                render_clips(source, chosen.clips, chosen.frames, chosen.quality)
            folders = list(scan.find_clips(source, chosen.clips).values())
            compare(folders, ClipFormat(chosen.frames, chosen.size), Path(folder) / "prepared", chosen.rounds)
        except InputError as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
