"""Checkpoints in one file, as their authors wrote them, answer here as there."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pipelines import STEPS, answer, condition_of, diffusers, noise_of, their_stage
from published import Adm, SelfAttention, Transformer, stirred
from safetensors.torch import save_file
from torch import Tensor

from carrara.export import autoencoders
from carrara.export.command import import_model
from carrara.model import DiffusionModel
from carrara.noise import Cosine, Linear, ScaledLinear
from carrara.sample import Ddim
from carrara.store import open_model

LABELS, NUMBERS = ("3", "5"), torch.tensor([3, 5])
GUIDED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "as the script makes it": ({"heads": 4, "order": "heads"}, {}, {"size": 16}),
    "as for ImageNet 64": (
        {"heads": 2, "order": "qkv"},
        {"residual": True, "answers": 2, "classes": 7, "blocks": 2},
        {"size": 16, "heads": 2, "order": "qkv", "schedule": "cosine"},
    ),
    "as for ImageNet 512": (
        {"heads": 4, "order": "heads"},
        {"residual": True, "answers": 2, "widths": (32, 64, 64), "base": 64},
        {"size": 16},
    ),
    "shifted": ({"heads": 1, "order": "heads"}, {"scaled": False, "levels": ()}, {"size": 16, "heads": 1}),
}


def imported(file: Path, run: Path, **options: Any) -> DiffusionModel:
    import_model(file, run=run, **options)
    model = open_model(run)
    assert isinstance(model, DiffusionModel)
    return model


def close(mine: Tensor, other: Tensor) -> None:
    assert other.std() > 0.01
    assert (mine - other).abs().max() <= 1e-4 * other.abs().max()


@torch.no_grad()
def drawn(model: DiffusionModel, labels: tuple[str, ...]) -> Tensor:
    """By 20 steps of DDIM from unit noise, as others begin."""
    settings, schedule = model.config.sample, model.config.schedule
    denoise = model.denoiser.bind(condition_of(model, labels))
    wrapped = settings.wrap(denoise, denoise, schedule)
    *_, last = Ddim().steps(wrapped, noise_of(model, 2), settings.grid(STEPS, schedule), schedule, torch.zeros_like)
    return last.x


def abar(schedule: Any) -> Tensor:
    """With that of the data before, (1001,) float64; from the papers' formulas."""
    if isinstance(schedule, Cosine):
        f = torch.cos((torch.arange(1001, dtype=torch.float64) / 1000 + 0.008) / 1.008 * torch.pi / 2) ** 2
        betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    else:
        betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    return torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])


@torch.no_grad()
def theirs(network: Any, x: Tensor, schedule: Any, *, clip: bool, **told: Tensor) -> Tensor:
    """20 steps of DDIM (Song et al., 2021) at the indices 950, 900, ..., 0."""
    table = abar(schedule)
    for k in reversed(range(0, 1000, 1000 // STEPS)):
        a, before = table[k + 1], table[k + 1 - 1000 // STEPS] if k else table[0]
        eps = network(x, torch.full((len(x),), k), **told)[:, : x.shape[1]].double()
        x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
        x0 = x0.clamp(-1, 1) if clip else x0
        eps = (x - a.sqrt() * x0) / (1 - a).sqrt()
        x = (before.sqrt() * x0 + (1 - before).sqrt() * eps).float()
    return x


@pytest.mark.parametrize("kind", GUIDED)
def test_guided_diffusion(kind: str, tmp_path: Path) -> None:
    attention, changes, options = GUIDED[kind]
    network = stirred(Adm(partial(SelfAttention, **attention), **changes))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    model = imported(tmp_path / "weights.safetensors", tmp_path / "run", **options)
    told = {"y": NUMBERS} if "classes" in changes else {}
    x = noise_of(model, 2)
    for step in (0, 1, 500, 999):
        with torch.no_grad():
            other = network(x, torch.full((2,), step), **told)[:, :3]
        close(answer(model, x, step, LABELS), other)
    mine, other = drawn(model, LABELS), theirs(network, x, model.config.schedule, clip=True, **told)
    assert (mine - other).abs().max() <= 2 / 255
    assert model.config.learned_variance == ("answers" in changes)


@pytest.mark.parametrize(("name", "beta"), [("linear", 0.000025), ("cosine", None)])
def test_other_numbers_of_steps(name: str, beta: float | None, tmp_path: Path) -> None:
    """As improved-diffusion has them: 4000, told as of 1000."""
    network = stirred(Adm(partial(SelfAttention, heads=4, order="heads"), widths=(32, 64)))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    asked = {"size": 16, "train_steps": 4000, "schedule": name}
    model = imported(tmp_path / "weights.safetensors", tmp_path / "run", **asked)
    assert model.config.schedule.discrete_steps == 4000
    if beta is not None:
        assert model.config.schedule.betas()[0].item() == pytest.approx(beta)  # pyright: ignore
    x = noise_of(model, 2)
    for step in (0, 1, 2001, 3999):
        with torch.no_grad():
            close(answer(model, x, step, ()), network(x, torch.full((2,), step / 4)))


def test_the_variance_of_guided_diffusion(tmp_path: Path) -> None:
    network = stirred(Adm(partial(SelfAttention, heads=4, order="heads"), answers=2))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    model = imported(tmp_path / "weights.safetensors", tmp_path / "run", size=16)
    x = noise_of(model, 2)
    c = model.denoiser.coefficients(torch.tensor(0.4, dtype=torch.float64))
    with torch.no_grad():
        _, mine = model.denoiser.answers(x / c.inp, c, condition_of(model, ()))
        other = network(x, torch.tensor([399, 399]))[:, 3:]
    assert mine is not None
    close(mine, other)


@pytest.mark.parametrize("answers", [1, 2])
def test_dit(answers: int, tmp_path: Path) -> None:
    network = stirred(Transformer(answers=answers))
    their_stage().save_pretrained(tmp_path / "vae")
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    asked = {"layout": "dit", "heads": 2, "autoencoder": tmp_path / "vae"}
    model = imported(tmp_path / "weights.safetensors", tmp_path / "run", **asked)
    assert (model.shape, model.latent_shape) == ((3, 16, 16), (4, 8, 8))
    x = noise_of(model, 2)
    for step in (0, 1, 500, 999):
        with torch.no_grad():
            close(answer(model, x, step, LABELS), network(x, torch.full((2,), step), NUMBERS))
    mine, other = drawn(model, LABELS), theirs(network, x, Linear(), clip=False, y=NUMBERS)
    assert (mine - other).abs().max() <= 2 / 255
    nothing = model.conditioner.null(2)
    with torch.no_grad():
        c = model.denoiser.coefficients(torch.tensor(0.5, dtype=torch.float64))
        other = network(x, torch.tensor([499, 499]), torch.tensor([1000, 1000]))
        close(model.denoiser.output(x / c.inp, c, nothing), other)


@pytest.mark.parametrize("answers", [1, 2])
def test_sit(answers: int, tmp_path: Path) -> None:
    network = stirred(Transformer(answers=answers, patch=4))
    their_stage().save_pretrained(tmp_path / "vae")
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    asked = {"layout": "sit", "heads": 2, "autoencoder": tmp_path / "vae"}
    model = imported(tmp_path / "weights.safetensors", tmp_path / "run", **asked)
    assert not model.config.learned_variance
    x = noise_of(model, 2)
    for t in (0.001, 0.3, 0.8, 1.0):
        c = model.denoiser.coefficients(torch.tensor(t, dtype=torch.float64))
        assert c.inp == 1
        with torch.no_grad():
            mine = model.denoiser.output(x, c, condition_of(model, LABELS))
            close(-mine, network(x, torch.full((2,), 1 - t), NUMBERS))
    mine = drawn(model, LABELS)
    with torch.no_grad():
        for k in range(STEPS):
            x = x + network(x, torch.full((2,), k / STEPS), NUMBERS) / STEPS
    assert (mine - x).abs().max() <= 2 / 255


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_latent_diffusion(kind: str, tmp_path: Path) -> None:
    channels, parts = (4, {"scale_factor": torch.tensor(0.4)}) if kind == "kl" else (3, {})
    stage = their_stage_with_codes() if kind == "vq" else their_stage_of(32)
    network = stirred(Adm(partial(SelfAttention, heads=2, order="heads"), channels=channels, levels=(1,)))
    parts |= {f"model.diffusion_model.{name}": value for name, value in network.state_dict().items()}
    for name, value in stage.state_dict().items():
        matrix = ".attentions.0.to_" in name and name.endswith("weight")
        parts[f"first_stage_model.{autoencoders.place(name, 2)}"] = value[:, :, None, None] if matrix else value
    parts["betas"] = torch.linspace(0.0015**0.5, 0.0155**0.5, 1000, dtype=torch.float64).square().float()
    torch.save({"state_dict": parts, "callbacks": {}, "global_step": 5}, tmp_path / "model.ckpt")
    model = imported(tmp_path / "model.ckpt", tmp_path / "run", size=16, heads=2)
    assert model.config.schedule == ScaledLinear(beta_start=0.0015, beta_end=0.0155)
    x = noise_of(model, 2)
    with torch.no_grad():
        close(answer(model, x, 500, ()), network(x, torch.tensor([500, 500])))
        z = x if kind == "vq" else x / 0.4
        close(model.first_stage.decode(x), stage.decode(z).sample)
        pictures = torch.rand(2, 3, 16, 16) * 2 - 1
        encoded = stage.encode(pictures)
        other = encoded.latents if kind == "vq" else encoded.latent_dist.parameters
        close(model.first_stage.encode_raw(pictures), other)


def their_stage_of(width: int) -> Any:
    ends = {"down_block_types": 2 * ("DownEncoderBlock2D",), "up_block_types": 2 * ("UpDecoderBlock2D",)}
    return stirred(diffusers.AutoencoderKL(block_out_channels=(width, width), **ends))


def their_stage_with_codes() -> Any:
    ends = {"down_block_types": 2 * ("DownEncoderBlock2D",), "up_block_types": 2 * ("UpDecoderBlock2D",)}
    asked = {"latent_channels": 3, "num_vq_embeddings": 32, "norm_num_groups": 32}
    return stirred(diffusers.VQModel(block_out_channels=(32, 32), **ends, **asked))


def test_averages_pickles_and_half_precision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = stirred(Transformer())
    average = {name: value if name == "pos_embed" else value.half() for name, value in network.state_dict().items()}
    last = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    training = {"model": last, "ema": average, "opt": {"state": {0: {"step": 1}}}, "args": argparse.Namespace(lr=1)}
    torch.save(training, tmp_path / "0050000.pt")
    their_stage().save_pretrained(tmp_path / "pipeline" / "vae")
    asked = {"layout": "dit", "heads": 2, "autoencoder": tmp_path / "pipeline"}
    model = imported(tmp_path / "0050000.pt", tmp_path / "run", **asked)
    assert "moving average is taken" in capsys.readouterr().out
    network.load_state_dict({name: value.float() for name, value in average.items()})
    x = noise_of(model, 2)
    with torch.no_grad():
        close(answer(model, x, 500, LABELS), network(x, torch.tensor([500, 500]), NUMBERS))
