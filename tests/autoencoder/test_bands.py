"""Encoding and decoding in bands gives what the whole gives, and never holds more than bands of large maps."""

import pytest
import torch
from torch import Tensor, nn

from carrara.autoencoder import Kl, KlConfig, VqConfig, bands
from carrara.seeds import Draws, torch_generator

CONFIGS = {
    "factor 4": ({"channels": 16, "multipliers": (1, 2, 2), "blocks": 1}, (40, 20)),
    "a patch": ({"channels": 8, "multipliers": (2, 1), "blocks": 1, "patch": 2}, (72, 40)),
    "one level, an odd patch": ({"channels": 8, "multipliers": (2,), "blocks": 1, "patch": 3}, (120, 9)),
    "a size that is padded": ({"channels": 8, "multipliers": (1, 1), "blocks": 1}, (71, 33)),
}


def stage(changes: dict[str, object], shape: tuple[int, ...] = (3, 64, 64)) -> Kl:
    """With norms that matter, and no layer at zero."""
    with torch_generator(0), torch.no_grad():
        made = KlConfig(**changes).build(shape).eval()
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return made


def numbers(*shape: int) -> Tensor:
    return Draws(3, torch.arange(2)).normal("numbers", *shape)


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bands of 16 rows."""
    monkeypatch.setattr(bands, "BAND", 1)


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("name", CONFIGS)
def test_bands_give_what_the_whole_gives(name: str) -> None:
    changes, size = CONFIGS[name]
    made, x = stage(changes), numbers(3, *size)
    with torch.no_grad():
        features = made.encoder(x)
        torch.testing.assert_close(bands.encode_in_bands(made.encoder, x), features, rtol=0, atol=1e-4)
        z = numbers(4, *features.shape[2:])
        before = z.clone()
        torch.testing.assert_close(bands.decode_in_bands(made.decoder, z), made.decoder(z), rtol=0, atol=1e-4)
    assert torch.equal(z, before)


def test_tiles_alone_would_not() -> None:
    """Group norms see the whole: a decoded half differs from half of what is decoded, even far from the cut."""
    made, z = stage(CONFIGS["factor 4"][0]), numbers(4, 32, 8)
    z[:, :, 16:] += 2
    with torch.no_grad():
        far = made.decoder(z)[:, :, :16] - made.decoder(z[:, :, :16])[:, :, :16]
    assert far.abs().max().item() > 2 / 255


@pytest.mark.usefixtures("thin")
def test_no_convolution_sees_more_than_a_band() -> None:
    made, seen = stage(CONFIGS["factor 4"][0]), list[int]()
    for layer in [*made.encoder.modules(), *made.decoder.modules()]:
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2]))
    with torch.no_grad():
        bands.encode_in_bands(made.encoder, numbers(3, 512, 8)[:1])
        assert max(seen) < 3 * bands.FEWEST, "of 512 rows; a halved band needs twice as many, and a few beside them"
        seen.clear()
        bands.decode_in_bands(made.decoder, numbers(4, 128, 2)[:1])
    assert max(seen[1:]) <= bands.FEWEST + 8
    assert seen[0] == 128, "the latents themselves are small"


@pytest.mark.usefixtures("thin")
def test_a_stage_takes_bands_for_large_pictures_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = stage(CONFIGS["a patch"][0]), numbers(3, 50, 36)
    used = list[str]()
    for name in ("encode_in_bands", "decode_in_bands"):
        own = getattr(bands, name)
        monkeypatch.setattr(bands, name, lambda *a, own=own, name=name: used.append(name) or own(*a))
    with torch.no_grad():
        raw = made.encode_raw(x)
        pixels = made.decode(made.latents(raw, None))
        assert used == []
        monkeypatch.setattr(bands, "MOST_BYTES", 4 * 8 * 25 * 18 - 1)
        torch.testing.assert_close(made.encode_raw(x), raw, rtol=0, atol=1e-4)
        torch.testing.assert_close(made.decode(made.latents(raw, None)), pixels, rtol=0, atol=1e-4)
        assert used == ["encode_in_bands", "decode_in_bands"]
    made.reconstruct(x, Draws(0, torch.arange(2))).pixels.sum().backward()
    assert used == ["encode_in_bands", "decode_in_bands"], "training needs the whole"
    assert made.encoder.inp.weight.grad is not None


@pytest.mark.usefixtures("thin")
def test_bands_of_a_codebooks_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch_generator(0):
        made = VqConfig(channels=8, multipliers=(1, 2), blocks=1, codes=16).build((3, 16, 16)).eval()
        made.codebook.codes.normal_()
    z = numbers(4, 30, 6)
    with torch.no_grad():
        whole = made.decode(z)
        monkeypatch.setattr(bands, "MOST_BYTES", 0)
        torch.testing.assert_close(made.decode(z), whole, rtol=0, atol=1e-4)
