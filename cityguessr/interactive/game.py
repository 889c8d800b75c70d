"""The guessing game: clips that a run was validated on, to guess before the answer and the model's own are shown."""

from __future__ import annotations

import html
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.data.clips import ClipDataset
from cityguessr.figures import interactive_map, offline_page, pictures, saving
from cityguessr.figures.offline_page import OfflinePage
from cityguessr.figures.style import GUIDE, LEVEL_COLOURS, MUTED
from cityguessr.interactive import rules
from cityguessr.interactive.moving import read, style
from cityguessr.interactive.panels import Panel
from cityguessr.interactive.rules import Round
from cityguessr.interactive.showing import Shown
from cityguessr.scenes import SCENE_GROUPS, SCENES
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.runs import Run

if TYPE_CHECKING:
    from ipywidgets import Widget

AT = (0.0, 0.33, 0.67, 1.0)  # the frames of a clip that are shown, from its first to its last
WIDTH = 270  # pixels
MAX_BYTES = 690_000
NAME, LABEL = "guessing_game.html", "Guessing game"
TITLE = "Which city is it?"


def guessing_game(
    run: Run,
    clips: int | Sequence[int] = 10,
    seed: int = 0,
    *,
    options: int = 5,
    data_root: str | Path | None = None,
) -> Game:
    """A game of validation clips: you guess, then the answer and the model's guess are shown.

    A city is shown by a frame of a training clip from another video than the clip in question, where there is one.
    MiniWorld's clips to guess are drawn anew at reading size, which takes about half a second each; the pictures of the
    options are frames as the model saw them.

    Args:
        run: a trained system; the clips and the model's answers are its own.
        clips: how many, drawn at random; or the numbers of validation clips.
        seed: of everything that is drawn at random; see `rules.deal`.
        options: cities to choose from.
        data_root: the folder of the real release, for pictures larger than the prepared frames.

    Raises InputError as `rules.deal`, and where the clips of the run are gone.

    Example:
        >>> game = interactive.guessing_game(run, clips=10, seed=0)
        >>> game  # shows itself
    """
    prepared, split = run.clips(), run.config.split
    val, train = prepared.split("val", split), prepared.split("train", split)
    cities = set(train.labels["city"].tolist())
    rounds = rules.deal(run.predictions, clips, options, seed, cities)
    profile = run.provenance["profile"]

    def frames(one: Round) -> list[NDArray]:
        return [pictures.of(val, [one.clip], profile, data_root, at=at, width=WIDTH)[0] for at in AT]

    drawn, faces = {}, {}
    for one in rounds:
        drawn[one.clip] = frames(one)
        for city in one.options:
            clip = _example(train, city, val.video_ids[one.clip], random.Random(f"{seed}/{one.clip}/{city}"))
            if clip is not None:
                faces[one.clip, city] = interactive_map.thumbnails(train, [clip], profile, data_root)[city]
    shown = {"synthetic": val.synthetic, "drawn": isinstance(clips, int), "note": f"seed {seed}"}
    return Game(run.taxonomy, rounds, drawn, faces, **shown)


def _example(train: ClipDataset, city: int, video: str, chance: random.Random) -> int | None:
    """A clip of that city to show, out of doors and of another video if there is one; None where there is no clip."""
    own = (train.labels["city"] == city).nonzero()[:, 0].tolist()
    others = [clip for clip in own if train.video_ids[clip] != video] or own
    chance.shuffle(others)
    return next((clip for clip in others if _outdoors(train, clip)), others[0] if others else None)


def _outdoors(clips: ClipDataset, clip: int) -> bool:
    """Whether the middle of a clip shows the open, as far as its scenes say: a tunnel tells little of a city."""
    scenes = clips.frame_scenes(clip)
    if scenes is None or scenes.isnan().any() or scenes.shape[1] != len(SCENES):
        return True
    return int(scenes[len(scenes) // 2].argmax()) >= len(SCENE_GROUPS["indoor"])


class Game(Shown):
    """See `guessing_game`. As the last line of a cell it shows itself, see `showing`.

    Attributes:
        taxonomy: the tree of its cities.
        rounds: its clips, see `rules.Round`.
        chosen: the option chosen in each round that was played with its widgets, by its number; None for none.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        rounds: Sequence[Round],
        frames: Mapping[int, Sequence[NDArray]],
        faces: Mapping[tuple[int, int], NDArray],
        *,
        synthetic: bool,
        drawn: bool = True,
        note: str = "",
    ) -> None:
        """
        Args:
            frames: clip -> uint8 (H, W, 3) each, in the order of time.
            faces: (clip, city) -> uint8 (H, W, 3), a picture of that option; an option may lack one.
            synthetic: whether it shows MiniWorld; it then says so.
            drawn: whether the clips were drawn at random.
            note: a short remark at its foot.

        Raises InputError where there is no round, or a clip has no frame.
        """
        if not rounds:
            raise InputError("a game needs at least one clip")
        if missing := [one.clip for one in rounds if not len(frames.get(one.clip, ()))]:
            raise InputError(f"clip {missing[0]} has no frame to show")
        self.taxonomy, self.rounds = taxonomy, tuple(rounds)
        self.chosen: list[int | None] = []
        self._picked = (
            f"{len(rounds)} validation clip{'s' if len(rounds) > 1 else ''}{' drawn at random' if drawn else ''}"
        )
        self._frames, self._faces, self._synthetic, self._note = frames, faces, synthetic, note

    @property
    def rule(self) -> str:
        """How the clips and the options are chosen, for those who play."""
        wrong = max(len(one.options) for one in self.rounds) - 1
        rivals = min(rules.RIVALS, wrong)
        cities = "the wrong city" if rivals == 1 else f"the {rivals} wrong cities"
        more = f", and {wrong - rivals} drawn at random" if wrong > rivals else ""
        return (
            f"{self._picked}. Options: the true city, {cities} that the model finds likeliest{more}. The small "
            "pictures are of training clips, from other videos where there are any."
        )

    def score(self) -> Panel:
        """The table of the rounds played with its widgets: see `rules.score`."""
        return rules.score(self.rounds, self.chosen, self.taxonomy)

    def page(self) -> OfflinePage:
        parts = {
            "head": offline_page.head(TITLE),
            "title": TITLE,
            "rule": html.escape(self.rule),
            "foot": html.escape(self._foot),
            "style": style(),
            "guide": GUIDE,
            "muted": MUTED,
            "right": LEVEL_COLOURS["country"],
            "wrong": LEVEL_COLOURS["city"],
            "common": read("common.js"),
            "script": read("game.js"),
        }
        for quality in (82, 74, 66, 56, 46, 36, 26):
            data = offline_page.json_text(self._data(quality))
            document = offline_page.filled(read("game.html"), parts | {"data": data})
            if len(document.encode()) <= MAX_BYTES:
                break
        summary = f"{TITLE} {self._picked}. {self._foot}".rstrip(". ") + "."
        return OfflinePage(document, summary, NAME, LABEL, 640, (600, 900), kept=False)

    @property
    def _foot(self) -> str:
        return " · ".join(text for text in (saving.SYNTHETIC_LABEL if self._synthetic else "", self._note) if text)

    def _data(self, quality: int) -> dict[str, Any]:
        names, paths = self.taxonomy.names, self.taxonomy.ancestors
        rounds = []
        for one in self.rounds:
            options = [
                {
                    "name": names["city"][city],
                    "country": names["country"][int(paths["country"][city])],
                    "path": [int(paths[level][city]) for level in LEVELS],
                    "picture": _jpeg(self._faces[one.clip, city], quality) if (one.clip, city) in self._faces else "",
                }
                for city in one.options
            ]
            rounds.append(
                {
                    "frames": [_jpeg(frame, quality) for frame in self._frames[one.clip]],
                    "options": options,
                    "truth": one.options.index(one.truth),
                    "model": one.options.index(one.model),
                    "free": [int(paths[level][one.free]) for level in LEVELS],
                    "verdict": dict(rules.verdict(one, self.taxonomy)),
                }
            )
        return {"levels": LEVELS, "cities": self.taxonomy.size("city"), "rounds": rounds}

    def widget(self) -> Widget:
        from cityguessr.interactive.game_widget import build

        return build(self.rounds, self.taxonomy, self.chosen, self.pictures, f"{self.rule} {self._foot}")

    def pictures(self, number: int) -> tuple[list[str], list[str]]:
        """The frames of a round and the pictures of its options, each JPEG in base64, "" for none."""
        one = self.rounds[number]
        faces = [self._faces.get((one.clip, city)) for city in one.options]
        return (
            [_jpeg(frame, 82) for frame in self._frames[one.clip]],
            ["" if face is None else _jpeg(face, 82) for face in faces],
        )

    def __repr__(self) -> str:
        return f"Game({len(self.rounds)} clips, {len(self.chosen)} played)"


def _jpeg(picture: NDArray, quality: int) -> str:
    return offline_page.jpeg_text(Image.fromarray(np.ascontiguousarray(picture)), quality)
