"""The registry: every row of the paper's tables is an experiment, the smallest difference from the full model."""

import dataclasses

import pytest

from cityguessr import hierarchy, paper
from cityguessr.base.errors import InputError
from cityguessr.taxonomy import LEVELS
from cityguessr.training import experiments, profiles

FULL, MINI = profiles.get("cityguessr68k"), profiles.get("mini")


def changed(name: str, profile: profiles.Profile = FULL) -> dict[str, object]:
    """The fields in which an experiment differs from the full model."""
    own, full = (dataclasses.asdict(experiments.get(n).config(profile)) for n in (name, "cityguessr"))
    return {field: value for field, value in own.items() if value != full[field]}


@pytest.mark.parametrize("table", [t for t in paper.TITLES if not t.startswith("vidtag")])
def test_every_row_of_the_paper_has_an_experiment(table: str) -> None:
    rows = experiments.TABLES[table]
    assert {row for row, _ in paper.rows(table)} <= set(rows)
    for name in rows.values():
        experiments.get(name).config(FULL)
        experiments.get(name).config(MINI)


def test_rows_that_differ_in_how_they_are_read_name_known_modes() -> None:
    """Table 4: one system, three readings."""
    for table, modes in experiments.READINGS.items():
        assert set(modes) == set(experiments.TABLES[table])
        assert set(modes.values()) <= set(hierarchy.MODES)


def test_rows_stand_in_the_paper_s_order_before_our_own() -> None:
    for table, rows in experiments.TABLES.items():
        if table not in paper.TITLES:  # a table of ours
            continue
        printed = [row for row in dict.fromkeys(row for row, _ in paper.rows(table)) if row in rows]
        assert list(rows)[: len(printed)] == printed


def test_an_experiment_is_the_smallest_difference() -> None:
    assert changed("scenes_majority") == {"scene_labels": "majority", "text_labels": None}
    assert changed("scenes_soft") == {"text_labels": None}
    assert changed("scenes_soft_tla_city") == {"text_labels": "city", "text_encoder": "clip"}
    assert changed("scenes_soft_tla_city", MINI) == {"text_labels": "city"}
    assert changed("videomae") == {"scene_labels": None, "text_labels": None}
    assert changed("tla_random") == {"text_encoder": "random", "text_dim": 512}  # as wide as CLIP's
    assert changed("tla_random", MINI) == {"text_encoder": "random"}
    assert changed("two_layer_ffn_t") == {"text_layers": 2}
    assert set(changed("timesformer", MINI)) == {"backbone", "pretrained", "scene_labels", "text_labels"}
    assert set(changed("isns", MINI)) == {"system", "backbone", "pretrained", "frame", "scene_labels", "text_labels"}


def test_full_size_names_its_pretrained_weights() -> None:
    published = {
        "cityguessr": "MCG-NJU/videomae-small-finetuned-kinetics",
        "videomae": "MCG-NJU/videomae-small-finetuned-kinetics",
        "timesformer": "facebook/timesformer-base-finetuned-k400",
        "mae_first": "facebook/vit-mae-base",
        "isns": "facebook/vit-mae-base",
        "geodecoder": "facebook/vit-mae-base",
    }
    assert {name: experiments.get(name).config(FULL).pretrained for name in published} == published
    small = {name: experiments.get(name).config(MINI) for name in published}
    assert {config.pretrained for config in small.values()} == {f"miniworld/{c.backbone}" for c in small.values()}
    assert experiments.get("videomae_from_random").config(MINI).pretrained is None


def test_equal_experiments_are_one() -> None:
    """PlaNet is Table 2's random frame, Table S1's 16 scenes and Table S2's first row are Table 3's soft scenes."""
    for profile in (FULL, MINI):
        one = {n: experiments.canonical(experiments.get(n), profile).name for n in experiments.EXPERIMENTS}
        assert one["planet"] == "mae_random"
        assert one["scenes_16"] == one["no_tla"] == "scenes_soft"
        assert one["cityguessr_msls"] == "cityguessr_msls"  # the same model on other data
    assert experiments.canonical(experiments.get("tla_minilm"), MINI).name == "cityguessr"


def test_on_the_real_data_the_text_is_the_release_s_own_and_clip_is_a_row_beside_it() -> None:
    """CLIP is needed for two rows alone: Table S2's, and Table 3's with the cities' names alone."""
    encoders = {name: e.config(FULL).text_encoder for name, e in experiments.EXPERIMENTS.items() if e.dataset != "msls"}
    learned = {name for name in encoders if experiments.get(name).config(FULL).text_labels}
    assert {name for name in learned if encoders[name] == "clip"} == {"tla_clip", "scenes_soft_tla_city"}
    assert encoders["cityguessr"] == encoders["cityguessr_as_released"] == "release"
    assert experiments.canonical("tla_clip", FULL).name == "tla_clip"
    assert experiments.get("cityguessr_msls").config("msls").text_encoder == "clip"  # Mapillary has no label files
    for profile in ("mini", "world68k"):
        assert "release" not in {e.config(profile).text_encoder for e in experiments.EXPERIMENTS.values()}


def test_the_paper_s_equal_rows_are_equal_here() -> None:
    """What the registry trains once, the paper prints twice with the same numbers."""
    same = {("table5", "planet"): ("table2", "mae_random"), ("table_s1", "scenes_16"): ("table3", "scenes_soft")}
    same["table_s2", "tla_clip"] = ("table3", "cityguessr")
    for (table, row), (other, twin) in same.items():
        for level in LEVELS:
            assert paper.value(table, row, "top1", level) == paper.value(other, twin, "top1", level)


def test_contrast_names_what_differs() -> None:
    frame = experiments.contrast("table3", MINI)
    assert list(frame.index) == [row for row in experiments.TABLES["table3"] if row != "cityguessr_as_released"]
    assert frame.loc["scenes_majority"].to_dict() == {
        "scene_labels": "majority",
        "text_labels": "None",
        "pretrained": "miniworld/videomae",
    }


def test_an_unknown_experiment_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match=r"no experiment 'cityguesser'; it is one of .*, such as cityguessr"):
        experiments.get("cityguesser")
    with pytest.raises(InputError, match="no experiment 'x'; it is one of cityguessr, videomae"):
        experiments.get("x")  # like none of them: they are listed


def test_a_profile_may_train_longer_on_fewer_sequences() -> None:
    """The small Mapillary tree has a sixth of the clips; at full size ten epochs hold for both data sets."""
    assert experiments.get("cityguessr_msls").config(FULL).epochs == experiments.get("cityguessr").config(FULL).epochs
    assert experiments.get("cityguessr_msls").config(MINI).epochs > experiments.get("cityguessr").config(MINI).epochs
