"""The classifier of noised data: what it sees, and what it refuses."""

from dataclasses import replace

import pytest
import torch

from carrara.backbone import NoiseAwareClassifier, UNetConfig
from carrara.seeds import torch_generator

CONFIG = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), head_width=8)
X = torch.sin(torch.arange(3 * 2 * 8 * 8.0)).reshape(3, 2, 8, 8)


def network() -> NoiseAwareClassifier:
    """With a last layer that says something."""
    with torch_generator(0):
        made = NoiseAwareClassifier(CONFIG, channels=2, classes=5).eval()
        torch.nn.init.normal_(made.out.weight)
        for block in made.modules():  # residual branches begin as nothing
            if isinstance(block, torch.nn.Conv2d):
                torch.nn.init.normal_(block.weight, std=0.1)
    return made


def test_the_scale_of_states_means_nothing_but_their_level_does() -> None:
    ask, alpha, sigma = network(), torch.tensor([0.6, 0.6, 0.6]), torch.tensor([0.8, 0.1, 2.0])
    made = ask(X, alpha, sigma)
    assert made.shape == (3, 5)
    torch.testing.assert_close(ask(7 * X, 7 * alpha, 7 * sigma), made, rtol=1e-4, atol=1e-5)
    assert (ask(X, alpha, 0.5 * sigma) - made).abs().max() > 1e-3


def test_samples_do_not_mix_and_both_ends_of_time_are_finite() -> None:
    ask = network()
    torch.testing.assert_close(
        ask(X, torch.tensor(0.6), torch.tensor(0.8))[1:2], ask(X[1:2], *torch.tensor([0.6, 0.8]))
    )
    for alpha, sigma in ((0.0, 1.0), (1.0, 0.0)):
        assert bool(ask(X, torch.tensor(alpha), torch.tensor(sigma)).isfinite().all())


def test_untrained_it_knows_nothing() -> None:
    fresh = NoiseAwareClassifier(CONFIG, channels=2, classes=5)
    assert bool((fresh(X, torch.tensor(0.6), torch.tensor(0.8)) == 0).all())


def test_tokens_are_refused() -> None:
    looking = UNetConfig(channels=8, multipliers=(1, 1), transformer_depths=(1, 1), context_width=4, head_width=8)
    with pytest.raises(ValueError, match="no tokens"):
        NoiseAwareClassifier(looking, channels=3, classes=2)


def test_patches_are_what_its_first_layer_sees() -> None:
    made = NoiseAwareClassifier(replace(CONFIG, patch=2), channels=2, classes=5)
    assert made.inp.in_channels == 4 * 2
    assert made(X, torch.tensor(0.6), torch.tensor(0.8)).shape == (3, 5)
