"""Every system of the paper as a named experiment: the smallest difference from the full model.

`EXPERIMENTS` holds them by name, `TABLES` says which experiment gives which row of which table. Two experiments whose
configurations are equal at a profile's scale are one (`canonical`), and are trained once: Table S1's 16 scenes are
Table 3's soft scenes, and PlaNet is Table 2's random frame.
"""

import dataclasses
from collections.abc import Mapping

import pandas as pd

from cityguessr.base.errors import one_of
from cityguessr.config import ModelConfig
from cityguessr.model import evenly
from cityguessr.training import profiles
from cityguessr.training.profiles import Profile

# Checkpoints that the paper's protocol starts from, with the sizes of their transformers.
_MAE = {"pretrained": "facebook/vit-mae-base", "width": 768, "heads": 12}
_TIMESFORMER = {"pretrained": "facebook/timesformer-base-finetuned-k400", "width": 768, "heads": 12}

_BARE = {"scene_labels": None, "text_labels": None}  # a backbone and four heads, nothing else
_NO_TEXT = {"text_labels": None}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One row of a table, or a system that the paper lacks.

    Attributes:
        name: its id, where possible the one that the paper's numbers carry.
        label: as a table prints it where the paper does not.
        changes: the fields of `ModelConfig` in which it differs: what the experiment is about.
        scale: its sizes and weights at full size, where they are not VideoMAE's; a profile may replace them.
        base: "described" or "released", which of the two readings of the method it starts from.
        dataset: one of `datasets.DATASETS`: "cityguessr68k", or "msls" for Table 6.
        recipe: which of the profile's recipes it is trained by, "paper" or "tuned".
        weights: of the losses, where they are not the recipe's: fields of `Recipe`.
    """

    name: str
    label: str
    changes: Mapping[str, object] = dataclasses.field(default_factory=dict)
    scale: Mapping[str, object] = dataclasses.field(default_factory=dict)
    base: str = "described"
    dataset: str = "cityguessr68k"
    recipe: str = "paper"
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def config(self, profile: str | Profile) -> ModelConfig:
        """The model at a profile's scale: the base, its own scale, the profile's, then what the experiment is about."""
        profile = profiles.get(profile)
        base = {"described": ModelConfig.as_described, "released": ModelConfig.as_released}[self.base]()
        on_dataset = profile.dataset_overrides.get(self.dataset, {})
        fields = {**self.scale, **profile.overrides, **on_dataset}
        if profile.starts:
            fields["pretrained"] = profile.starts[self.changes.get("backbone", base.backbone)]
        fields |= self.changes
        if fields.get("text_encoder") == "release" and fields.get("text_labels") == "city":
            fields["text_encoder"] = "clip"  # the release has one vector for all four names of a city together
        return base.replace(**fields)

    def trained_by(self, profile: str | Profile) -> Profile:
        """The profile with the recipe in force that this system is trained by."""
        profile = profiles.get(profile).using(self.recipe)
        return dataclasses.replace(profile, recipe=profile.recipe.replace(**self.weights)) if self.weights else profile

    def offered(self, profile: str | Profile) -> bool:
        """Whether a profile has its data, and its training would say something there.

        A MiniWorld holds out whole videos beside single clips, so that no system needs a split by video of its own.
        """
        profile = profiles.get(profile)
        return self.dataset in profile.datasets and not (profile.synthetic and self.changes.get("split") == "video")


def _mae(frame: str) -> dict[str, object]:
    return {"backbone": "mae", "frame": frame, **_BARE}


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("cityguessr", "CityGuessr (soft scenes, TLA with all hierarchies)"),
        # Table 2: what the backbone sees
        Experiment("videomae", "VideoMAE", _BARE),
        Experiment("mae_first", "MAE, first frame", _mae("first"), _MAE),
        Experiment("mae_mid", "MAE, mid frame", _mae("mid"), _MAE),
        Experiment("mae_last", "MAE, last frame", _mae("last"), _MAE),
        Experiment("mae_random", "MAE, random frame", _mae("random"), _MAE),
        # Table 3: scenes and text
        Experiment("scenes_majority", "majority scenes", {"scene_labels": "majority", **_NO_TEXT}),
        Experiment("scenes_soft", "soft scenes", _NO_TEXT),
        Experiment("scenes_soft_tla_city", "soft scenes, TLA city only", {"text_labels": "city"}),
        # Table 5: the state of the art. The paper gives image systems the frame that serves MAE best: a random one.
        Experiment("planet", "PlaNet", _mae("random"), _MAE),
        Experiment("isns", "ISNs", {"system": "isns", **_mae("random")}, _MAE),
        Experiment(
            "geodecoder",
            "GeoDecoder",
            {"system": "geodecoder", **_mae("random"), "scene_labels": "soft"},
            _MAE,
        ),
        Experiment("timesformer", "TimeSformer", {"backbone": "timesformer", **_BARE}, _TIMESFORMER),
        # Table 6: Mapillary
        Experiment("videomae_msls", "VideoMAE on MSLS", _BARE, dataset="msls"),
        Experiment("cityguessr_msls", "CityGuessr on MSLS", dataset="msls"),
        # Table S1: trained with Eq. 1 and 2 alone. FFN_s narrows in even steps, for 16 columns cannot carry 365 scenes.
        Experiment("scenes_16", "16 scene labels", _NO_TEXT),
        Experiment(
            "scenes_365",
            "365 scene labels",
            {"scene_classes": 365, "scene_widths": tuple(evenly(420, 365, 6)[1:-1]), **_NO_TEXT},
        ),
        # Table S2: text encoders, and two controls that the paper lacks
        Experiment("no_tla", "w/o TLA", _NO_TEXT),
        Experiment("tla_opt", "OPT", {"text_encoder": "opt"}),
        Experiment("tla_bert", "BERT", {"text_encoder": "bert"}),
        Experiment("tla_gpt2", "GPT-2", {"text_encoder": "gpt2"}),
        # CLIP's features made here; on the real data the full model takes those of the release, believed to be CLIP's
        Experiment("tla_clip", "CLIP (text)", {"text_encoder": "clip"}),
        Experiment("tla_minilm", "MiniLM sentence encoder", {"text_encoder": "minilm"}),
        Experiment("tla_random", "random vectors", {"text_encoder": "random"}, {"text_dim": 512}),
        # For real data, where source videos are known or were recovered: no video in both halves
        Experiment("cityguessr_by_video", "CityGuessr, split by source video", {"split": "video"}),
        Experiment("videomae_by_video", "VideoMAE, split by source video", {"split": "video", **_BARE}),
        # The same systems with another recipe, at the same compute
        Experiment("cityguessr_tuned", "CityGuessr, tuned recipe", recipe="tuned"),
        Experiment("videomae_tuned", "VideoMAE, tuned recipe", _BARE, recipe="tuned"),
        # Where the released code departs from the paper, one point at a time and all together
        Experiment("two_layer_ffn_t", "FFN_t of two layers, as released", {"text_layers": 2}),
        Experiment("summed_text_loss", "text loss summed over the batch, as released", {"text_reduction": "sum"}),
        Experiment(
            "no_normalisation",
            "pixels not normalised, as released",
            {"normalise_train": "none", "normalise_eval": "none"},
        ),
        Experiment(
            "cityguessr_as_released", "CityGuessr, as released (frames as the profile has them)", base="released"
        ),
        # Controls, one part of the method at a time
        Experiment("videomae_from_random", "VideoMAE, from random weights", {"pretrained": None, **_BARE}),
        Experiment("mae_average", "MAE, average of all frames", _mae("all"), _MAE),
        Experiment(
            "scene_from_feature", "soft scenes, straight from the feature", {"scene_from": "feature", **_NO_TEXT}
        ),
        Experiment("attention_linear", "one linear layer for the attention", {"attention": "linear"}),
        Experiment("attention_identity", "no attention", {"attention": "identity"}),
        Experiment("scenes_shuffled", "soft scenes of other clips", {"scene_targets": "shuffled", **_NO_TEXT}),
        Experiment("scenes_random", "scenes drawn at random", {"scene_targets": "random", **_NO_TEXT}),
        Experiment("text_shuffled", "text features of other cities", {"text_targets": "shuffled"}),
        Experiment("scene_weight_4", "scene loss times 4", weights={"scene_weight": 4.0}),
        Experiment("text_weight_4", "text loss times 4", weights={"text_weight": 4.0}),
    )
}

_OWN = ("videomae_from_random", "cityguessr_as_released")  # rows of Tables 3 and 5 besides

TABLES: dict[str, dict[str, str]] = {
    "table2": {row: row for row in ("mae_first", "mae_mid", "mae_last", "mae_random", "videomae")},
    "table3": {row: row for row in ("videomae", "scenes_majority", "scenes_soft", "scenes_soft_tla_city", "cityguessr")}
    | {row: row for row in _OWN},
    "table4": dict.fromkeys(("none", "independent", "codependent"), "cityguessr")
    | {"released": "cityguessr_as_released"},
    "table5": {row: row for row in ("planet", "isns", "geodecoder", "timesformer", "videomae", "cityguessr")}
    | {row: row for row in _OWN},
    "table6": {"videomae": "videomae_msls", "cityguessr": "cityguessr_msls"},
    "table_s1": {row: row for row in ("scenes_16", "scenes_365")},
    "table_s2": {row: row for row in ("no_tla", "tla_opt", "tla_bert", "tla_gpt2", "tla_clip")}
    | {row: row for row in ("tla_minilm", "tla_random")},
    "table_s3": {"cityguessr": "cityguessr"},
    # What the paper does not ask: is it this part of the method, or anything in its place?
    "controls": {
        row: row
        for row in (
            *("mae_random", "mae_average", "videomae_from_random", "videomae"),
            *("scenes_soft", "scene_from_feature", "scenes_shuffled", "scenes_random"),
            *("cityguessr", "attention_linear", "attention_identity", "tla_random", "text_shuffled"),
            *("scene_weight_4", "text_weight_4"),
        )
    },
    # VidTAG's table of systems on the same data: those of its rows that are systems of this paper
    "vidtag_cityguessr68k": {
        row: row for row in ("planet", "isns", "geodecoder", "timesformer", "videomae", "cityguessr")
    },
}
"""Table -> its rows, by the id of the paper's numbers -> the experiment that gives them; own rows come last."""

READINGS: dict[str, dict[str, str]] = {
    "table4": {mode: mode for mode in ("none", "independent", "codependent")} | {"released": "traced"}
}
"""Table -> row -> the mode of `hierarchy.MODES` in which its answers are read, where rows differ in just that."""


def get(experiment: str | Experiment) -> Experiment:
    """The experiment of that name; an experiment is given back. Raises InputError, listing the names there are."""
    if isinstance(experiment, Experiment):
        return experiment
    if experiment not in EXPERIMENTS:
        raise one_of("experiment", experiment, EXPERIMENTS, "cityguessr train --help")
    return EXPERIMENTS[experiment]


def canonical(experiment: str | Experiment, profile: str | Profile) -> Experiment:
    """The first experiment of the same configuration, data and recipe at a profile's scale: the one that is trained."""
    experiment = get(experiment)

    def trained(other: Experiment) -> tuple[ModelConfig, str, str, Mapping[str, float]]:
        return other.config(profile), other.dataset, other.recipe, other.weights

    same = (other for other in EXPERIMENTS.values() if trained(other) == trained(experiment))
    return next(same, experiment)


def contrast(table: str, profile: Profile) -> pd.DataFrame:
    """In what the rows of a table differ, as text: a row per system, a column per differing field of `ModelConfig`.

    Rows that follow the released code are left out: in what it differs is a table of its own, in the ledger.
    """
    systems = {row: get(name) for row, name in TABLES[table].items()}
    described = {row: system for row, system in systems.items() if system.base == "described"}
    configs = {row: dataclasses.asdict(system.config(profile)) for row, system in described.items()}
    frame = pd.DataFrame(configs, dtype=object).T.map(str)
    return frame.loc[:, frame.nunique() > 1]
