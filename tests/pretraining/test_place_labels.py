"""How TimeSformer begins as an encoder of images."""

import torch

from cityguessr.backbones import BACKBONES
from cityguessr.pretraining import making, places


def test_a_timesformer_that_starts_from_images_sees_a_still_as_the_encoder_of_images_does() -> None:
    """Of a video in which nothing moves, its class token is that of a single frame."""
    torch.manual_seed(0)
    image, video = (BACKBONES[name](making.config(name)).eval() for name in ("mae", "timesformer"))
    places.start_from_images(video, image)
    torch.nn.init.zeros_(video.encoder.embeddings.time_embeddings)
    for module in (*image.modules(), *video.modules()):  # transformers gives the two another epsilon
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-6
    frame = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        order = torch.arange(16.0).expand(2, -1)
        still = image.encoder(frame[:, 0], noise=order).last_hidden_state[:, 0]
        torch.testing.assert_close(video(frame.expand(-1, 8, -1, -1, -1)), still, atol=1e-5, rtol=1e-4)
