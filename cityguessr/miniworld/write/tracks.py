"""TrackWorld as a tree of Mapillary Street-Level Sequences, with the place of every image in `raw.csv`.

The layout is that of `write.mapillary`, with the folders of the world's cities alone. The data set that it imitates has
no split; `cityguessr.data.mapillary` draws one from its seed, city by city and by whole sequences (80:20).
"""

from pathlib import Path

import torch
from torch import Tensor

from cityguessr.data.mapillary import cities
from cityguessr.miniworld.tracks import street
from cityguessr.miniworld.write import categories
from cityguessr.miniworld.write.mapillary import Tree, write_tree
from cityguessr.miniworld.write.sequences import Sequence
from cityguessr.miniworld.write.track_world import VERSION, TrackConfig, TrackWorld


def write_tracks(
    world: TrackWorld | TrackConfig,
    root: str | Path,
    workers: int | None = None,
    device: str | torch.device = "cpu",
) -> Path:
    """Render a world of tracks, or that of a configuration, as a Mapillary tree in `workers` processes.

    A tree that is complete there is left as it is. An interrupted one goes on with the sequences that are missing:
    every file appears under its name only when it is whole, and `world.json` comes last. Neither interruptions nor the
    number of workers change a byte.

    Returns the folder of the tree, `root`. Raises InputError where the folder holds another world or may not be
    written, and where the disk is full.
    """
    world = TrackWorld(world) if isinstance(world, TrackConfig) else world
    places = {folder: cities()[folder]["part"] for folder in world.config.cities}
    about = Tree("MiniWorld tracks", "MiniWorld: tracks", VERSION)
    return write_tree(world, Path(root), places, about, lambda sequence: _label(world, sequence), workers, device)


def _label(world: TrackWorld, sequence: Sequence) -> Tensor:
    """The category of every frame, from what is built there."""
    track, districts = sequence.video, world.districts[sequence.folder]
    labels = torch.zeros(track.frames, dtype=torch.int64)
    for plots, style in street.pieces(track, districts):
        there = (track.plot >= plots.start) & (track.plot < plots.stop)
        if there.any():
            labels[there] = categories.label_frames(track, style)[there]
    return labels
