"""A Stable Diffusion that was trained here from captions alone, in stock diffusers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pipelines import loaded
from stable_diffusion import our_drawings, their_drawings

from carrara.cli import main
from carrara.conditioning import ClipText
from carrara.model import DiffusionModel
from carrara.store import open_model

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]
WORDS = ("a red square", "something blue, and a 日本語 zebra")
SHORT = (
    *("data.size=16", "data.held_out=0", "preview.every=0", "train.steps=3", "train.minutes=null", "train.batch=4"),
    *("autoencoder.train.steps=3", "autoencoder.train.minutes=null", "autoencoder.train.batch=4"),
    *("autoencoder.preview.every=0", "autoencoder.objective.perceptual=0", "train.lr=0.01"),
)


def done(*words: str | Path) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert end.value.code == 0


def test_it_draws_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "squares"
    folder.mkdir()
    for k, (name, colour) in enumerate({"red": (200, 30, 30), "blue": (30, 30, 200), "green": (30, 160, 30)}.items()):
        for size in (6, 9, 12):
            pixels = np.full((16, 16, 3), 255, np.uint8)
            pixels[:size, k : k + size] = colour
            Image.fromarray(pixels).save(folder / f"{name}-{size}.png")
            (folder / f"{name}-{size}.txt").write_text(f"a {name} square")
    done("train", folder, "--preset", "stable-diffusion", "--run", tmp_path / "run", *SHORT)
    done("export", tmp_path / "run", "--to", "diffusers", "--out", tmp_path / "out")
    model, pipeline = open_model(tmp_path / "run"), loaded(tmp_path / "out")
    assert isinstance(model, DiffusionModel) and isinstance(model.conditioner, ClipText)
    assert type(pipeline).__name__ == "StableDiffusionPipeline"
    with torch.no_grad():
        said = pipeline.encode_prompt(
            list(WORDS), device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
        )
        mine, nothing = model.conditions(WORDS).tokens, model.conditioner.null(2).tokens
    assert mine is not None and nothing is not None
    assert (mine - said[0]).abs().max() <= 1e-4 * said[0].abs().max()
    assert (nothing - said[1]).abs().max() <= 1e-4 * said[0].abs().max()
    ours, theirs = our_drawings(model, WORDS, 3.0), their_drawings(pipeline, WORDS, 3.0)
    assert ours.std() > 0.02
    assert (ours - theirs).abs().max() <= 2 / 255
    done("import", tmp_path / "out", "--run", tmp_path / "back")
    again = open_model(tmp_path / "back")
    assert isinstance(again, DiffusionModel)
    assert torch.equal(our_drawings(again, WORDS, 3.0), ours)
