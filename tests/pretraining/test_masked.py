"""Masked autoencoding: what is hidden, what the loss counts, and what is left when it is over."""

import pytest
import torch
from transformers import VideoMAEModel, ViTMAEModel

from cityguessr.backbones import BACKBONES
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.pretraining import masked
from cityguessr.pretraining.worlds import Clips
from cityguessr.taxonomy import LEVELS
from cityguessr.training.recipe import Recipe

SMALL = ModelConfig(frames=4, size=32, width=24, depth=2, heads=2, pretrained=None)
IMAGES = SMALL.replace(backbone="mae", frame="random")
CONFIGS = {"videomae": SMALL, "mae": IMAGES}


def clips(count: int = 6) -> Clips:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (count, 4, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Clips(frames, {level: torch.arange(count) for level in LEVELS}, dict.fromkeys(LEVELS, count), ("made up",))


def test_the_same_places_are_hidden_at_every_step() -> None:
    mask = masked.tube_mask(clips=50, steps=4, places=16, hidden=14)
    by_step = mask.view(50, 4, 16)
    assert (by_step == by_step[:, :1]).all()
    assert (by_step.sum(dim=2) == 14).all()
    assert len(mask.unique(dim=0)) > 1  # not the same in every clip


@pytest.mark.parametrize(("places", "hidden"), [(196, 176), (16, 14)])
def test_ninety_percent_of_the_tubes_is_rounded_down(places: int, hidden: int) -> None:
    assert masked.hidden_places(masked.SHARES["videomae"], places) == hidden


def test_three_quarters_of_an_images_patches_are_hidden() -> None:
    model = masked.network("mae", IMAGES.replace(size=64))
    assert model(torch.rand(3, 3, 64, 64)).mask.sum(dim=1).tolist() == [12, 12, 12]


def test_the_loss_counts_hidden_cubes_alone_each_by_its_own_mean_and_deviation() -> None:
    model = masked.network("videomae", SMALL).eval()
    frames = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = masked.tube_mask(2, steps=2, places=4, hidden=3, generator=torch.Generator().manual_seed(1))
    mean, deviation = (torch.tensor(line).view(3, 1, 1) for line in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        answer = model((frames - mean) / deviation, bool_masked_pos=mask)
    pieces = masked.cubes(frames, 2, 16)
    target = ((pieces - pieces.mean(dim=2, keepdim=True)) / pieces.std(dim=2, keepdim=True))[mask]
    expected = (answer.logits.flatten() - target.flatten()).square().mean()
    assert answer.loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_cubes_are_put_together_as_they_were_cut() -> None:
    frames = torch.rand(2, 4, 3, 32, 48)
    pieces = masked.cubes(frames, 2, 16)
    assert pieces.shape == (2, 2 * 2 * 3, 2 * 16 * 16, 3)
    assert torch.equal(masked.uncut(pieces, frames, 2, 16), frames)


def test_what_is_not_hidden_stays_as_it_is_in_a_reconstruction() -> None:
    model, frames = masked.network("videomae", SMALL), clips(2).frames
    mask = masked.tube_mask(2, steps=2, places=4, hidden=3)
    given, complete = masked.reconstructed(model, frames, mask)
    for pictures in (given, complete):
        same = (masked.cubes(pictures, 2, 16) == masked.cubes(frames, 2, 16)).flatten(2).all(dim=2)
        assert torch.equal(same, ~mask)
    assert (masked.cubes(given, 2, 16)[mask] == 128).all()


@pytest.mark.parametrize("backbone", masked.SHARES)
def test_the_encoder_takes_all_of_its_weights_from_masked_autoencoding(backbone: str) -> None:
    model = masked.network(backbone, CONFIGS[backbone])
    encoder = BACKBONES[backbone](CONFIGS[backbone]).encoder
    assert isinstance(encoder, {"videomae": VideoMAEModel, "mae": ViTMAEModel}[backbone])
    encoder.load_state_dict(masked.encoder_weights(model))  # strict: none missing, none left over


@pytest.mark.parametrize("backbone", masked.SHARES)
def test_one_seed_gives_the_same_weights(backbone: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        model = masked.network(backbone, CONFIGS[backbone])
        log = masked.train(model, clips(), clips(2), Recipe(batch_size=3, learning_rate=1e-3), 2, 0, lambda line: None)
        states.append((model.state_dict(), [row["loss"] for row in log], [row["held_out"] for row in log]))
    (one, *losses), (other, *again) = states
    assert losses == again
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_timesformer_has_no_masked_autoencoding() -> None:
    with pytest.raises(InputError, match="'timesformer'"):
        masked.network("timesformer", SMALL.replace(backbone="timesformer"))
