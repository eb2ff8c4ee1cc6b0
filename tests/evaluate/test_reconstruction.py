"""Reconstruction: metrics against independent ones, and moved the right way by damage; the report of each stage."""

import json
from collections.abc import Iterator
from typing import final

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from carrara.autoencoder import FirstStage, IdentityConfig, KlConfig, Perceptual, VaeConfig, VqConfig
from carrara.errors import UserError
from carrara.evaluate import Features, ReconstructionReport, active_channels, psnr, reconstruction, ssim
from carrara.seeds import Draws, torch_generator
from carrara.types import Batch


@final
class Coarse(Features):
    """Features of which everything is known: how bright and dark each part of a picture is."""

    name, width = "4x4 squares", 16

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("nothing", torch.zeros(()), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(pixels.square().mean(1, keepdim=True), 4).flatten(1)


@final
class Plain(Perceptual):
    """The pixels themselves."""

    name = "pixels"

    def maps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return (pixels + 2,)

    def weights(self, stages: int) -> list[float]:
        return [1.0]


@final
class Damaging(FirstStage):
    """Latents are pixels; decoding spoils them, and adds what padding would."""

    def __init__(self, blur: int = 1, noise: float = 0.0) -> None:
        super().__init__()
        self.blur, self.noise = blur, noise

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def encode_raw(self, pixels: Tensor) -> Tensor:
        return F.pad(pixels, (0, 3, 0, 2))

    def latents(self, raw: Tensor, draws: Draws | None) -> Tensor:
        return raw

    def decode(self, z: Tensor) -> Tensor:
        noise = Draws(7, torch.arange(len(z))).normal("damage", *z.shape[1:])
        return F.avg_pool2d(z, self.blur, 1, self.blur // 2, count_include_pad=False) + self.noise * noise


def pictures(count: int = 12, channels: int = 3, size: int = 32) -> Tensor:
    coarse = Draws(1, torch.arange(count)).normal("x", channels, size // 4, size // 4)
    return F.interpolate(coarse, (size, size), mode="bicubic").tanh()


def batches(x: Tensor, size: int = 5) -> Iterator[Batch]:
    yield from Batch(x=x, position=torch.arange(len(x))).split(size)


def report(stage: FirstStage, x: Tensor | None = None, size: int = 5) -> ReconstructionReport:
    x = pictures() if x is None else x
    return reconstruction(stage, batches(x, size), Plain(), Coarse())


def slow_ssim(v: np.ndarray, w: np.ndarray, edge: int) -> float:
    """Of one channel of values 0 .. 255, window by window."""
    places = np.arange(edge) - edge // 2
    window = np.exp(-(places[:, None] ** 2 + places**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2, found = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for i in range(v.shape[0] - edge + 1):
        for j in range(v.shape[1] - edge + 1):
            a, b = v[i : i + edge, j : j + edge], w[i : i + edge, j : j + edge]
            m, n = (window * a).sum(), (window * b).sum()
            variances = (window * ((a - m) ** 2 + (b - n) ** 2)).sum()
            covariance = (window * (a - m) * (b - n)).sum()
            found.append((2 * m * n + c1) * (2 * covariance + c2) / ((m * m + n * n + c1) * (variances + c2)))
    return float(np.mean(found))


@pytest.mark.parametrize(("size", "edge"), [(16, 11), (8, 7)])
def test_ssim_is_the_equation(size: int, edge: int) -> None:
    x = pictures(2, size=size)
    y = (x + 0.2 * Draws(2, torch.arange(2)).normal("noise", 3, size, size)).clamp(-1, 1)
    values = [(127.5 * (z.double().numpy() + 1)).round() for z in (x, y)]
    want = [np.mean([slow_ssim(v, w, edge) for v, w in zip(*pair, strict=True)]) for pair in zip(*values, strict=True)]
    assert ssim(x, y).tolist() == pytest.approx(want, abs=2e-4)


def test_ssim_of_equals_is_one_and_of_negatives_is_below_zero() -> None:
    x = pictures()
    assert torch.equal(ssim(x, x), torch.ones(len(x)))
    assert torch.allclose(ssim(x, x.flip(0)), ssim(x.flip(0), x), atol=1e-6)
    assert (ssim(x, -x) < 0).all()


def test_active_channels() -> None:
    assert active_channels(torch.tensor([1.0, 0.11, 0.09, 0.0])) == 2


def test_damage_moves_every_metric_the_right_way() -> None:
    for stages in (
        [Damaging(blur=k) for k in (1, 3, 5, 9)],
        [Damaging(noise=amount) for amount in (0, 0.05, 0.1, 0.3)],
    ):
        reports = [report(stage) for stage in stages]
        for name, better in (("psnr", 1), ("ssim", 1), ("perceptual", -1), ("rfid", -1)):
            values = [-better * getattr(found, name) for found in reports]
            assert values == sorted(values), name
            assert values[0] < values[-1], name
        assert reports[0].rkid == 0 < reports[-1].rkid  # type: ignore[operator]


def test_identity_loses_nothing() -> None:
    found = report(IdentityConfig().build((3, 32, 32)))
    assert (found.psnr, found.ssim, found.perceptual, found.rkid) == (100, 1, 0, 0)
    assert found.rfid == pytest.approx(0, abs=1e-4)
    assert (found.perceptual_name, found.features_name) == ("pixels", "4x4 squares")


def test_report_does_not_depend_on_the_batches() -> None:
    some, other = (report(Damaging(blur=3), size=size).data() for size in (5, 12))
    for name, value in some.items():
        if isinstance(value, float | tuple):
            assert value == pytest.approx(other[name], rel=1e-5, abs=1e-6), name


def test_report_is_the_mean_over_pictures() -> None:
    x, stage = pictures(), Damaging(blur=5)
    y = stage.decode(stage.encode_raw(x))[..., :32, :32]
    found = report(stage)
    assert found.n == 12
    assert found.psnr == pytest.approx(psnr(x, y).mean().item(), rel=1e-6)
    assert found.ssim == pytest.approx(ssim(x, y).mean().item(), rel=1e-6)


def test_latents_are_measured_as_they_diffuse() -> None:
    x = pictures() * torch.tensor([1.0, 0.5, 0.0])[:, None, None] + torch.tensor([0.0, 0.25, 0.5])[:, None, None]
    found = report(IdentityConfig().build((3, 32, 32)), x)
    channels = x.double().transpose(0, 1).flatten(1)
    assert found.latent_mean == pytest.approx(channels.mean(1).tolist(), abs=1e-6)
    assert found.latent_std == pytest.approx(channels.std(1, correction=0).tolist(), abs=1e-6)
    assert found.active == 2


def test_a_drowned_latent_is_not_active() -> None:
    with torch_generator(0):
        stage = KlConfig(channels=8, multipliers=(1, 2), blocks=1, latent_channels=3).build((3, 32, 32)).eval()
    with torch.no_grad():
        stage.to_raw.weight[0], stage.to_raw.bias[[0, 3]] = 0, 0  # the first mean is 0, its variance 1
        stage.to_raw.weight[3] = 0
        stage.to_raw.weight[1:3] *= 10
    found = report(stage)
    assert found.active == 2
    assert found.latent_std[0] == pytest.approx(1, abs=0.05)


def test_vq_reports_its_codes() -> None:
    with torch_generator(0):
        stage = VqConfig(channels=8, multipliers=(1, 2), blocks=1, latent_channels=3, codes=8).build((3, 32, 32)).eval()
    raw = stage.encode_raw(pictures())
    stage.codebook.codes.copy_(torch.cat([raw.movedim(1, -1).flatten(0, 2)[:4].detach(), torch.full((4, 3), 1e3)]))
    indices = stage.codebook.nearest(raw)
    share = torch.bincount(indices.flatten(), minlength=8) / indices.numel()
    found = report(stage)
    assert found.codebook_usage == len(indices.unique()) / 8
    assert found.perplexity == pytest.approx(torch.exp(-torch.xlogy(share, share).sum()).item(), rel=1e-5)
    assert any("codes in use" in line for line in found.lines())


def test_a_vae_reports_its_layers() -> None:
    with torch_generator(0):
        stage = VaeConfig(latents=(6, 3), hidden=16, depth=1, likelihood="gaussian").build((1, 8, 8)).eval()
    x = pictures(channels=1, size=8)
    found = report(stage, x)
    layers = stage.infer(x, Draws(0, torch.arange(len(x))))
    assert found.layer_kl == pytest.approx([layer.kl().mean().item() for layer in layers], rel=1e-5)
    assert len(found.latent_std) == 6


@pytest.mark.parametrize("channels", [2, 7])
def test_pictures_that_no_network_can_see_are_measured_all_the_same(channels: int) -> None:
    found = report(Damaging(blur=3), pictures(channels=channels))
    assert found.psnr < 100
    assert (found.perceptual, found.rfid, found.rkid, found.features_name) == (None, None, None, None)
    assert not any("rFID" in line for line in found.lines())


def test_transparent_pictures_are_shown_over_white() -> None:
    assert report(Damaging(blur=3), pictures(channels=4)).picture.mode == "RGB"


def test_the_picture_has_the_worst_ones_first_and_three_rows() -> None:
    x = pictures()
    x[7] = Draws(3, torch.arange(1)).normal("noise", 3, 32, 32)[0].clamp(-1, 1)  # blurs badly
    found = report(Damaging(blur=3), x)
    left, top = found.picture.width - (2 + 8 * (96 + 2)), found.picture.height - (2 + 3 * (96 + 2))
    cells = np.asarray(found.picture)[top + 2 :, left + 2 :][:96:3, :96:3]
    assert np.array_equal(cells, ((x[7] + 1) * 127.5).round().byte().movedim(0, -1).numpy())


def test_one_picture_is_enough_but_has_no_distance_of_sets() -> None:
    found = report(Damaging(blur=3), pictures(1))
    assert (found.n, found.rfid) == (1, None)


def test_data_is_json_and_lines_are_short() -> None:
    found = report(Damaging(noise=0.1))
    data = json.loads(json.dumps(found.data(), allow_nan=False))
    assert data["psnr"] == found.psnr
    assert data["codebook_usage"] is None
    assert "picture" not in data
    assert all(len(line) < 120 for line in found.lines())
    assert "4x4 squares; 12 pictures" in "\n".join(found.lines())


def test_nothing_to_measure_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"no pictures to measure: hold some of the data out, with data\.held_out"):
        report(Damaging(), pictures()[:0])
    points = Batch(x=torch.zeros(3, 2), position=torch.arange(3))
    with pytest.raises(UserError, match="these data are points"):
        reconstruction(Damaging(), [points], Plain(), Coarse())
