"""Guess your own clip: one call from a video file to the five likeliest places of every level, on a map."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from cartopy.mpl.geoaxes import GeoAxes
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base.errors import InputError
from cityguessr.data import video
from cityguessr.figures import maps
from cityguessr.model import CityGuessr
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.runs import Run

SYNTHETIC = (
    "The model behind this guess was trained on MiniWorld, a synthetic world. It knows nothing of the real one: for a "
    "real video its answer shows how the machinery works and means nothing."
)


@dataclasses.dataclass(frozen=True)
class Guess:
    """Where a video may have been filmed.

    Attributes:
        path: the video.
        taxonomy: the label tree.
        ids: level -> the k likeliest class ids, best first.
        probabilities: level -> their probabilities: the products of Eq. 5, divided by their sum over the level's
            classes; each level's own softmax for a model that is read as released.
        chain: level -> the class id on the answer's path, from the likeliest city up the tree.
        frames: uint8 (T, size, size, 3), what the model was given.
        synthetic: whether the model was trained on MiniWorld, so that its answers about real videos mean nothing.
    """

    path: Path
    taxonomy: Taxonomy
    ids: dict[str, Tensor]
    probabilities: dict[str, Tensor]
    chain: dict[str, int]
    frames: np.ndarray
    synthetic: bool

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


def guess(path: str | Path, model: Run | CityGuessr, k: int = 5) -> Guess:
    """Guess where a video was filmed.

    Args:
        path: any video that ffmpeg reads from one file: MP4, MOV, MKV, WebM, AVI, TS, GIF and more.
        model: a run, or a model such as `load_released_checkpoint` returns.
        k: how many places per level.

    Raises InputError for a file that is missing, no video, or shorter than the model's clips.

    Example:
        >>> run = runs.ensure("cityguessr", "mini", 0)
        >>> answer = guess("walk.mp4", run)
        >>> print(answer)  # the path from continent to city, with its probability
        >>> answer.draw()
    """
    network = model.model() if isinstance(model, Run) else model
    synthetic = isinstance(model, Run) and model.provenance["data"]["synthetic"]
    frames = video.read_frames(path, network.config.frames, network.config.size, network.config.sampling)
    return guess_frames(frames, network, k, path=Path(path), synthetic=synthetic)


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
