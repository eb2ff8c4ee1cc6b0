"""PSNR, SSIM and the report of reconstructions, for sounds and volumes."""

import pytest
import torch
from torch import Tensor

from carrara.autoencoder import Identity, KlConfig
from carrara.errors import UserError
from carrara.evaluate.reconstruction import EQUAL, psnr, reconstruction, ssim
from carrara.seeds import Draws
from carrara.types import Batch


def numbers(*shape: int, of: int = 0) -> Tensor:
    return Draws(of, torch.arange(3)).uniform("numbers", *shape) * 2 - 1


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_what_does_not_change_along_an_axis_is_as_like_as_without_it(axis: int) -> None:
    x, y = numbers(2, 14, 13), numbers(2, 14, 13, of=1)
    thick = [v.unsqueeze(axis).repeat_interleave(12, axis) for v in (x, y)]
    torch.testing.assert_close(ssim(*thick), ssim(x, y), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(psnr(*thick), psnr(x, y))
    row = [v[:, :, 0] for v in (x, y)]
    torch.testing.assert_close(
        ssim(*(v[:, :, None].repeat(1, 1, 12, 1) for v in row)), ssim(*row), rtol=1e-4, atol=1e-5
    )


def test_a_sounds_likeness_by_hand() -> None:
    """In a window of one value, variances are 0: only means are compared."""
    x, y = torch.full((1, 1, 2), 1.0), torch.full((1, 1, 2), 0.0)
    c, v, w = (0.01 * 255) ** 2, 255.0, 128.0
    assert ssim(x, y).item() == pytest.approx((2 * v * w + c) / (v * v + w * w + c), rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 37), (3, 37), (1, 7, 9, 8)])
def test_the_report_of_sounds_and_volumes_has_numbers_and_no_picture(shape: tuple[int, ...]) -> None:
    batch = Batch(x=numbers(*shape), position=torch.arange(3))
    perfect = reconstruction(Identity(), [batch])
    assert perfect.psnr == EQUAL and perfect.ssim == pytest.approx(1) and perfect.picture is None
    stage = KlConfig(channels=8, multipliers=(1, 2), blocks=1).build(shape).eval()
    report = reconstruction(stage, [batch])
    assert report.psnr < 20 and len(report.latent_std) == 4 and report.rfid is None and report.lines()


def test_points_are_not_reconstructed() -> None:
    with pytest.raises(UserError, match="these data are points"):
        reconstruction(Identity(), [Batch(x=numbers(2), position=torch.arange(3))])
