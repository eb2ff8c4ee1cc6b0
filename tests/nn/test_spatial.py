"""Networks of sounds, pictures and volumes: the same names, and the same numbers where the data are the same.

A kernel that is zero but for its middle along one axis does not look along that axis. So a network of n axes and one of
n + 1 axes with such kernels are the same, on data that do not change along the new axis.
"""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.autoencoder import Critic, CriticConfig, Kl, KlConfig, TinyDecoderConfig, Vq, VqConfig, bands
from carrara.autoencoder.tiny import decoded_shape
from carrara.backbone import DiTConfig, NoiseAwareClassifier, UNetConfig
from carrara.nn import RANKS, Upsample, folded, lowered, patchify, unfolded, unpatchify
from carrara.nn.transformer import sincos, turns
from carrara.seeds import Draws, torch_generator
from carrara.shapes import checked_spatial, cropped, resized, spatial_of
from carrara.types import Conditioning

SIZES = {1: (12,), 2: (12, 8), 3: (6, 8, 10)}
"""Places, by how many axes they have."""
SMALL = {"channels": 8, "multipliers": (1, 2), "blocks": 1}
UNETS = {
    "plain": UNetConfig(**SMALL, head_width=4),
    "scale": UNetConfig(**SMALL, attention_levels=(0,), modulation="scale_shift"),
    "context": UNetConfig(**SMALL, attention_levels=(), modulation="context"),
    "tokens": UNetConfig(**SMALL, transformer_depths=(0, 1), context_width=6, heads=2),
}
DITS = {
    "sincos": DiTConfig(width=16, depth=1, heads=2),
    "rotary": DiTConfig(width=16, depth=1, heads=2, positions="rotary"),
}


def numbers(*shape: int) -> Tensor:
    return Draws(3, torch.arange(2)).normal("numbers", *shape)


def awake(build: Callable[[], Any]) -> Any:
    """A network with norms that matter, and no layer at zero."""
    with torch_generator(0), torch.no_grad():
        made = build().eval()
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return made


class Told(nn.Module):
    """A network that is told the same each time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        config = self.network.config
        tokens = None if config.context_width is None else numbers(3, config.context_width)
        cond = Conditioning(vector=numbers(config.vector_width), tokens=tokens)
        return self.network(x, torch.tensor([0.5, -1.0]), cond)


class Rounded(nn.Module):
    """A first stage, from pixels to latents to pixels of the same size."""

    def __init__(self, stage: Kl | Vq) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, x: Tensor) -> Tensor:
        return cropped(self.stage.decode(self.stage.latents(self.stage.encode_raw(x), None)), x.shape[2:])


def vq(shape: tuple[int, ...]) -> Vq:
    stage = VqConfig(**SMALL, codes=8, latent_channels=2).build(shape)
    stage.codebook.codes.copy_(Draws(1, torch.arange(8)).normal("codes", 2))
    return stage


NETWORKS: dict[str, Callable[[tuple[int, ...]], nn.Module]] = {
    **{f"unet {name}": (lambda size, c=config: Told(c.build((2, *size)))) for name, config in UNETS.items()},
    "kl": lambda size: Rounded(KlConfig(**SMALL).build((2, *size))),
    "vq": lambda size: Rounded(vq((2, *size))),
    "critic": lambda size: Critic(CriticConfig(channels=8, layers=1), 2, spatial=len(size)),
    "classifier": lambda size: Classifying(size),
}
"""By the places of samples with two channels; none has patches, whose channels have an order."""


class Classifying(nn.Module):
    def __init__(self, size: tuple[int, ...]) -> None:
        super().__init__()
        self.network = NoiseAwareClassifier(UNETS["plain"], channels=2, classes=3, spatial=len(size))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, torch.tensor(0.8), torch.tensor(0.6))


def widened(weights: dict[str, Tensor], like: nn.Module, axis: int) -> dict[str, Tensor]:
    """Weights with one more axis: kernels have theirs in its middle."""
    made: dict[str, Tensor] = {}
    for name, wanted in like.state_dict().items():
        narrow = weights[name]
        if narrow.ndim == wanted.ndim:
            made[name] = narrow
            continue
        made[name] = torch.zeros_like(wanted)
        made[name].select(axis, (wanted.shape[axis] - 1) // 2).copy_(narrow)
    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_names_are_equal_in_one_two_and_three_dimensions(name: str) -> None:
    sound, picture, volume = (NETWORKS[name](size).state_dict() for size in SIZES.values())
    assert list(sound) == list(picture) == list(volume)
    for key, kernel in picture.items():
        if kernel.ndim == 4:
            assert sound[key].shape == kernel.shape[:3] and volume[key].shape == (*kernel.shape, kernel.shape[-1])
        else:
            assert sound[key].shape == kernel.shape == volume[key].shape


@pytest.mark.parametrize("edge", [8, 9])
@pytest.mark.parametrize(("spatial", "axis"), [(1, 2), (1, 3), (2, 2), (2, 3), (2, 4)])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_one_of_more_dimensions_that_does_not_look_there(
    name: str, spatial: int, axis: int, edge: int
) -> None:
    size = SIZES[spatial]
    places = [*size[: axis - 2], edge, *size[axis - 2 :]]
    narrow, wide = awake(lambda: NETWORKS[name](size)), NETWORKS[name](tuple(places)).eval()
    wide.load_state_dict(widened(narrow.state_dict(), wide, axis))
    x = numbers(2, *size)
    with torch.no_grad():
        y, z = narrow(x), wide(x.unsqueeze(axis).repeat_interleave(edge, axis))
    if name == "critic":  # whose border, of kernels that are 4 wide, is not empty
        z, y = z.narrow(axis, 1, 1), y.unsqueeze(axis)
    elif z.ndim > 2:
        y = y.unsqueeze(axis).expand_as(z)
    torch.testing.assert_close(z, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spatial", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_axis_comes_before_another(name: str, spatial: int) -> None:
    """Data whose axes change places are answered in kind, by a network whose kernels' axes do so."""
    size = SIZES[spatial]
    network, x = awake(lambda: NETWORKS[name](size)), numbers(2, *size)
    with torch.no_grad():
        y = network(x)
        for order in permutations(range(spatial)):
            axes = (0, 1, *(2 + k for k in order))
            turned = NETWORKS[name](tuple(size[k] for k in order)).eval()
            state = network.state_dict().items()
            turned.load_state_dict({key: w.permute(axes) if w.ndim == 2 + spatial else w for key, w in state})
            expected = y.permute(axes) if y.ndim > 2 else y
            torch.testing.assert_close(turned(x.permute(axes)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("patch", [1, 2, 3])
@pytest.mark.parametrize("size", [(13,), (9, 7), (5, 6, 7)])
def test_unets_take_any_size_and_patches(size: tuple[int, ...], patch: int) -> None:
    config = UNetConfig(**SMALL, patch=patch)
    network = config.build((2, *size), image_channels=3, answers=2)
    cond = Conditioning(image=numbers(3, *size))
    assert network(numbers(2, *size), torch.zeros(2), cond).shape == (2, 4, *size)


def test_too_many_levels_for_the_shortest_axis() -> None:
    with pytest.raises(ValueError, match="3 levels are too many for samples of 8x8x3"):
        UNetConfig(channels=8, multipliers=(1, 1, 1)).build((1, 8, 8, 3))


@pytest.mark.parametrize("size", [(13,), (9, 7), (5, 6, 7)])
@pytest.mark.parametrize("name", DITS)
def test_transformers_see_where_patches_are(name: str, size: tuple[int, ...]) -> None:
    """What they answer is of the same shape, and not the same for patches that change places along an axis."""
    network = awake(lambda: DITS[name].build((2, *size)))
    x = numbers(2, *size)

    def answered(x: Tensor) -> Tensor:
        return network(x, torch.zeros(2), Conditioning())

    with torch.no_grad():
        y = answered(x)
        assert y.shape == x.shape
        for axis in range(2, x.ndim):
            swapped = torch.cat(
                [x.narrow(axis, 2, 2), x.narrow(axis, 0, 2), x.narrow(axis, 4, x.shape[axis] - 4)], axis
            )
            back = answered(swapped)
            back = torch.cat([back.narrow(axis, 2, 2), back.narrow(axis, 0, 2)], axis)
            assert not torch.allclose(back, y.narrow(axis, 0, 4), atol=1e-3)


def test_positions_in_one_dimension_are_those_of_a_row() -> None:
    assert torch.equal(sincos((7,), 8), sincos((1, 7), 16)[:, :8])
    assert torch.equal(turns((7,), 8), turns((1, 7), 16)[..., :4])


@pytest.mark.parametrize("width", [12, 16, 64])
def test_positions_in_three_dimensions_are_different_and_fill_the_width(width: int) -> None:
    p = sincos((3, 4, 5), width)
    assert p.shape == (60, width) and torch.cdist(p, p).add(torch.eye(60)).min() > 0.1
    cos, sin = turns((3, 4, 5), width)
    assert cos.shape == (60, width // 2) and torch.allclose(cos**2 + sin**2, torch.ones(()))


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_places_are_folded_into_channels_and_back(spatial: int) -> None:
    size = (6, 9, 12)[:spatial]
    x = torch.arange(2 * 6 * 9 * 12).reshape(2, 1, 6, 9, 12)[(..., *[0] * (3 - spatial))].float()
    y = folded(x, 3)
    assert y.shape == (2, 3**spatial, *(edge // 3 for edge in size))
    assert torch.equal(unfolded(y, 3), x)
    corner = x[(..., *[slice(3)] * spatial)].flatten(2)[:, 0]
    assert torch.equal(y[(..., *[0] * spatial)], corner), "channels are the places of a patch, in their order"


def test_folding_as_torch_does() -> None:
    """Volumes one place deep, in patches that are one deep, would be pictures; here a picture's patches in a volume."""
    x = numbers(3, 4, 6, 6)
    ours = folded(x, 2).unflatten(1, (3, 2, 4))
    theirs = torch.stack([F.pixel_unshuffle(plane, 2).unflatten(1, (3, 4)) for plane in x.unbind(2)], 3)
    assert torch.equal(ours, theirs.unflatten(3, (2, 2)).permute(0, 1, 4, 2, 3, 5, 6))


@pytest.mark.parametrize("size", [(7,), (5, 8), (3, 5, 7)])
def test_what_is_filled_up_is_cut_off(size: tuple[int, ...]) -> None:
    x = numbers(3, *size)
    patches = patchify(x, 4)
    assert patches.shape == (2, 3 * 4 ** len(size), *(-(-edge // 4) for edge in size))
    assert torch.equal(unpatchify(patches, 4, size), x)
    assert patches.square().sum().item() == pytest.approx(x.square().sum().item()), "it is filled up with zeros"


@pytest.mark.parametrize("size", [(5,), (3, 2, 4)])
def test_doubling_sounds_and_volumes(size: tuple[int, ...]) -> None:
    layer, x = Upsample(4, spatial=len(size)).double(), numbers(4, *size).double()
    for edges in (tuple(2 * edge for edge in size), tuple(2 * edge - 1 for edge in size)):
        expected = layer.conv(F.interpolate(x, size=edges, mode="nearest"))
        torch.testing.assert_close(layer(x, edges), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spatial", [1, 3])
def test_the_inference_form_of_any_rank_is_equal_to_the_bit(spatial: int) -> None:
    network = awake(lambda: NETWORKS["unet plain"](SIZES[spatial]))
    x = numbers(2, *SIZES[spatial])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        form = lowered(network, torch.bfloat16)
        assert torch.equal(form(x), network(x))
    convolution = RANKS[spatial].convolution
    assert all(m.weight.dtype == torch.bfloat16 for m in form.modules() if isinstance(m, convolution))


@pytest.mark.parametrize("shape", [(2, 13), (2, 9, 7), (2, 5, 6, 7)])
@pytest.mark.parametrize("patch", [1, 2])
def test_every_axis_shrinks_by_the_factor_and_odd_edges_go_on(shape: tuple[int, ...], patch: int) -> None:
    config = KlConfig(**SMALL, patch=patch, latent_channels=3)
    stage = awake(lambda: config.build(shape))
    f, x = config.factor, numbers(*shape)
    latents = stage.encode_raw(x)
    small = tuple(-(-edge // f) for edge in shape[1:])
    assert stage.latent_shape(shape) == (3, *small) and latents.shape == (2, 6, *small)
    gaps = [(0, 0), (0, 0), *((0, -edge % f) for edge in shape[1:])]
    filled = torch.nn.functional.pad(x, [n for gap in gaps[:1:-1] for n in gap], mode="replicate")
    assert torch.equal(stage.encode_raw(filled), latents)
    made = stage.reconstruct(x, Draws(0, torch.arange(2)))
    assert made.pixels.shape == x.shape and made.penalty.shape == (2,)
    assert decoded_shape(stage, shape) == (2, *(f * edge for edge in small))


@pytest.mark.parametrize("shape", [(2, 120), (2, 40, 6, 5)])
@pytest.mark.parametrize("patch", [1, 2])
def test_bands_of_sounds_and_volumes(shape: tuple[int, ...], patch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "BAND", 1)
    stage = awake(lambda: KlConfig(**SMALL, patch=patch, latent_channels=3).build(shape))
    with torch.no_grad():
        h = stage.encoder(numbers(*shape))
        torch.testing.assert_close(bands.encode_in_bands(stage.encoder, numbers(*shape)), h, rtol=0, atol=1e-4)
        z = numbers(3, *h.shape[2:])
        torch.testing.assert_close(bands.decode_in_bands(stage.decoder, z), stage.decoder(z), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(5,), (3, 4), (2, 3, 2)])
def test_tiny_decoders(size: tuple[int, ...]) -> None:
    whole = tuple(6 * edge for edge in size)
    decoder = TinyDecoderConfig(widths=(8, 4), blocks=(1, 1)).build((3, *size), (2, *whole))
    assert decoder(numbers(3, *size)).shape == (2, 2, *whole)
    with pytest.raises(ValueError, match="makes pictures of maps of latents"):
        TinyDecoderConfig().build((3, *size), (2, 4, *whole))


def test_what_has_no_places_is_refused_by_name() -> None:
    assert [spatial_of(shape) for shape in ((2,), (1, 16), (3, 8, 8), (1, 4, 4, 4))] == [0, 1, 2, 3]
    for shape in ((2,), (1, 2, 2, 2, 2)):
        with pytest.raises(ValueError, match=r"a critic takes pictures .* sounds \(C, L\) and volumes"):
            checked_spatial(shape, "a critic")


@pytest.mark.parametrize("new", [1, 7, 40])
def test_resizing_an_axis_is_resizing_a_picture_that_does_not_change_along_the_other(new: int) -> None:
    x = numbers(2, 16)
    sound, picture = resized(x, (new,)), resized(x[:, :, None].expand(2, 2, 5, 16), (5, new))
    torch.testing.assert_close(sound, picture[:, :, 2], rtol=1e-5, atol=1e-5)
    volume = resized(x[:, :, None, :, None].expand(2, 2, 3, 16, 4), (6, new, 9))
    torch.testing.assert_close(sound, volume[:, :, 3, :, 4], rtol=1e-5, atol=1e-5)
