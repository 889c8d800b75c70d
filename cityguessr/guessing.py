"""Guess your own clip: one call from a video file to the five likeliest places of every level, on a map.

    >>> import cityguessr
    >>> cityguessr.guess("my_walk.mp4")

Where a trained VidTAG is on the machine, the same guess has a track: a coordinate for frames of the video. At the
command line it is `cityguessr guess my_walk.mp4`.
"""

import base64
import contextlib
import dataclasses
import functools
import html
import io
import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from cartopy.mpl.geoaxes import GeoAxes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base import paths
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.checkpoint import load_released_checkpoint
from cityguessr.data import video
from cityguessr.data.pictures import encode_image
from cityguessr.evaluation import own_tracks
from cityguessr.evaluation.own_tracks import OwnTrack
from cityguessr.figures import maps, own_track
from cityguessr.figures.track_answers import region_label
from cityguessr.measures.sphere import great_circle_km
from cityguessr.model import CityGuessr
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training import opening
from cityguessr.training.finished import FILES, PROVENANCE, Run

SYNTHETIC = (
    "The model behind this guess was trained on MiniWorld, a synthetic world. It knows nothing of the real one: for a "
    "real video its answer shows how the machinery works and means nothing."
)
STAND_INS = "Two small stand-ins took the place of the frozen encoders."


@dataclasses.dataclass(frozen=True, repr=False)
class TrackGuess:
    """A coordinate for frames of a video, in the order of time; as the last line of a notebook's cell it shows itself.

    Attributes:
        answer: the numbers: see `own_tracks.OwnTrack`.
    """

    answer: OwnTrack

    def table(self) -> pd.DataFrame:
        """A row per frame: its time, retrieved and refined coordinates (degrees), and the nearest city it knows.

        `step_km` is the way from the last answer of the frame before.
        """
        answer = self.answer
        kinds = {"retrieved": answer.retrieved} | ({} if answer.refined is None else {"refined": answer.refined})
        columns: dict[str, object] = {"at": answer.frames}
        for kind, latlon in kinds.items():
            columns |= {f"{kind}_lat": latlon[:, 0], f"{kind}_lon": latlon[:, 1]}
        columns["near"] = [region_label(region) for region in answer.regions]
        columns["step_km"] = np.concatenate([[np.nan], great_circle_km(answer.final[:-1], answer.final[1:])])
        return pd.DataFrame(columns, index=pd.Index(range(1, len(answer) + 1), name="frame"))

    def draw(self) -> Figure:
        """The frames, and their answers on a map of the world and of the commonest city: see `own_track.draw`."""
        return own_track.draw(self.answer, f"Where the frames of {self.answer.path.name} are said to be")

    @property
    def _warnings(self) -> list[str]:
        return [SYNTHETIC] * self.answer.synthetic + [STAND_INS] * self.answer.stand_ins

    def __str__(self) -> str:
        answer, steps = self.answer, self.table()["step_km"]
        cities = ", ".join(f"{region_label(region)} {count}" for region, count in answer.counts.items())
        jumps = f"; steps of more than 1 km: {(steps > 1).sum()}" if len(answer) > 1 else ""
        line = f"{answer.path.name}: {len(answer)} frames, a coordinate for each; nearest city: {cities}{jumps}"
        return "\n".join([line, *self._warnings])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        table = self.table().to_html(float_format="{:.4f}".format, na_rep="", escape=True)
        folded = f"<details><summary>Coordinates of every frame</summary>{table}</details>"
        return _page(str(self), self.draw()) + folded


@dataclasses.dataclass(frozen=True, repr=False)
class NoTrack:
    """Why there is no track for a video, and what to run to get one: a line. It draws nothing; its table is empty."""

    reason: str

    def table(self) -> pd.DataFrame:
        return pd.DataFrame()

    def draw(self) -> None:
        return None

    def __str__(self) -> str:
        return self.reason

    __repr__ = __str__


@dataclasses.dataclass(frozen=True, repr=False)
class Guess:
    """Where a video may have been filmed; as the last line of a notebook's cell it shows itself, table and map.

    Attributes:
        path: the video.
        taxonomy: the label tree.
        ids: level -> the k likeliest class ids, best first.
        probabilities: level -> their probabilities: the products of Eq. 5, divided by their sum over the level's
            classes; each level's own softmax for a model that is read as released.
        chain: level -> the class id on the answer's path, from the likeliest city up the tree.
        frames: uint8 (T, size, size, 3), what the model was given.
        synthetic: whether the model was trained on MiniWorld, so that its answers about real videos mean nothing.
        profile: whose VidTAG is asked for the track; None where none is.
        data_root: the real data set of that profile, or None.
    """

    path: Path
    taxonomy: Taxonomy
    ids: dict[str, Tensor]
    probabilities: dict[str, Tensor]
    chain: dict[str, int]
    frames: np.ndarray
    synthetic: bool
    profile: str | None = None
    data_root: str | Path | None = None

    @functools.cached_property
    def track(self) -> TrackGuess | NoTrack:
        """A coordinate for 16 frames of the video, by a VidTAG run that is there, or why not; nothing is trained.

        It is asked at the first use, which takes some seconds. `guess_track` has more to choose. Raises InputError as
        it does, where the reason is not that there is no such run.
        """
        if self.profile is None:
            return NoTrack("no track: this guess was made of no video, or by no run; call `guess_track` with a video")
        try:
            return guess_track(self.path, self.profile, data_root=self.data_root)
        except CannotRun as reason:
            return NoTrack(str(reason))

    @property
    def names(self) -> dict[str, str]:
        """The answer in words: level -> name."""
        return {level: self.taxonomy.names[level][self.chain[level]] for level in LEVELS}

    def table(self) -> pd.DataFrame:
        """The k likeliest places of every level: one row per rank, with name and probability (%) at each level."""
        ranks = range(1, len(self.ids["city"]) + 1)
        columns = {}
        for level in LEVELS:
            rows = zip(self.ids[level].tolist(), self.probabilities[level].tolist(), strict=True)
            cells = [f"{self.taxonomy.names[level][i]} ({100 * p:.1f}%)" for i, p in rows]
            columns[level] = cells + [""] * (len(ranks) - len(cells))
        return pd.DataFrame(columns, index=pd.Index(ranks, name="rank"))

    def draw(self, ax: GeoAxes | None = None, truth: tuple[float, float] | None = None) -> GeoAxes:
        """The likeliest cities on a world map, sized by probability; cities without coordinates are left out.

        Args:
            truth: latitude and longitude in degrees of where the video was filmed, if that is known.

        Raises InputError where no likely city has coordinates.
        """
        placed = self.taxonomy.latlon[self.ids["city"]].isfinite().all(dim=1)
        if not placed.any():
            raise InputError(
                "none of the likeliest cities has coordinates in this taxonomy; add lat and lon to its table"
            )
        cities, shares = self.ids["city"][placed], self.probabilities["city"][placed]
        ax = maps.guess_map(
            maps.world(ax),
            self.taxonomy.latlon[cities].numpy(),
            shares.numpy(),
            path=[self.names[level] for level in LEVELS],
            truth=truth,
            names=[self.taxonomy.names["city"][i] for i in cities.tolist()],
        )
        if self.synthetic:
            note = "trained on MiniWorld, a synthetic world: of a real video this means nothing"
            ax.text(0.5, -0.09, note, transform=ax.transAxes, ha="center", va="top", fontsize=7.5, style="italic")
        return ax

    def __str__(self) -> str:
        path = " > ".join(self.names[level] for level in reversed(LEVELS))
        warning = f"\n{SYNTHETIC}" if self.synthetic else ""
        return f"{self.path.name}: {path} ({100 * self.probabilities['city'][0]:.1f}%){warning}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        figure = None
        with contextlib.suppress(InputError):  # a tree of one's own may be without coordinates
            figure = self.draw().figure
        shown = self.frames[:: max(1, -(-len(self.frames) // 8))]  # eight of them at the most, evenly spread
        content = encode_image(Image.fromarray(np.hstack(list(shown))), "JPEG")
        strip = _image(content, "jpeg", f"Frames of {self.path.name} that the model was given")
        return _page(str(self), figure, strip + self.table().to_html(escape=True))


def _page(text: str, figure: Figure | None, inside: str = "") -> str:
    """Lines of text and a figure, which is closed, as HTML: the first line in bold, the others as remarks.

    Args:
        inside: HTML between the two.
    """
    first, *remarks = (html.escape(line) for line in text.splitlines())
    lines = [f"<p><strong>{first}</strong></p>", *(f"<p><em>{line}</em></p>" for line in remarks), inside]
    if figure is not None:
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=130, bbox_inches="tight")
        plt.close(figure)
        lines += [_image(content.getvalue(), "png", text.splitlines()[0])]
    return "".join(lines)


def _image(content: bytes, kind: str, alt: str) -> str:
    """A picture as HTML, with a text for those who cannot see it."""
    data = base64.b64encode(content).decode()
    return f'<img alt="{html.escape(alt)}" style="max-width: 100%" src="data:image/{kind};base64,{data}">'


def guess(
    path: str | os.PathLike[str],
    run: Run | CityGuessr | str | os.PathLike[str] | None = None,
    k: int = 5,
    *,
    data_root: str | Path | None = None,
) -> Guess:
    """Guess where a video was filmed. Nothing is trained, and nothing is written.

    Args:
        path: any video that ffmpeg reads from one file (MP4, MOV, MKV, WebM, AVI, TS, GIF and more), or a folder of
            numbered pictures. `~` is the home folder; a relative path is looked for in the working directory and then
            in the project's root.
        run: who guesses, by default the run "cityguessr" of this machine; see `guesser`. Or a model such as
            `load_released_checkpoint` returns.
        k: how many places per level.
        data_root: the real data set that the run's profile reads; a track needs it, for the coordinates in it.

    Raises InputError for a file that is missing, no video, or shorter than the model's clips, for a folder without
    pictures, and as `load` does.

    Example:
        >>> import cityguessr
        >>> answer = cityguessr.guess("walk.mp4")
        >>> print(answer)  # the path from continent to city, with its probability
        >>> answer.table()  # the five likeliest places of each level
        >>> answer.draw()  # the likeliest cities on a map
        >>> answer.track  # a coordinate for every frame, where a VidTAG run of that profile is there
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"k is {k!r}; it is how many places of each level are listed, at least 1")
    video.check(path)
    place = paths.found(path)
    if run is None or isinstance(run, str | os.PathLike):
        run = guesser("cityguessr" if run is None else run)
    network = run.model() if isinstance(run, Run) else run
    if not isinstance(network, torch.nn.Module):
        raise InputError(
            f"run is a {type(run).__name__}; give a run, its folder, the name of an experiment, or a model"
        )
    synthetic = isinstance(run, Run) and run.provenance["data"]["synthetic"]
    config = network.config
    frames = video.read_frames(place if place.exists() else path, config.frames, config.size, config.sampling)
    answer = guess_frames(frames, network, k, path=place, synthetic=synthetic)
    profile = run.provenance.get("profile") if isinstance(run, Run) else None
    return dataclasses.replace(answer, profile=profile, data_root=data_root)


def guesser(run: str | os.PathLike[str] = "cityguessr", profile: str = "mini") -> Run | CityGuessr:
    """Who is asked: a run, as `cityguessr.load` opens it, or the model in a checkpoint of the authors.

    Args:
        run: the folder of a run, the `model.safetensors` in it, the name of an experiment, or a checkpoint file.
        profile: for a name, the scale that it was trained at.
    """
    place = paths.found(run)
    if place.is_file() and place.name not in (*FILES, PROVENANCE):
        return load_released_checkpoint(place)
    return opening.load(run, profile=profile)


def guess_track(
    path: str | Path,
    profile: str = "mini",
    frames: int | None = own_tracks.FRAMES,
    *,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
) -> TrackGuess:
    """A coordinate for frames of a video, by a VidTAG run that is on this machine: nothing is trained.

    Args:
        path: a video file, or a folder of numbered pictures.
        profile: the run's; the one of the present code comes first.
        frames: how many, spread evenly over the whole; all where there are fewer. None: one a second of a video, and
            every picture of a folder.
        data_root: the real data set of that profile, of whose coordinates the gallery is made.
        allow_downloads: whether the encoders' weights may be fetched.

    Raises CannotRun where there is no such run, and says what makes one; MissingWeights; and InputError, naming the
    file, for a video or a picture that is missing, damaged or none.

    Example:
        >>> print(guess_track("drive.mp4", "mini"))
    """
    return TrackGuess(own_tracks.load(profile, data_root=data_root, allow_downloads=allow_downloads)(path, frames))


@torch.no_grad()
def guess_frames(
    frames: np.ndarray, model: CityGuessr, k: int = 5, *, path: Path = Path("frames"), synthetic: bool = False
) -> Guess:
    """The same for frames in memory: uint8 (T, size, size, 3), as many and as large as the model takes.

    Everything is read in the mode of the model's configuration: a model configured as released answers and lists
    without the products of Eq. 5.
    """
    batch = torch.from_numpy(frames).permute(0, 3, 1, 2)[None]  # (1, T, 3, H, W)
    logits = model.eval()(batch.to(next(model.parameters()).device)).logits
    taxonomy, mode = model.taxonomy, model.config.evaluation
    shares = hierarchy.probabilities(logits, taxonomy, mode)
    best = {level: share[0].cpu().topk(min(k, share.shape[1])) for level, share in shares.items()}
    return Guess(
        path=path,
        taxonomy=taxonomy,
        ids={level: top.indices for level, top in best.items()},
        probabilities={level: top.values for level, top in best.items()},
        chain={level: int(i) for level, i in hierarchy.predict(logits, taxonomy, mode).items()},
        frames=frames,
        synthetic=synthetic,
    )


if __name__ == "__main__":  # it would end in silence
    sys.exit("this module is no command; write: cityguessr guess my_walk.mp4")
