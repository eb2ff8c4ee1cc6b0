"""Stable Diffusion in one file becomes the folder that stock diffusers makes of it."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pipelines import diffusers
from published import Adm, stirred
from safetensors.torch import save_file
from torch import Tensor

import carrara
from carrara.errors import UserError
from carrara.export import autoencoders, compvis, openclip
from carrara.export.command import import_model
from carrara.export.latent import UNET
from carrara.export.weights import Weights
from carrara.model import DiffusionModel
from carrara.noise import Eps, ScaledLinear, V
from carrara.store import open_model
from carrara.types import Conditioning

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
transformers = pytest.importorskip("transformers")

CONTEXT = {"v1": 64, "v2": 128, "xl": 192}
PROJECTED = 128


def cross(context: int, *, linear: bool, layers: int) -> Any:
    """Makes diffusers' own transformer for a number of channels, of so many layers for 64."""

    def made(channels: int) -> Any:
        return diffusers.Transformer2DModel(
            num_attention_heads=1 if linear else 8,
            attention_head_dim=channels if linear else channels // 8,
            in_channels=channels,
            num_layers=layers if channels == 64 else 1,
            cross_attention_dim=context,
            use_linear_projection=linear,
        )

    return made


def unet(kind: str) -> Adm:
    torch.manual_seed(0)
    widths, levels = ((32, 32, 64), (1, 2)) if kind == "xl" else ((32, 64, 64), (0, 1))
    if kind == "v2":
        widths = (64, 64, 64)
    attention = cross(CONTEXT[kind], linear=kind != "v1", layers=2 if kind == "xl" else 1)
    network = Adm(attention, base=widths[0], channels=4, widths=widths, levels=levels, scaled=False)
    if kind == "xl":
        network.label_emb = torch.nn.Sequential(
            torch.nn.Sequential(torch.nn.Linear(6 * 256 + PROJECTED, 128), torch.nn.SiLU(), torch.nn.Linear(128, 128))
        )
    return stirred(network)


def encoder(width: int, *, projected: int | None = None, activation: str = "quick_gelu") -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=514,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=width // 64,
        projection_dim=projected or width,
        hidden_act=activation,
        bos_token_id=0,
        eos_token_id=2,
    )
    kind = transformers.CLIPTextModel if projected is None else transformers.CLIPTextModelWithProjection
    return stirred(kind(config))


def named(found: Any) -> dict[str, Tensor]:
    """A text encoder's tensors, with ``text_model.`` in front."""
    state = {name: value for name, value in found.state_dict().items() if "position_ids" not in name}
    return {name if "text_" in name else f"text_model.{name}": value for name, value in state.items()}


def opened(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As OpenCLIP has them."""
    start, found = "text_model.encoder.layers.", dict[str, Tensor]()
    found["token_embedding.weight"] = tensors["text_model.embeddings.token_embedding.weight"]
    found["positional_embedding"] = tensors["text_model.embeddings.position_embedding.weight"]
    for kind in ("weight", "bias"):
        found[f"ln_final.{kind}"] = tensors[f"text_model.final_layer_norm.{kind}"]
        for layer in sorted({name.split(".")[3] for name in tensors if name.startswith(start)}):
            here, there = f"{start}{layer}", f"transformer.resblocks.{layer}"
            rows = [tensors[f"{here}.self_attn.{one}_proj.{kind}"] for one in "qkv"]
            found[f"{there}.attn.in_proj_{kind}"] = torch.cat(rows)
            for mine, theirs in (
                ("layer_norm1", "ln_1"),
                ("layer_norm2", "ln_2"),
                ("self_attn.out_proj", "attn.out_proj"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
            ):
                found[f"{there}.{theirs}.{kind}"] = tensors[f"{here}.{mine}.{kind}"]
    if "text_projection.weight" in tensors:
        found["text_projection"] = tensors["text_projection.weight"].T
    return found | {"logit_scale": torch.ones(())}


def texts(kind: str) -> dict[str, Tensor]:
    """Text encoders by the names of a single file; v2 has a layer that is left out."""
    if kind == "v1":
        found = {f"cond_stage_model.transformer.{name}": value for name, value in named(encoder(64)).items()}
        return found | {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}
    second = opened(named(encoder(128, projected=PROJECTED, activation="gelu")))
    if kind == "v2":
        return {f"cond_stage_model.model.{name}": value for name, value in second.items()}
    first = {f"conditioner.embedders.0.transformer.{name}": value for name, value in named(encoder(64)).items()}
    return first | {f"conditioner.embedders.1.model.{name}": value for name, value in second.items()}


def stage() -> Any:
    return stirred(
        diffusers.AutoencoderKL(
            block_out_channels=(32, 64),
            down_block_types=2 * ("DownEncoderBlock2D",),
            up_block_types=2 * ("UpDecoderBlock2D",),
        )
    )


def stage_named(found: Any) -> dict[str, Tensor]:
    """Its tensors, by names that stock diffusers checks when it reads them."""
    state = found.state_dict()
    rows = {name: ".attentions.0.to_" in name and name.endswith("weight") for name in state}
    return {
        autoencoders.place(name, 2): value[:, :, None, None] if rows[name] else value for name, value in state.items()
    }


def single(kind: str, folder: Path, **more: Tensor) -> Path:
    """A file with all parts."""
    tensors = {f"model.diffusion_model.{name}": value for name, value in unet(kind).state_dict().items()}
    tensors |= {f"first_stage_model.{name}": value for name, value in stage_named(stage()).items()}
    tensors |= texts(kind) | {"betas": ScaledLinear().betas().float(), "model_ema.decay": torch.ones(())} | more
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / f"{kind}.safetensors")
    return folder / f"{kind}.safetensors"


def tokenizer(folder: Path) -> Path:
    """One that knows single bytes."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(one) for one in printed] + [chr(256 + k) for k in range(256 - len(printed))]
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "words").mkdir()
    (folder / "words" / "vocab.json").write_text(json.dumps({word: k for k, word in enumerate(words)}))
    (folder / "words" / "merges.txt").write_text("#version: 0.2\n")
    return folder / "words"


def written(kind: str, folder: Path) -> Path:
    """The folder that a file becomes."""
    weights = Weights(file := single(kind, folder), file)
    version = replace(compvis.version_of(weights), size=16)
    divided = (8, None) if kind == "v1" else (None, 64)
    words = openclip.vocabulary(tokenizer(folder), version.name)
    compvis.write(weights.averaged(UNET, "model_ema."), folder / "parts", version, words, divided)
    return folder / "parts"


@pytest.mark.parametrize("kind", CONTEXT)
def test_as_stock_diffusers_reads_the_file(kind: str, tmp_path: Path) -> None:
    folder = written(kind, tmp_path)
    pipeline = diffusers.StableDiffusionXLPipeline if kind == "xl" else diffusers.StableDiffusionPipeline
    more = {} if kind == "xl" else {"safety_checker": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = pipeline.from_pretrained(folder, **more)
        file = tmp_path / f"{kind}.safetensors"
        other = pipeline.from_single_file(file, config=str(folder), local_files_only=True, **more)
    parts = {name: part for name, part in mine.components.items() if isinstance(part, torch.nn.Module)}
    assert len(parts) == (4 if kind == "xl" else 3)
    for name, part in parts.items():
        found, state = part.state_dict(), getattr(other, name).state_dict()
        assert found.keys() == state.keys()
        assert all(torch.equal(value, found[one]) for one, value in state.items())
    assert mine.tokenizer("a b").input_ids == [512, 320, 321, 513]


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_the_network_answers_as_theirs(kind: str, tmp_path: Path) -> None:
    weights = Weights(file := single(kind, tmp_path), file).below(UNET)
    config = compvis.network(weights, *((8, None) if kind == "v1" else (None, 64)))
    del config["_class_name"]
    network = diffusers.UNet2DConditionModel(**config).eval()
    network.load_state_dict(compvis.renamed(weights))
    x, context, steps = torch.randn(2, 4, 8, 8), torch.randn(2, 5, CONTEXT[kind]), torch.tensor([3, 500])
    with torch.no_grad():
        mine, other = network(x, steps, context).sample, unet(kind)(x, steps, context=context)
    assert (mine - other).abs().max() <= 1e-4 * other.abs().max()


@pytest.mark.parametrize("kind", CONTEXT)
def test_the_whole_command(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = {} if kind != "v1" else {"heads": 8}
    import_model(single(kind, tmp_path), run=tmp_path / "run", tokenizer=tokenizer(tmp_path), size=16, **asked)
    assert "the weights do not say it" in capsys.readouterr().out
    model = open_model(tmp_path / "run")
    assert isinstance(model, DiffusionModel)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["model"]
    x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 77, CONTEXT[kind])
    cond = Conditioning(tokens=context)
    if kind != "xl":  # which is told more than words
        c = model.denoiser.coefficients(torch.tensor(0.5, dtype=torch.float64))
        with torch.no_grad():
            mine = model.denoiser.output(x / c.inp, c, cond)
            other = unet(kind)(x, torch.tensor([499, 499]), context=context)
        assert (mine - other).abs().max() <= 1e-4 * other.abs().max()
    assert model.config.parameterization == (V() if kind == "v2" else Eps())
    assert len(carrara.load(tmp_path / "run").generate("a b", steps=2)) == 1


def test_the_moving_average_is_taken(tmp_path: Path) -> None:
    state = unet("v1").state_dict()
    average = {f"model_ema.diffusion_model{name.replace('.', '')}": 2 * value for name, value in state.items()}
    weights = Weights(file := single("v1", tmp_path, **average), file).averaged(UNET, "model_ema.")
    assert weights.average
    found = compvis.renamed(weights.below(UNET))
    assert torch.equal(found["conv_in.weight"], 2 * state["input_blocks.0.0.weight"])


@pytest.mark.parametrize("above", ["", "first_stage_model."])
def test_an_autoencoder_alone(above: str, tmp_path: Path) -> None:
    found = stage()
    save_file({f"{above}{name}": value for name, value in stage_named(found).items()}, tmp_path / "vae.safetensors")
    read = autoencoders.read(tmp_path / "vae.safetensors", "a DiT")
    assert all(torch.equal(value, read.tensors[name]) for name, value in found.state_dict().items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (tmp_path / "vae").mkdir()
        found.save_config(tmp_path / "vae")
        other = diffusers.AutoencoderKL.from_single_file(
            tmp_path / "vae.safetensors", config=str(tmp_path / "vae"), local_files_only=True
        )
    assert all(torch.equal(value, read.tensors[name]) for name, value in other.state_dict().items())


def test_words_need_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file of it has their vocabulary: name the folder of its tokenizer"):
        openclip.vocabulary(None, "Stable Diffusion v1")
    with pytest.raises(UserError, match="holds no tokenizer of CLIP"):
        openclip.vocabulary(tmp_path, "Stable Diffusion v1")
