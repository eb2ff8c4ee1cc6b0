import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from carrara.autoencoder import Identity, KlConfig
from carrara.autoencoder.tiny import SMALL, TinyDecoder, TinyDecoderConfig, decoded_shape
from carrara.seeds import torch_generator


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def decoder(factor: int, levels: int = 1, channels: int = 3) -> TinyDecoder:
    config = TinyDecoderConfig(widths=(8, 6, 4, 4)[:levels], blocks=(1,) * levels)
    with torch_generator("a tiny decoder"):
        return config.build((2, 4, 5), (channels, 4 * factor, 5 * factor))


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 6, 8, 16, 32])
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_any_factor(factor: int, levels: int) -> None:
    made = decoder(factor, levels)
    assert made(torch.zeros(2, 2, 4, 5)).shape == (2, 3, 4 * factor, 5 * factor)
    assert made.patch * 2 ** len(made.enlarge) == factor


def test_any_size_of_picture_and_any_channels() -> None:
    assert decoder(4, channels=1)(torch.zeros(1, 2, 7, 3)).shape == (1, 1, 28, 12)
    assert decoder(4, channels=4)(torch.zeros(1, 2, 1, 1)).shape == (1, 4, 4, 4)


def test_as_many_levels_as_the_factor_has_doublings() -> None:
    assert [decoder(8, levels).patch for levels in (1, 2, 3, 4)] == [8, 4, 2, 1]
    assert [decoder(factor, 3).patch for factor in (1, 2, 3, 12, 32)] == [1, 1, 3, 3, 8]


def test_about_a_million_parameters_for_stable_diffusion_and_a_quarter_for_small_pictures() -> None:
    assert parameters(TinyDecoderConfig().build((4, 64, 64), (3, 512, 512))) == 1_040_620
    assert parameters(SMALL.build((4, 16, 16), (3, 64, 64))) == 245_900


def test_a_ninth_of_the_full_decoders_operations() -> None:
    """Counted, for the autoencoders of 64 px: what is measured as time varies."""
    full = KlConfig(channels=64, multipliers=(1, 2), patch=2).build((3, 64, 64)).decoder
    small = SMALL.build((4, 16, 16), (3, 64, 64))
    z = torch.zeros(1, 4, 16, 16)
    assert 9 * operations(small, z) < operations(full, z)


def operations(module: nn.Module, z: torch.Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(z)
    return counter.get_total_flops()


def test_the_same_picture_alone_and_among_others() -> None:
    made, z = decoder(4), torch.linspace(-3, 3, 5 * 2 * 16).reshape(5, 2, 4, 4)
    alone = torch.cat([made(z[k : k + 1]) for k in range(5)])
    torch.testing.assert_close(made(z), alone, rtol=1e-5, atol=1e-5)
    assert torch.equal(made(z), made(z))


def test_no_latent_is_too_large() -> None:
    made = decoder(4)
    large = torch.full((1, 2, 4, 4), 50.0)
    torch.testing.assert_close(made(100 * large), made(large))
    assert made(1000 * large).isfinite().all()


def test_it_begins_as_a_single_layer() -> None:
    """Branches start as nothing, so that a deep network without norms learns from its first step on."""
    made, z = decoder(4), torch.linspace(-1, 1, 2 * 16).reshape(1, 2, 4, 4)
    alone = nn.functional.pixel_shuffle(made.out(made.inp(3 * torch.tanh(z / 3)).relu()), 4)
    torch.testing.assert_close(made(z), alone)


def test_pictures_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert decoder(4)(torch.zeros(1, 2, 4, 4)).dtype == torch.float32


@pytest.mark.parametrize(("latent", "shape"), [((2,), (3, 8, 8)), ((2, 4, 4), (3, 16, 18)), ((2, 4, 4), (3, 16, 32))])
def test_what_has_no_factor_is_refused(latent: tuple[int, ...], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"tiny decoder|whole number"):
        TinyDecoderConfig().build(latent, shape)


def test_a_decoder_needs_layers() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        TinyDecoderConfig(widths=(8, 0), blocks=(1, 1))
    with pytest.raises(ValueError, match="as many widths"):
        TinyDecoderConfig(widths=(8, 4), blocks=(1,))


def test_what_the_full_decoder_makes_is_padded() -> None:
    stage = KlConfig(channels=4, multipliers=(1, 1), blocks=1, patch=2).build((3, 18, 13))
    assert decoded_shape(stage, (3, 18, 13)) == (3, 20, 16)
    assert TinyDecoderConfig().build(stage.latent_shape((3, 18, 13)), decoded_shape(stage, (3, 18, 13))).patch == 1
    assert decoded_shape(Identity(), (3, 18, 13)) == (3, 18, 13)
