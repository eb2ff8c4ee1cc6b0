"""Stable Diffusion, imported and tuned here, and its adapter in stock diffusers again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from stable_diffusion import their_stable_diffusion
from torch import Tensor

from carrara.cli import main
from carrara.store import open_model
from carrara.store.adapters import added, named

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")
pytestmark = pytest.mark.slow
SHORT = ("train.steps=2", "train.minutes=null", "train.batch=2", "preview.every=0", "data.held_out=0")
SAID = "objective.caption=a photo of a cat"


def done(*words: str | Path) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert end.value.code == 0


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    their_stable_diffusion("v1", folder / "tokenizer").save_pretrained(folder / "theirs")
    done("import", folder / "theirs", "--run", folder / "base")
    (folder / "five").mkdir()
    for k in range(5):
        Image.fromarray(np.full((32, 32, 3), 40 * k, np.uint8)).save(folder / "five" / f"{k}.png")
    return folder / "base"


def answer(unet: Any) -> Tensor:
    x, said = torch.linspace(-1, 1, 2 * 4 * 8 * 8).view(2, 4, 8, 8), torch.linspace(-1, 1, 2 * 5 * 1000).view(2, 5, -1)
    with torch.no_grad():
        return unet(x, 7, said[..., : unet.config.cross_attention_dim]).sample


def test_an_adapter_is_loaded_by_stock_diffusers(base: Path) -> None:
    folder, layers = (
        base.parent,
        "objective.learn={kind: lora, rank: 2, alpha: 3, layers: [q, kv, out, inp, conv1, conv2]}",
    )
    done("finetune", base, folder / "five", "--run", folder / "lora", SAID, layers, "train.lr=0.05", *SHORT)
    for run in ("base", "lora"):
        done("export", folder / run, "--to", "diffusers", "--out", folder / f"{run}-out")
    whole = diffusers.StableDiffusionPipeline.from_pretrained(folder / "lora-out").unet
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder / "base-out")
    before, expected = answer(pipeline.unet), answer(whole)
    assert (before - expected).abs().max() > 1e-3 * expected.abs().max()
    pipeline.load_lora_weights(folder / "lora-out" / "lora")
    assert (answer(pipeline.unet) - expected).abs().max() < 1e-5 * expected.abs().max()
    model, tuned = (open_model(folder / run).diffusion("") for run in ("base", "lora"))
    for back in (folder / "lora-out" / "lora", folder / "lora-out" / "lora" / "pytorch_lora_weights.safetensors"):
        network = added(model, named((str(back),), model)).denoiser.state_dict()
        for name, due in tuned.denoiser.state_dict().items():
            assert torch.allclose(network[name], due, atol=1e-6), name


def test_a_subject_is_learned_with_its_prior(base: Path) -> None:
    folder, prior = base.parent, "objective.prior={prompt: a dog, count: 3}"
    done("finetune", base, folder / "five", "--run", folder / "dream", "--learn", "all", SAID, prior, *SHORT)
    before, after = open_model(base).state_dict(), open_model(folder / "dream").state_dict()
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"denoiser"}, "a frozen encoder stays, and so does the autoencoder"
    assert len(list((folder / "dream" / "prior").rglob("*.png"))) == 3
    with pytest.raises(SystemExit) as end:
        main(["sample", str(base), "a cat", "--lora", str(folder / "dream"), "-n", "1"])
    assert end.value.code == 2 and not (folder / "dream" / "model" / "adapter_config.json").exists()
