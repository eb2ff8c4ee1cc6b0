"""Pictures of sounds: what is loud is light, high above low, early left of late."""

import math

import numpy as np
import pytest
import torch

from carrara.sounds import sheet, spectrograms, table

RATE = 8000
TIME = torch.arange(8192) / RATE


def light(x: torch.Tensor) -> np.ndarray:
    return spectrograms(x, RATE).astype(int).sum(-1)


def test_high_is_above_low() -> None:
    x = torch.stack([torch.sin(2 * math.pi * f * TIME) for f in (200, 1000, 3000)])[:, None]
    rows = [int(light(x[k : k + 1])[0, :, 120].argmax()) for k in range(3)]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] > 80
    assert rows[2] < 20


def test_late_is_right_and_quiet_is_dark() -> None:
    x = torch.cat([torch.zeros(4096), torch.sin(2 * math.pi * 1000 * TIME[:4096])])[None, None]
    shown = light(x)[0]
    assert shown[:, :110].max() < shown[:, 130:].max() / 4
    assert (light(torch.zeros(1, 1, 100)) == light(torch.zeros(1, 1, 100)).max()).all()


@pytest.mark.parametrize(("count", "channels", "length"), [(1, 1, 100), (5, 2, 8192), (9, 1, 300)])
def test_sheets_hold_all(count: int, channels: int, length: int) -> None:
    x = torch.rand(count, channels, length) * 2 - 1
    wide, narrow = sheet(x, RATE, 3, ["a row", "another"]), sheet(x, RATE, 1)
    assert wide.height < narrow.height or count == 1
    assert narrow.width < wide.width
    assert table([x, x * 3], RATE).mode == "RGB"
