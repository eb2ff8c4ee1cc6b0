"""Edits of pictures: what their files say of them is enough to make them again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carrara.recipe import edits, weaker
from small_models import saved


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_weaker_model_is_opened_once(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, weak, times = saved("pixels", tmp_path / "run"), saved("pixels", tmp_path / "weak", 1), list[Path]()
    opened = weaker.open_model
    job = edits.job(run, torch.device("cpu"), "cat", 1, 0, {"guidance": 2.0}, lambda at, _: at, weak=weak)
    monkeypatch.setattr(weaker, "open_model", lambda path: [times.append(path), opened(path)][1])
    edits.img2img(job, [photo] * 3, 0.7)
    assert times == [weak]
