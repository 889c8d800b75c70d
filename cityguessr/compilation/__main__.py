"""The command that compiles long videos.

    python -m cityguessr.compilation my_videos my_places.csv data/mine
    python -m cityguessr.compilation my_videos my_places.csv data/mine --blur --height 720 --split video

Stopped at any moment, the same command goes on.
"""

import argparse
import signal
import sys
from collections.abc import Sequence

from cityguessr.base.errors import InputError
from cityguessr.compilation.compiling import compile_videos
from cityguessr.compilation.settings import SPLITS_BY, TREES, Settings
from cityguessr.faces.blur import Blur


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; see the module's docstring. Returns the exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the pool ends its processes
    try:
        settings = Settings(
            clip_frames=tuple(options.clip_frames), kept=options.kept, seed=options.seed, split=options.split,
            val_share=options.val_share, tree=options.tree, height=options.height, quality=options.quality,
            blur=Blur() if options.blur else None, detector=options.detector,
            blank_share=options.blank_share, synthetic=options.synthetic,
        )  # fmt: skip
        about = compile_videos(options.videos, options.places, options.out, settings, workers=options.workers)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: the same command goes on with the videos that are not finished", file=sys.stderr)
        return 130
    print(summary(about))
    return 0


def summary(about: dict) -> str:
    """What a compilation came to, in a few lines."""
    counts = about["counts"]
    lines = [
        f"{counts['clips']:,} clips ({counts['train']:,} train, {counts['val']:,} val) of {counts['cities']:,} cities, "
        f"split by {about['settings']['split']}"
    ]
    if counts["videos_rejected"] or counts["clips_rejected"]:
        lines.append(
            f"left out, see rejected.csv: videos {counts['videos_rejected']:,}, pieces of others "
            f"{counts['clips_rejected']:,}"
        )
    if counts["faces_blurred"] is None:
        lines.append("faces are not blurred: do not publish these frames (--blur does it)")
    else:
        lines.append(f"{counts['faces_blurred']:,} faces blurred; a detector misses some: look before you publish")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m cityguessr.compilation",
        description="Cut long videos into labelled clips in the layout of CityGuessr68k.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("videos", help="the folder of long videos")
    add("places", help="a CSV file: video, city; and state, country, continent, lat, lon, start, end, split, credit")
    add("out", help="the folder to fill")
    add("--clip-frames", nargs=2, type=int, default=list(default.clip_frames), metavar=("LEAST", "MOST"), help="a clip")
    add("--kept", type=int, default=default.kept, help="frames kept of a clip")
    add("--split", choices=SPLITS_BY, default=default.split, help="what is held out for validation")
    add("--val-share", type=float, default=default.val_share, help="share that is held out")
    add("--tree", choices=TREES, default=default.tree, help="cities to list: the paper's and yours, or yours alone")
    add("--height", type=int, help="at most so many pixels along the shorter side; nothing is enlarged")
    add("--quality", type=int, default=default.quality, help="of the JPEG files")
    add("--blur", action="store_true", help="blur faces before a frame is written")
    add("--detector", choices=("yunet", "retinaface"), default=default.detector, help="what finds them")
    add("--blank-share", type=float, default=default.blank_share, help="of blank frames with which a clip is left out")
    add("--seed", type=int, default=default.seed, help="of clip lengths and split")
    add("--synthetic", action="store_true", help="the videos are rendered, not filmed")
    add("--workers", type=int, help="processes; one for every core by default")
    return parser


if __name__ == "__main__":
    sys.exit(main())
