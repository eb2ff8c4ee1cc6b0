"""Adapters (LoRA) that other programs have trained: diffusers and this package answer the same with them."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pipelines import OURS, answer, exported, imported, their_answer
from pipelines import saved as made
from safetensors.torch import save_file
from stable_diffusion import WORDS, our_drawings, their_drawings, their_stable_diffusion
from torch import Tensor, nn

from carrara.cli import main
from carrara.errors import UserError
from carrara.model import DiffusionModel
from carrara.seeds import torch_generator
from carrara.store import open_model
from carrara.store.adapters import added, fitting, named

peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

Pair = tuple[Tensor, Tensor, float]
"""Both factors of a layer, and alpha."""
Lora = Mapping[str, Mapping[str, Pair]]
"""By parts of a pipeline, and by their names of layers."""
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
BLOCKS = (*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "conv_shortcut", "conv")
ALL = (*BLOCKS, "time_emb_proj", "linear_1", "linear_2", "conv_in", "conv_out")
OF_TEXTS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
RESIDUAL = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
}
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


KOHYA = (*BLOCKS, "time_emb_proj", "time_embedding.linear_1", "time_embedding.linear_2", "conv_in", "conv_out")
FORMATS: Mapping[str, tuple[Callable[[str, str], tuple[str, str]], Sequence[str], str]] = {
    "diffusers": (newer, ALL, ""),
    "diffusers, older": (older, ALL, ""),
    "diffusers, oldest": (processors, ATTENTION, ""),
    "kohya": (kohya, KOHYA, ".alpha"),
    "kohya without alpha": (kohya, ("to_k", "to_q"), ""),
    "kohya of CompVis": (compvis, ALL, ".alpha"),
}
QUICK = {("v1", "diffusers, oldest")}
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


@pytest.mark.parametrize("kind", ["v1", pytest.param("xl", marks=pytest.mark.slow)])
def test_several_at_once(kind: str, pairs: Callable[[str], tuple[Any, Path]], tmp_path: Path) -> None:
    pipeline, run = pairs(kind)
    a = saved(keys(of(pipeline, ATTENTION), newer), tmp_path / "a.safetensors")
    b = saved(keys(of(pipeline, KOHYA, seed=1, rank=3), kohya, ".alpha"), tmp_path / "b.safetensors")
    base, due = theirs(pipeline, run), loaded(pipeline, run, {a: 0.8, b: -0.5})
    check(ours(run, f"{a}:0.8", f"{b}:-0.5"), due, base)
    assert (ours(run, f"{a}:0.8", f"{b}:0") - due).abs().max() > 0.01 * due.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["v1", "xl"])
def test_the_same_pictures(kind: str, pairs: Callable[[str], tuple[Any, Path]], tmp_path: Path) -> None:
    """In 20 steps, with guidance and a negative prompt."""
    pipeline, run = pairs(kind)
    file = saved(keys(of(pipeline, ATTENTION), kohya, ".alpha"), tmp_path / "one.safetensors")
    model = opened(run)
    mine = our_drawings(added(model, named((f"{file}:0.8",), model)), WORDS, 6.0, "hello")
    base = their_drawings(pipeline, WORDS, 6.0, "hello")
    try:
        pipeline.load_lora_weights(tmp_path, weight_name=file.name, adapter_name="one")
        pipeline.set_adapters(["one"], [0.8])
        due = their_drawings(pipeline, WORDS, 6.0, "hello")
    finally:
        pipeline.unload_lora_weights()
    assert (base - due).abs().max() > 10 / 255
    assert (mine - due).abs().max() <= 2 / 255


@pytest.mark.slow
@pytest.mark.parametrize("roots", [False, True])
def test_what_their_scripts_write_of_alpha(
    roots: bool, pairs: Callable[[str], tuple[Any, Path]], tmp_path: Path
) -> None:
    """By their own writer, which says alpha in the file's header."""
    _, run = pairs("v1")
    pipeline = their_stable_diffusion("v1", tmp_path / "scratch")
    base = theirs(pipeline, run)
    changed = {"rank_pattern": {"to_q": 3}, "alpha_pattern": {"to_q": 7, r"attn2\.to_k": 1}}
    config = peft.LoraConfig(r=2, lora_alpha=3, target_modules=["to_q", "to_k", "conv1"], use_rslora=roots, **changed)
    of_texts = peft.LoraConfig(r=4, lora_alpha=2, target_modules=["q_proj", "fc1"], use_rslora=roots)
    layers: dict[str, Any] = {}
    for name, part, one in (("unet", pipeline.unet, config), ("text_encoder", pipeline.text_encoder, of_texts)):
        part.add_adapter(one)
        stir(part)
        layers[f"{name}_lora_layers"] = peft.get_peft_model_state_dict(part, adapter_name="default")
        layers[f"{name}_lora_adapter_metadata"] = part.peft_config["default"].to_dict()
    due = theirs(pipeline, run)
    pipeline.save_lora_weights(tmp_path / "written", **layers)
    assert [path.name for path in (tmp_path / "written").iterdir()] == ["pytorch_lora_weights.safetensors"]
    check(ours(run, str(tmp_path / "written")), due, base)


@pytest.mark.slow
def test_folders_of_peft(pairs: Callable[[str], tuple[Any, Path]], tmp_path: Path) -> None:
    _, run = pairs("xl")
    pipeline = their_stable_diffusion("xl", tmp_path / "scratch")
    base = theirs(pipeline, run)
    config = peft.LoraConfig(r=2, lora_alpha=3, target_modules=[*ATTENTION, "conv1", "linear_2"])
    made = peft.get_peft_model(pipeline.unet, config)
    stir(made)
    made.save_pretrained(tmp_path / "written")
    pipeline.unet = made.merge_and_unload()
    check(ours(run, str(tmp_path / "written")), theirs(pipeline, run), base)


@pytest.mark.slow
def test_a_folder_of_peft_for_a_network_of_pixels(tmp_path: Path) -> None:
    """Whose queries, keys and values are one convolution here."""
    made(OURS["steps"], tmp_path / "run")
    pipeline, model = exported(tmp_path / "run", tmp_path / "theirs"), opened(tmp_path / "run")
    x = state(model)
    base = their_answer(pipeline, x, 500, ()).detach()
    config = peft.LoraConfig(r=2, lora_alpha=3, target_modules=["to_q", "to_v", "to_out.0", "conv2", "conv_shortcut"])
    tuned = peft.get_peft_model(pipeline.unet, config)
    stir(tuned)
    tuned.save_pretrained(tmp_path / "written")
    pipeline.unet = tuned.merge_and_unload()
    due = their_answer(pipeline, x, 500, ()).detach()
    model = added(model, named((str(tmp_path / "written"),), model))
    check(answer(model, x, 500, ()), due, base)


@pytest.mark.slow
def test_a_folder_of_peft_for_a_transformer(tmp_path: Path) -> None:
    folder = tmp_path / "ours"
    made(OURS["transformer"], folder / "run")
    pipeline, model = exported(folder / "run", folder / "theirs"), opened(folder / "run")
    x, classes = state(model), ("cat", "dog")
    base = their_answer(pipeline, x, 500, (0, 1))
    layers = [*ATTENTION, "proj", "net.2", "norm1.linear", "proj_out_1", "proj_out_2"]
    tuned = peft.get_peft_model(pipeline.transformer, peft.LoraConfig(r=2, lora_alpha=3, target_modules=layers))
    stir(tuned)
    tuned.save_pretrained(tmp_path / "written")
    pipeline.transformer = tuned.merge_and_unload()
    due = their_answer(pipeline, x, 500, (0, 1)).detach()
    model = added(model, named((str(tmp_path / "written"),), model))
    check(answer(model, x, 500, classes), due, base.detach())
    config = peft.LoraConfig(r=2, target_modules=["timestep_embedder.linear_1"])
    peft.get_peft_model(pipeline.transformer, config).save_pretrained(tmp_path / "embedding")
    with pytest.raises(UserError, match=r"for another network: this one has no layer 'transformer_blocks.0.norm1"):
        named((str(tmp_path / "embedding"),), model)


def stir(part: nn.Module) -> None:
    """Gives all factors values as training would."""
    with torch_generator(2), torch.no_grad():
        for name, own in part.named_parameters():
            if "lora_" in name:
                own.copy_(0.3 * torch.randn(own.shape))


def test_rows_of_what_has_learned_nothing_are_zero(pairs: Callable[[str], tuple[Any, Path]], tmp_path: Path) -> None:
    pipeline, run = pairs("v1")
    model = opened(run)
    for end, first in (("attn1.to_v", 32), ("attn1.to_k", 0)):
        file = saved(keys(of(pipeline, [end], texts=False), newer), tmp_path / f"{end}.safetensors")
        found = fitting(file, model)
        one = found["down.0.0.attention.layers.0.to_itself.kv"]
        product = one.scale * one.up @ one.down
        down, up, _ = learned(pipeline.unet, [end])[f"down_blocks.0.attentions.0.transformer_blocks.0.{end}"]
        due = torch.zeros(64, 32)
        due[first : first + 32] = up @ down
        assert torch.equal(product, due)


def test_alpha_in_halves_and_in_whole_numbers(pairs: Callable[[str], tuple[Any, Path]], tmp_path: Path) -> None:
    pipeline, run = pairs("v1")
    tensors = keys(of(pipeline, ("to_q",), texts=False, rank=3), newer, ".alpha")
    half = {name: one.to(torch.int64 if "alpha" in name else torch.float16) for name, one in tensors.items()}
    ups = {
        name: float(tensors[name.replace("lora_B.weight", "alpha")]) / one.shape[1]
        for name, one in half.items()
        if "lora_B" in name
    }
    scaled = {name: one.float() * ups.get(name, 1) for name, one in half.items() if "alpha" not in name}
    mine, due = (ours(run, str(saved(one, tmp_path / f"{k}.safetensors"))) for k, one in enumerate((half, scaled)))
    assert (mine - due).abs().max() <= CLOSE * due.abs().max()


def test_words_alone(pairs: Callable[[str], tuple[Any, Path]], tmp_path: Path) -> None:
    """What a text encoder has learned is another condition, and what is opened stays as it was."""
    pipeline, run = pairs("v1")
    lora = {"text_encoder": learned(pipeline.text_encoder, OF_TEXTS)}
    file = saved(keys(lora, kohya, ".alpha"), tmp_path / "words.safetensors")
    model = opened(run)
    other = added(model, named((str(file),), model))
    before, after = (one.conditions(WORDS).tokens for one in (model, other))
    assert before is not None and after is not None and not torch.allclose(before, after, atol=1e-2)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), opened(run).parameters(), strict=True))
    assert {id(one) for one in model.denoiser.parameters()} == {id(one) for one in other.denoiser.parameters()}
    ours_of, others_of = (dict(one.conditioner.named_parameters()) for one in (model, other))
    changed = {name for name, one in ours_of.items() if one is not others_of[name]}
    assert changed == {f"encoders.0.layers.{k}.{end}.weight" for k in (0, 1) for end in ("qkv", "out", "fc1", "fc2")}


@pytest.mark.slow
def test_a_picture_remembers_them(
    pairs: Callable[[str], tuple[Any, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline, run = pairs("v1")
    monkeypatch.chdir(run.parent)
    tensors = keys(of(pipeline, ATTENTION), kohya, ".alpha")
    file = saved(tensors, run.parent / "words.safetensors")

    def done(*words: str | Path, code: int = 0) -> str:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert end.value.code == code, err
        return " ".join((out + err).split())

    asked = ("sample", run, "a red cat", "-n", "1", "--steps", "2")
    done(*asked, "--lora", f"{file}:0.8", "--out", run.parent / "with")
    done(*asked, "--out", run.parent / "without")
    with_it, without = (run.parent / name / "grid.png" for name in ("with", "without"))
    assert with_it.read_bytes() != without.read_bytes()
    assert "every pixel is the same" in done("replay", with_it, "--out", tmp_path / "again.png")
    saved({name: 1.01 * one for name, one in tensors.items()}, file)
    assert "has changed since" in done("replay", with_it, "--out", tmp_path / "b.png", code=2)
