"""Levels lose nothing of data that have so many, and group their one-hot vectors by channel."""

import pytest
import torch

from carrara.autoencoder import Levels, LevelsConfig
from carrara.data import Transform, batch_of, digits


def test_digits_have_17_levels_and_come_back_as_they_are() -> None:
    data = digits()
    batch = batch_of(data, Transform(size=(8, 8), channels=1), range(200))
    stage = LevelsConfig(levels=17).build((1, 8, 8))
    z = stage.latents(stage.encode_raw(batch.x), None)
    assert z.shape == (200, 17, 8, 8) and stage.latent_shape((1, 8, 8)) == (17, 8, 8)
    assert torch.equal(z.sum(1), torch.ones(200, 8, 8)) and set(z.unique().tolist()) == {0.0, 1.0}
    assert set(z.sum((0, 2, 3)).gt(0).tolist()) == {True}, "all levels occur"
    counts = ((batch.x + 1) * 8).round()
    assert torch.equal(z.argmax(1, keepdim=True).float(), counts)
    torch.testing.assert_close(stage.decode(z), batch.x, rtol=0, atol=2.001 / 255)  # of a half, the sheet has the lower


@pytest.mark.parametrize("spatial", [(5,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("levels", [2, 17, 50, 256])
def test_there_and_back(spatial: tuple[int, ...], levels: int) -> None:
    stage = LevelsConfig(levels=levels).build((4, *spatial))
    states = torch.arange(2 * 4 * torch.Size(spatial).numel()).reshape(2, 4, *spatial) * 7 % levels
    x = states * (2 / (levels - 1)) - 1
    z = stage.latents(x, None)
    assert z.shape == (2, *stage.latent_shape((4, *spatial)))
    torch.testing.assert_close(stage.decode(z), x)
    assert torch.equal(z[:, levels : 2 * levels].argmax(1), states[:, 1]), "the second channel's group"
    nearly = x + (torch.arange(x.numel()).reshape(x.shape) % 3 - 1) * 0.9 / (levels - 1)
    assert torch.equal(stage.latents(nearly, None), z), "the nearest level"


def test_what_is_masked_is_grey_and_probabilities_show_the_likeliest() -> None:
    stage = Levels(3, 2)
    z = torch.tensor([[0.2, 0.3, 0.5, 0.0, 0.0, 0.0]]).reshape(1, 6, 1)
    assert stage.decode(z).tolist() == [[[1.0], [0.0]]]
    assert stage.levels == 3 and not stage.learned and stage.factor == 1


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="2 to 4096 levels, not 1"):
        LevelsConfig(levels=1)
    with pytest.raises(ValueError, match="these are points"):
        LevelsConfig(levels=4).build((2,)).latent_shape((2,))
