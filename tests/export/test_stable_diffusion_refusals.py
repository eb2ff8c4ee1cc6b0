"""What of Stable Diffusion cannot be written or read is one sentence, and leaves nothing behind."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pipelines import LATENTS, imported
from safetensors.torch import load_file, save_file
from stable_diffusion import their_stable_diffusion, write_tokenizer

from carrara.cli.entry import main
from carrara.conditioning import ClipText, LearnedTextConfig
from carrara.errors import UserError
from carrara.export.command import export
from carrara.model import DiffusionModel, ModelConfig, load_model
from carrara.noise import Flow

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

Change = Callable[[Path], None]
UNET, ENCODER, INDEX = "unet/config.json", "text_encoder/config.json", "model_index.json"
SCHEDULER, TOKENIZER = "scheduler/scheduler_config.json", "tokenizer/tokenizer.json"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folders")
    for kind in ("v1", "xl"):
        their_stable_diffusion(kind, folder / f"scratch-{kind}").save_pretrained(folder / kind)
    return folder


def key(file: str, name: str, value: Any) -> Change:
    """Changes a key of a JSON file of a folder."""

    def change(folder: Path) -> None:
        found = json.loads((folder / file).read_text())
        found[name] = value
        (folder / file).write_text(json.dumps(found))

    return change


def gone(name: str) -> Change:
    return lambda folder: (folder / name).rename(folder / "gone")


def within(name: str, value: Any) -> Change:
    """Changes a key of the tokenizer's own table."""

    def change(folder: Path) -> None:
        found = json.loads((folder / TOKENIZER).read_text())
        found["model"][name] = value
        (folder / TOKENIZER).write_text(json.dumps(found))

    return change


def weights(name: str, value: torch.Tensor | None) -> Change:
    """Changes a tensor of the text encoder, or takes it away."""

    def change(folder: Path) -> None:
        path = folder / "text_encoder" / "model.safetensors"
        found = load_file(path)
        found.pop(name, None)
        save_file(found if value is None else {**found, name: value}, path, {"format": "pt"})

    return change


def shard(place: str) -> Change:
    """Puts an index with one shard in the place of the text encoder's weights."""

    def change(folder: Path) -> None:
        path = folder / "text_encoder" / "model.safetensors"
        path.rename(folder / "elsewhere.safetensors")
        path.with_name(f"{path.name}.index.json").write_text(json.dumps({"weight_map": {"norm": place}}))

    return change


def pickled(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    path.rename(path.with_name("pytorch_model.bin"))


def linked(folder: Path) -> None:
    (folder / TOKENIZER).unlink()
    (folder / TOKENIZER).symlink_to("/etc/hostname")


def other_merges(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")
    write_tokenizer(folder / "tokenizer")
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\nzq qz\n")


BAD: dict[str, tuple[str, Change, str]] = {
    "no encoder": ("v1", gone("text_encoder"), "the part 'text_encoder' is missing"),
    "no second encoder": ("xl", gone("text_encoder_2"), "the part 'text_encoder_2' is missing"),
    "no tokenizer": ("v1", gone("tokenizer"), "the part 'tokenizer' is missing"),
    "no vocabulary": ("v1", gone(TOKENIZER), "the tokenizer is missing"),
    "an encoder's class": ("v1", key(INDEX, "text_encoder", ["transformers", "T5EncoderModel"]), "'T5EncoderModel'"),
    "a tokenizer's class": ("v1", key(INDEX, "tokenizer", ["transformers", "T5Tokenizer"]), "'T5Tokenizer'"),
    "somebody's code": ("v1", key(INDEX, "text_encoder", ["code", "CLIPTextModel"]), "no part 'text_encoder' of"),
    "a part more": ("v1", key(INDEX, "controlnet", ["diffusers", "ControlNetModel"]), "the part 'controlnet'"),
    "a network's class": ("v1", key(INDEX, "unet", ["diffusers", "UNet2DModel"]), "'UNet2DModel'"),
    "a pipeline": ("v1", key(INDEX, "_class_name", "StableDiffusion3Pipeline"), "'StableDiffusion3Pipeline'"),
    "no weights": ("v1", gone("text_encoder/model.safetensors"), "there are no weights"),
    "a pickle": ("v1", pickled, "are no safetensors files"),
    "above": ("v1", shard("../elsewhere.safetensors"), "only safetensors files beside it are read"),
    "a link": ("v1", linked, "leads out of its folder"),
    "numbers": ("v1", weights("final_layer_norm.bias", torch.zeros(32, dtype=torch.int32)), "as int32"),
    "a shape": ("v1", weights("final_layer_norm.bias", torch.zeros(3)), "of shape (3,)"),
    "a tensor": ("v1", weights("final_layer_norm.bias", None), "does not hold 'text_model.final_layer_norm.bias'"),
    "a tensor more": ("v1", weights("evil", torch.zeros(1)), "which nothing here is called"),
    "a type of network": ("v1", key(ENCODER, "model_type", "bert"), "of the type 'bert'"),
    "an activation": ("v1", key(ENCODER, "hidden_act", "mish"), "the activation mish"),
    "heads": ("v1", key(ENCODER, "num_attention_heads", 5), "no text encoder that can be built here"),
    "a vast encoder": ("v1", key(ENCODER, "num_hidden_layers", 10**9), "no text encoder that can be built here"),
    "a large encoder": ("v1", key(ENCODER, "intermediate_size", 2**16), "config.json says"),
    "a deep encoder": ("v1", key(ENCODER, "num_hidden_layers", 900), "does not hold"),
    "a mask": ("v1", key(ENCODER, "use_attention_mask", True), "'use_attention_mask'"),
    "no number": ("v1", key(ENCODER, "hidden_size", "wide"), "has 'hidden_size' wrong"),
    "another width": ("v1", key(UNET, "cross_attention_dim", 48), "tokens of width 32"),
    "few tokens": ("v1", key(ENCODER, "vocab_size", 100), "not of one model"),
    "other words": ("v1", within("type", "WordPiece"), "no tokenizer of CLIP's"),
    "no words": ("v1", within("vocab", {}), "no tokenizer of CLIP's"),
    "words of no number": ("v1", within("vocab", {"a": -1}), "no tokenizer of CLIP's"),
    "merges": ("v1", within("merges", [["zq", "qz"]]), "merges are not those"),
    "merges in a file": ("v1", other_merges, "merges are not those"),
    "a word added": ("v1", key(TOKENIZER, "added_tokens", [{"id": 525, "content": "<toy>"}]), "'<toy>' added"),
    "a scheduler": ("v1", key(SCHEDULER, "_class_name", "FlowMatchEulerDiscreteScheduler"), "unknown scheduler"),
    "a spacing": ("v1", key(SCHEDULER, "use_beta_sigmas", True), "use_beta_sigmas has no equal"),
    "an offset": ("v1", key(SCHEDULER, "steps_offset", -3), "steps_offset is none"),
    "classes": ("v1", key(UNET, "class_embed_type", "timestep"), "class_embed_type timestep"),
    "blocks": ("v1", key(UNET, "down_block_types", ["AttnDownBlock2D", "DownBlock2D"]), "AttnDownBlock2D"),
    "a middle": ("v1", key(UNET, "mid_block_type", None), "no middle"),
    "attention alone": ("v1", key(UNET, "only_cross_attention", True), "only_cross_attention True"),
    "zero heads": ("v1", key(UNET, "attention_head_dim", 0), "heads of attention"),
    "lists": ("v1", key(UNET, "attention_head_dim", [2, 4, 8]), "3 numbers as attention_head_dim"),
    "pictures": ("v1", key(UNET, "addition_embed_type", "image"), "addition_embed_type 'image'"),
    "no sizes": ("xl", key(UNET, "addition_embed_type", None), "it is no model"),
    "other sizes": ("xl", key(UNET, "addition_time_embed_dim", 16), "is told 72 numbers, not 120"),
    "odd sizes": ("xl", key(UNET, "addition_time_embed_dim", 7), "no model that works"),
    "no zeros": ("xl", key(INDEX, "force_zeros_for_empty_prompt", "perhaps"), "no model that works"),
    "more channels": ("v1", key(UNET, "in_channels", 9), "its network has 9 channels"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_folder(kind: str, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    which, spoil, part = BAD[kind]
    folder = Path(shutil.copytree(folders / which, tmp_path / "theirs"))
    spoil(folder)
    with pytest.raises(SystemExit) as ended:
        main(["import", str(folder), "--run", str(tmp_path / "run")])
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2
    assert part in said
    assert len(said) < 900
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


@pytest.fixture(scope="module")
def model(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> DiffusionModel:
    return imported(folders / "v1", tmp_path_factory.mktemp("model") / "run")


TEXT = LearnedTextConfig(width=32, depth=1, heads=2, vocabulary="[PAD] [UNK] a b")
REFUSED: dict[str, tuple[Callable[[ModelConfig], ModelConfig], str]] = {
    "own texts": (
        lambda config: replace(config, conditioner=TEXT, sample=LATENTS.sample),
        "the text encoders of an imported Stable Diffusion",
    ),
    "half log-SNRs": (
        lambda config: with_network(config, conventions=replace(config.backbone.conventions, timesteps=None)),
        "half log-SNRs",
    ),
    "groups": (
        lambda config: with_network(config, conventions=replace(config.backbone.conventions, groups=None)),
        "groups",
    ),
    "patches": (lambda config: with_network(config, patch=2), "patches of 2 pixels"),
    "plain attention": (lambda config: with_network(config, transformer_depths=(0, 1)), "does not look at the text"),
    "flow": (lambda config: replace(config, parameterization=Flow()), "parameterization flow"),
    "other encoders": (
        lambda config: replace(config, conditioner=replace(config.conditioner, zeros=True)),
        "no pipeline with such text encoders",
    ),
}


def with_network(config: ModelConfig, **changes: Any) -> ModelConfig:
    return replace(config, backbone=replace(config.backbone, **changes))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_nowhere_in_diffusers(kind: str, model: DiffusionModel, tmp_path: Path) -> None:
    change, part = REFUSED[kind]
    changed = DiffusionModel(change(model.config))
    if isinstance(changed.conditioner, ClipText):
        changed.conditioner.load_state_dict(model.conditioner.state_dict())
    changed.save(tmp_path / "run")
    with pytest.raises(UserError) as refused:
        export(tmp_path / "run", to="diffusers", out=tmp_path / "out")
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_else_is_asked_of_it(model: DiffusionModel, tmp_path: Path) -> None:
    model.save(tmp_path / "run")
    for options, part in (({"to": "diffusers", "label": "cat"}, "no classes"), ({"to": "onnx"}, "CLIP")):
        with pytest.raises(UserError, match=part):
            export(tmp_path / "run", out=tmp_path / "out", **options)


def test_the_tokenizer_was_changed(model: DiffusionModel, tmp_path: Path) -> None:
    model.save(tmp_path / "run")
    export(tmp_path / "run", to="diffusers", out=tmp_path / "out")
    (tmp_path / "out" / "tokenizer" / "merges.txt").write_text("#version: 0.2\nh e\n")
    with pytest.raises(UserError, match="what reads the texts is not as it was exported"):
        imported(tmp_path / "out", tmp_path / "again")


def test_a_damaged_model(model: DiffusionModel, tmp_path: Path) -> None:
    assert isinstance(model.conditioner, ClipText)
    made = DiffusionModel(model.config)
    made.save(tmp_path / "run")
    with pytest.raises(UserError, match="tokenizer is damaged"):
        load_model(tmp_path / "run").conditions(["a cat"])


def test_what_a_folder_leaves_out(folders: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders / "v1", tmp_path / "theirs"))
    path = folder / UNET
    found = json.loads(path.read_text())
    path.write_text(
        json.dumps({k: v for k, v in found.items() if k not in ("freq_shift", "flip_sin_to_cos", "dropout")})
    )
    (folder / "tokenizer" / "tokenizer_config.json").unlink()
    assert imported(folder, tmp_path / "run").config.backbone.kind == "unet"
