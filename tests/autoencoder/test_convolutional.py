"""Encoder and decoder: sizes, channels, factors, parameter counts, and what is kept in bounds."""

from itertools import product

import pytest
import torch

from carrara.autoencoder import Kl, KlConfig, VqConfig, measure
from carrara.seeds import Draws, torch_generator
from carrara.shapes import padded
from carrara.types import Batch

SMALL = {"channels": 8, "multipliers": (1, 2), "blocks": 1}


def kl(shape: tuple[int, ...] = (3, 16, 16), **changes: object) -> Kl:
    with torch_generator(0):
        return KlConfig(**{**SMALL, **changes}).build(shape).eval()


def pictures(count: int, *shape: int) -> torch.Tensor:
    return Draws(5, torch.arange(count)).normal("pictures", *shape).clamp(-1, 1)


def test_stable_diffusions_autoencoder_has_83653863_parameters() -> None:
    with torch.device("meta"):
        stage = KlConfig().build((3, 256, 256))
    assert sum(p.numel() for p in stage.parameters()) == 83_653_863
    assert stage.latent_shape((3, 512, 768)) == (4, 64, 96)


@pytest.mark.parametrize(
    ("levels", "patch", "factor"), [(2, 1, 2), (3, 1, 4), (2, 2, 4), (3, 2, 8), (2, 8, 16), (6, 1, 32)]
)
def test_factors(levels: int, patch: int, factor: int) -> None:
    config = KlConfig(channels=8, multipliers=(1,) * levels, blocks=1, patch=patch)
    assert config.factor == factor
    stage = config.build((3, 64, 64))
    raw = stage.encode_raw(pictures(1, 3, 64, 64))
    assert raw.shape == (1, 8, 64 // factor, 64 // factor)
    assert stage.decode(stage.latents(raw, None)).shape == (1, 3, 64, 64)


@pytest.mark.parametrize(("channels", "size"), list(product((1, 3, 7), ((16, 16), (12, 20), (13, 18)))))
def test_any_channels_and_sizes(channels: int, size: tuple[int, int]) -> None:
    stage, x = kl((channels, *size)), pictures(2, channels, *size)
    z = stage.latents(stage.encode_raw(x), None)
    assert z.shape[1:] == stage.latent_shape((channels, *size)) == (4, -(-size[0] // 2), -(-size[1] // 2))
    assert stage.reconstruct(x, Draws(0, torch.arange(2))).pixels.shape == x.shape


def test_padding_repeats_the_edge() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert padded(x, 4)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert padded(x[..., :2], 2) is not None
    assert torch.equal(padded(x[..., :2], 2), x[..., :2])


@pytest.mark.parametrize(
    ("shape", "words"),
    [((3, 1, 8), "1x8 are smaller than the autoencoder's factor 2"), ((2,), "takes pictures (C, H, W)")],
)
def test_what_it_cannot_take(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError) as error:
        KlConfig(**SMALL).build(shape)
    assert words in str(error.value)


@pytest.mark.parametrize("changes", [{"channels": 6}, {"multipliers": ()}, {"patch": 0}, {"blocks": 0}])
def test_configurations_that_make_no_sense(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        KlConfig(**changes)
    with pytest.raises(ValueError):
        VqConfig(**changes)


def test_a_draw_has_the_posteriors_mean_and_variance() -> None:
    stage = kl()
    mean, log_variance = torch.full((1, 4, 1, 1), 2.0), torch.full((1, 4, 1, 1), -1.0)
    raw = torch.cat([mean, log_variance], dim=1).expand(50_000, -1, -1, -1)
    z = stage.sample(raw, Draws(0, torch.arange(50_000)))
    assert z.mean().item() == pytest.approx(2, abs=0.01)
    assert z.var().item() == pytest.approx(torch.tensor(-1.0).exp().item(), abs=0.01)
    assert torch.equal(stage.sample(raw[:1], None), mean)


def test_the_penalty_is_the_closed_forms_kl() -> None:
    stage, x = kl(), pictures(3, 3, 16, 16)
    made = stage.reconstruct(x, Draws(0, torch.arange(3)))
    mean, log_variance = stage.encode_raw(x).chunk(2, dim=1)
    q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    p = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    nats = torch.distributions.kl_divergence(q, p).flatten(1).sum(1)
    assert torch.allclose(made.penalty, nats / x[0].numel(), atol=1e-6)
    assert torch.allclose(made.logs["kl"], nats / (4 * 8 * 8), atol=1e-5)


def test_whitened_latents_have_mean_0_and_deviation_1_and_decode_to_the_same_picture() -> None:
    stage, x = kl(), pictures(64, 3, 16, 16)
    before = stage.decode(stage.latents(stage.encode_raw(x), None))
    batches = [Batch(x=part, position=torch.arange(16) + 16 * k) for k, part in enumerate(x.split(16))]
    measure(stage, batches, seed=0)
    z = stage.latents(stage.encode_raw(x), Draws(0, torch.arange(64)))
    rows = z.transpose(0, 1).flatten(1)
    assert rows.mean(1).abs().max() < 1e-4
    assert (rows.std(1) - 1).abs().max() < 1e-3
    after = stage.decode(stage.latents(stage.encode_raw(x), None))
    assert torch.allclose(before, after, atol=1e-4)


def test_statistics_of_shares_add_up_to_those_of_the_whole() -> None:
    stage, x = kl(), pictures(32, 3, 16, 16)
    batches = [Batch(x=part, position=torch.arange(8) + 8 * k) for k, part in enumerate(x.split(8))]
    measure(stage, batches, seed=0)
    whole = stage.mean.clone(), stage.std.clone()
    sums: list[torch.Tensor] = []
    for share in (batches[:1], batches[1:]):
        measure(stage, share, seed=0, total=lambda part: sums.append(part.clone()) or part)
    measure(stage, [], seed=0, total=lambda part: part + sums[0] + sums[1])
    assert torch.allclose(stage.mean, whole[0], atol=1e-7)
    assert torch.allclose(stage.std, whole[1], atol=1e-6)


def test_diagnoses() -> None:
    stage = kl()
    assert stage.diagnose({"kl": 30.0, "quietest": 0.3}) == []
    assert "explodes" in stage.diagnose({"kl": 5000.0})[0]
    assert "says nothing" in stage.diagnose({"quietest": 0.001})[0]
    vq = VqConfig(**SMALL, codes=16).build((3, 16, 16))
    assert vq.diagnose({"usage": 0.5, "quietest": 0.3}) == []
    assert "collapses" in vq.diagnose({"usage": 0.01})[0]
