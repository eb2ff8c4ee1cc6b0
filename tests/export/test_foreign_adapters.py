"""Adapters (LoRA) that other programs have trained: diffusers and this package answer the same with them."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pipelines import answer, exported, imported, their_answer
from safetensors.torch import save_file
from stable_diffusion import WORDS, their_stable_diffusion
from torch import Tensor, nn

from carrara.cli import main
from carrara.conditioning import ClipText
from carrara.model import DiffusionModel
from carrara.seeds import torch_generator
from carrara.store import open_model
from carrara.store.adapters import added, named

peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

Pair = tuple[Tensor, Tensor, float]
"""Both factors of a layer, and alpha."""
Lora = Mapping[str, Mapping[str, Pair]]
"""By parts of a pipeline, and by their names of layers."""
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
ALL = (*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "conv_shortcut", "conv")
ALL += ("time_emb_proj", "linear_1", "linear_2", "conv_in", "conv_out")
OF_TEXTS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
RESIDUAL = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1"}
RESIDUAL |= {"conv_shortcut": "skip_connection"}
ENDS = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_out": "out.2"}
ENDS |= {"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
ENDS |= {"conv_in": "input_blocks.0.0"}
CLOSE = 1e-5


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """Pipelines of theirs of each kind, and the runs that they become."""
    folder = tmp_path_factory.mktemp("pairs")

    @cache
    def pair(kind: str) -> tuple[Any, Path]:
        pipeline = their_stable_diffusion(kind, folder / f"{kind}-scratch")
        pipeline.save_pretrained(folder / f"{kind}-theirs")
        imported(folder / f"{kind}-theirs", folder / kind)
        return pipeline, folder / kind

    return pair


def opened(run: Path) -> DiffusionModel:
    model = open_model(run)
    assert isinstance(model, DiffusionModel)
    return model


def learned(part: nn.Module, ends: Sequence[str], rank: int = 2, alpha: float = 3.0, seed: int = 0) -> dict[str, Pair]:
    """Factors of the layers whose names end so; every other layer's rank is one lower."""
    found = dict[str, Pair]()
    with torch_generator(seed):
        for name, layer in part.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and f".{name}".endswith(tuple(f".{end}" for end in ends)):
                r, (m, n, *kernel) = rank - len(found) % 2, layer.weight.shape
                size = (n * len(layer.weight[0, 0].flatten())) ** -0.5
                down, up = torch.randn(r, n, *kernel) * size, torch.randn(m, r, *(1 for _ in kernel))
                found[name] = (down, 0.3 * up, alpha)
    assert found
    return found


def of(pipeline: Any, ends: Sequence[str], *, texts: bool = True, **more: Any) -> Lora:
    """Factors of a pipeline's parts."""
    parts = ["unet", *(("text_encoder", "text_encoder_2") if texts else ())]
    there = [(name, getattr(pipeline, name, None)) for name in parts]
    return {name: learned(one, ends if name == "unet" else OF_TEXTS, **more) for name, one in there if one is not None}


def named_of(part: str, layer: str) -> str:
    """The name of a layer that most files have: transformers has left something out since."""
    return layer if part == "unet" or layer.startswith("text_") else f"text_model.{layer}"


def keys(lora: Lora, spelled: Callable[[str, str], tuple[str, str]], alpha: str = "") -> dict[str, Tensor]:
    """The tensors of a file.

    Args:
        spelled: from a part and a layer to what the names of its factors begin with, and how they go on, in which ``A``
            is down.
        alpha: what the name of an alpha ends with; empty: there is none, and it is the rank.
    """
    found = dict[str, Tensor]()
    for part, layers in lora.items():
        for layer, (down, up, value) in layers.items():
            begin, end = spelled(part, named_of(part, layer))
            names = end.replace("A", "B") if "A" in end else end.replace("down", "up")
            found |= {begin + end: down, begin + names: up}
            if alpha:
                found[begin + alpha] = torch.tensor(value)
    return {name: one.contiguous() for name, one in found.items()}


def newer(part: str, layer: str) -> tuple[str, str]:
    return f"{part}.{layer}", ".lora_A.weight"


def older(part: str, layer: str) -> tuple[str, str]:
    return f"{part}.{layer}", ".lora.down.weight" if part == "unet" else ".lora_linear_layer.down.weight"


def processors(part: str, layer: str) -> tuple[str, str]:
    above, _, last = layer.removesuffix(".0").rpartition(".")
    own = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}.get(last, last)
    if part == "unet":
        return f"{part}.{above}.processor.{own}", "_lora.down.weight"
    return f"{part}.{above}.{own}", "_lora.down.weight" if own != last else ".lora_linear_layer.down.weight"


def kohya(part: str, layer: str, *, texts: tuple[str, str] = ("lora_te", "lora_te2")) -> tuple[str, str]:
    above = {"unet": "lora_unet", "text_encoder": texts[0], "text_encoder_2": texts[1]}[part]
    return f"{above}_{layer.replace('.', '_')}", ".lora_down.weight"


def compvis(part: str, layer: str, blocks: int = 1) -> tuple[str, str]:
    """kohya's names of XL, whose network it has as CompVis does: level by level as one row."""
    return kohya(part, in_rows(layer, blocks) if part == "unet" else layer, texts=("lora_te1", "lora_te2"))


def in_rows(layer: str, blocks: int) -> str:
    if layer in ENDS:
        return ENDS[layer]
    way, *rest = layer.split(".")
    if way == "mid_block":
        kind, number, *inner = rest
        place = "1" if kind == "attentions" else str(2 * int(number))
        return ".".join(["middle_block", place, *(RESIDUAL.get(one, one) for one in inner)])
    level, kind, number, *inner = rest
    down = way == "down_blocks"
    if kind in ("downsamplers", "upsamplers"):
        attends = level in ("0", "1")  # of the ways up below; the last level has no upsampler
        place, inner = (blocks, ["0", "op"]) if down else (blocks, ["2" if attends else "1", "conv"])
    else:
        place, inner = int(number), [str(int(kind == "attentions")), *(RESIDUAL.get(one, one) for one in inner)]
    row = int(level) * (blocks + 1) + place + down
    return ".".join(["input_blocks" if down else "output_blocks", str(row), *inner])


def saved(tensors: Mapping[str, Tensor], path: Path, said: Mapping[str, Any] | None = None) -> Path:
    header = {"format": "pt"} | ({} if said is None else {"lora_adapter_metadata": json.dumps(said)})
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), path, header)
    return path


@torch.no_grad()
def ours(run: Path, *said: str) -> Tensor:
    """What our network answers with adapters, of the features of words."""
    model = opened(run)
    model = added(model, named(said, model)) if said else model
    return answer(model, state(model), 500, WORDS)


@torch.no_grad()
def theirs(pipeline: Any, run: Path) -> Tensor:
    encoded = pipeline.encode_prompt(list(WORDS), device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=1)
    more: dict[str, Any] = {}
    if hasattr(pipeline, "text_encoder_2"):
        ids = torch.tensor([[16.0, 16, 0, 0, 16, 16]] * 2)
        more = {"added_cond_kwargs": {"text_embeds": encoded[2], "time_ids": ids}}
    x = state(opened(run))
    return pipeline.unet(x, torch.tensor(500), encoder_hidden_states=encoded[0], **more).sample


def state(model: DiffusionModel) -> Tensor:
    return torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))


def loaded(pipeline: Any, run: Path, files: Mapping[Path, float]) -> Tensor:
    """What theirs answers with adapters."""
    try:
        for number, file in enumerate(files):
            pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=f"a{number}")
        pipeline.set_adapters([f"a{number}" for number in range(len(files))], list(files.values()))
        return theirs(pipeline, run)
    finally:
        pipeline.unload_lora_weights()


def check(mine: Tensor, due: Tensor, base: Tensor) -> None:
    """They are the same, and it is not by chance."""
    assert (due - base).abs().max() > 0.05 * base.abs().max()
    assert (mine - due).abs().max() <= CLOSE * due.abs().max()


KOHYA = (*ALL[:-4], "time_embedding.linear_1", "time_embedding.linear_2", "conv_in", "conv_out")
FORMATS: Mapping[str, tuple[Callable[[str, str], tuple[str, str]], Sequence[str], str]] = {
    "diffusers": (newer, ALL, ""),
    "diffusers, older": (older, ALL, ""),
    "diffusers, oldest": (processors, ATTENTION, ""),
    "kohya": (kohya, KOHYA, ".alpha"),
    "kohya without alpha": (kohya, ("to_k", "to_q"), ""),
    "kohya of CompVis": (compvis, ALL, ".alpha"),
}
QUICK = {("v1", "diffusers, oldest"), ("v1", "kohya"), ("xl", "kohya of CompVis")}
CASES = [(kind, name) for name in FORMATS for kind in ("v1", "v2", "xl") if kind == "xl" or name != "kohya of CompVis"]


@pytest.mark.parametrize(
    ("kind", "name"), [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
)
def test_files_of_others(kind: str, name: str, pairs: Callable[[str], tuple[Any, Path]], tmp_path: Path) -> None:
    pipeline, run = pairs(kind)
    spelled, ends, alpha = FORMATS[name]
    base = theirs(pipeline, run)
    assert (ours(run) - base).abs().max() <= CLOSE * base.abs().max()
    file = saved(keys(of(pipeline, ends), spelled, alpha), tmp_path / "one.safetensors")
    check(ours(run, str(file)), loaded(pipeline, run, {file: 1.0}), base)
