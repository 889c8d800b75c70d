"""VidTAG's experiments: published sizes at full scale, stand-ins at the small one."""

import math

import pytest
import torch

from cityguessr.base.errors import CannotRun, InputError
from cityguessr.training import track_experiments
from cityguessr.training.track_experiments import EXPERIMENTS, SCALES
from cityguessr.vidtag import losses
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.encoders import ENCODERS


def test_at_full_size_vidtag_is_the_paper_s() -> None:
    for profile in ("msls", "gama"):
        assert EXPERIMENTS["vidtag"].config(SCALES[profile]) == VidTAGConfig()
    assert [phase.epochs for phase in SCALES["msls"].phases] == [600, 100]
    assert [phase.epochs for phase in SCALES["gama"].phases] == [100, 100]
    assert SCALES["msls"].phases[0].learning_rate == 5e-5
    assert (SCALES["msls"].resolution_km, SCALES["gama"].resolution_km) == (0.1, 0.5)


def test_where_a_city_is_one_point_its_frames_are_no_negatives_of_each_other() -> None:
    """With two equal coordinates in a batch the loss as published cannot fall below ln 2."""
    assert EXPERIMENTS["vidtag"].config(SCALES["cityguessr68k"]) == VidTAGConfig(mask_km=0.0)
    for profile in ("cityguessr68k", "mini_clips"):
        assert SCALES[profile].gallery == "centres"
        assert EXPERIMENTS["geoclip_finetuned"].config(SCALES[profile]).mask_km == 0
        assert "a departure" in SCALES[profile].note
    place = torch.tensor([[51.5, -0.1], [51.5, -0.1], [35.7, 139.7]], dtype=torch.float64)
    certain = torch.eye(3)[[0, 0, 1]]  # both frames of London are sure of London
    loss = losses.contrastive(certain, certain, 100.0)
    assert loss >= 2 / 3 * math.log(2)
    assert losses.contrastive(certain, certain, 100.0, losses.near(place, place, 0.0)) < 1e-6


def test_the_small_profile_of_clips_is_that_of_tracks_but_for_its_data() -> None:
    tracks, clips = (EXPERIMENTS["vidtag"].config(SCALES[name]) for name in ("mini", "mini_clips"))
    assert clips == tracks.replace(mask_km=0.0, sigmas=(1.0, 8.0, 256.0))  # nothing is finer than a city there
    assert SCALES["mini_clips"].synthetic
    assert "stand-ins" in SCALES["mini_clips"].note


def test_geoclip_sees_single_frames_of_clip_and_has_its_queue() -> None:
    config = EXPERIMENTS["geoclip_finetuned"].config(SCALES["msls"])
    assert config == VidTAGConfig.geoclip()
    assert (config.features, config.head, config.queue, config.temporal) == (768, (768,), 4096, "none")


@pytest.mark.parametrize("name", ["geoclip_zeroshot", "geoclip_zeroshot_100k"])
def test_zero_shot_is_geoclip_as_released_and_nothing_is_trained(name: str) -> None:
    experiment, msls = EXPERIMENTS[name], SCALES["msls"]
    assert experiment.config(msls) == VidTAGConfig.geoclip(queue=0)
    assert experiment.phases_at(msls) == ()
    assert experiment.start_at(msls) == "geoclip"
    assert experiment.gallery_at(msls) == ("geoclip" if "100k" in name else "regions")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_at_the_small_profile_every_encoder_is_a_stand_in(name: str) -> None:
    experiment, mini = EXPERIMENTS[name], SCALES["mini"]
    if not experiment.trained:
        with pytest.raises(CannotRun, match=r"released image head reads CLIP's own features, .* mini has a stand-in"):
            experiment.config(mini)
        return
    if "siglip" in experiment.encoders:
        with pytest.raises(InputError, match="siglip has no stand-in at the profile mini"):
            experiment.config(mini)
        return
    used = experiment.encoders_at(mini)
    assert all(ENCODERS[encoder].stand_in for encoder in used)
    assert experiment.config(mini).features == sum(ENCODERS[encoder].width for encoder in used)
    assert "stand-ins" in mini.note


def test_no_two_experiments_are_the_same_training() -> None:
    keys = {(e.encoders, str(e.config(SCALES["msls"])), e.start, e.trained, e.gallery) for e in EXPERIMENTS.values()}
    assert len(keys) == len(EXPERIMENTS)


def test_other_names_are_refused() -> None:
    with pytest.raises(InputError, match="no VidTAG experiment 'cityguessr'"):
        track_experiments.get("cityguessr")
    with pytest.raises(InputError, match="no profile with tracks 'midi'"):
        track_experiments.scale("midi")
