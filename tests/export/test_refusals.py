"""What cannot be written or read is one sentence, and leaves nothing behind."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pipelines import CLASSES, LATENTS, OURS, PIXELS, SMALL, STAGE, imported, saved, their_pipeline
from safetensors.torch import load_file, save_file

from carrara.autoencoder import Vq, VqConfig
from carrara.backbone import DiTConfig, UNetConfig
from carrara.cli.entry import main
from carrara.conditioning import Masked, VectorsConfig
from carrara.errors import UserError
from carrara.export.command import export
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import Edm, Flow, RectifiedFlow
from carrara.sample import Leading, Uniform

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

DIT = DiTConfig(width=32, depth=1, heads=2, timesteps=1000)
NARROW = UNetConfig(channels=32, multipliers=(1, 2), blocks=1, attention_levels=(1,))
REFUSED: dict[str, tuple[ModelConfig, str]] = {
    "flow": (replace(PIXELS, schedule=RectifiedFlow(), parameterization=Flow()), "parameterization flow"),
    "edm": (replace(PIXELS, parameterization=Edm()), "parameterization edm"),
    "groups": (replace(PIXELS, backbone=NARROW), "8 and 16 and 24 and 32 groups"),
    "context": (replace(PIXELS, backbone=replace(SMALL, modulation="context")), "modulation 'context'"),
    "patches": (replace(PIXELS, backbone=replace(SMALL, patch=2)), "patches of 2 pixels"),
    "first level": (replace(PIXELS, backbone=replace(SMALL, multipliers=(2, 2))), "first level that is wider"),
    "heads": (
        replace(PIXELS, backbone=replace(SMALL, attention_levels=(0, 1), head_width=None, heads=2)),
        "as many heads at every level",
    ),
    "variance": (replace(PIXELS, learned_variance=True), "a learned variance"),
    "vectors": (replace(PIXELS, conditioner=VectorsConfig(size=2)), "the condition 'vectors'"),
    "image": (replace(PIXELS, image=Masked()), "a picture beside the noise"),
    "sound": (replace(PIXELS, shape=(1, 16)), "no pictures"),
    "pixels": (replace(PIXELS, backbone=DIT), "a transformer of pixels"),
    "half log-SNRs": (replace(LATENTS, backbone=replace(DIT, timesteps=None)), "half log-SNRs"),
    "rotary": (replace(LATENTS, backbone=replace(DIT, positions="rotary")), "rotary"),
    "norms": (replace(LATENTS, first_stage=replace(STAGE, eps=None)), "first_stage.eps=1e-6"),
    "quantized, and apart": (
        replace(LATENTS, first_stage=VqConfig(channels=16, multipliers=(1, 2), blocks=1, groups=4, eps=1e-6)),
        "another deviation in each channel",
    ),
    "quantized, and a transformer": (
        replace(LATENTS, backbone=DIT, first_stage=VqConfig(channels=16, multipliers=(1, 2), blocks=1)),
        "no transformer of a VQ",
    ),
    "stage's groups": (replace(LATENTS, first_stage=replace(STAGE, groups=None)), "first_stage.groups"),
    "stage's patches": (replace(LATENTS, first_stage=replace(STAGE, patch=2)), "first_stage.patch=1"),
    "no label": (replace(PIXELS, conditioner=CLASSES), "label=NAME"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_nowhere_in_diffusers(kind: str, tmp_path: Path) -> None:
    config, part = REFUSED[kind]
    saved_plain(config, tmp_path / "run")
    with pytest.raises(UserError) as refused:
        export(tmp_path / "run", to="diffusers", out=tmp_path / "out")
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)
    assert names(tmp_path) == ["run"]


def saved_plain(config: ModelConfig, folder: Path) -> None:
    model = DiffusionModel(config)
    if isinstance(model.first_stage, Vq):
        model.first_stage.std.copy_(torch.arange(1.0, 5.0))
    model.save(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_asked_wrongly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved_plain(OURS["v"], tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for words, part in (
        (["export", "run", "--to", "paper", "--out", "out"], "unknown target 'paper'"),
        (["export", "run", "--to", "diffusers", "--out", "full"], "is not empty"),
        (["export", "run", "--to", "diffusers", "--out", "out", "--class", "cat"], "leave --class out"),
        (["export", "nothing", "--to", "diffusers", "--out", "out"], "there is no run 'nothing'"),
        (["import", "nothing", "--run", "out"], "there is no folder"),
        (["import", "run", "--run", "out"], "there is no model_index.json in it"),
    ):
        places = {"run": tmp_path / "run", "out": tmp_path / "out", "full": tmp_path / "full"}
        with pytest.raises(SystemExit) as ended:
            main([str(places.get(word, word)) for word in words])
        assert ended.value.code == 2
        assert part in " ".join(capsys.readouterr().err.split())
    assert names(tmp_path) == ["full", "run"]


def key(file: str, name: str, value: Any) -> Callable[[Path], None]:
    """Changes a key of a JSON file of a folder."""

    def change(folder: Path) -> None:
        found = json.loads((folder / file).read_text())
        found[name] = value
        (folder / file).write_text(json.dumps(found))

    return change


def weights(name: str, value: torch.Tensor | None) -> Callable[[Path], None]:
    """Changes a tensor of the network, or takes it away."""

    def change(folder: Path) -> None:
        path = folder / "unet" / "diffusion_pytorch_model.safetensors"
        found = load_file(path)
        found.pop(name, None)
        save_file(found if value is None else {**found, name: value}, path)

    return change


def index(place: str) -> Callable[[Path], None]:
    """Puts an index with one shard in the place of the weights."""

    def change(folder: Path) -> None:
        path = folder / "unet" / "diffusion_pytorch_model.safetensors"
        path.rename(folder / "elsewhere.safetensors")
        path.with_name(f"{path.name}.index.json").write_text(json.dumps({"weight_map": {"conv_in.weight": place}}))

    return change


def pickled(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))


def linked(folder: Path) -> None:
    (folder / "unet" / "config.json").unlink()
    (folder / "unet" / "config.json").symlink_to("/etc/hostname")


def gone(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).rename(folder / "gone")


def cut(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


UNET, SCHEDULER, INDEX = "unet/config.json", "scheduler/scheduler_config.json", "model_index.json"
BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no part": (gone("unet"), "the part 'unet' is missing"),
    "no configuration": (gone(UNET), "is not there"),
    "no weights": (gone("unet/diffusion_pytorch_model.safetensors"), "there are no weights"),
    "a pickle": (pickled, "are no safetensors files"),
    "half a file": (cut, "is damaged"),
    "a link": (linked, "leads out of its folder"),
    "a pipeline": (key(INDEX, "_class_name", "EvilPipeline"), "unknown pipeline in model_index.json 'EvilPipeline'"),
    "a class": (key(INDEX, "unet", ["diffusers", "UNet3D"]), "unknown class of 'unet' in model_index.json 'UNet3D'"),
    "a library": (key(INDEX, "unet", ["my_code", "UNet2DModel"]), "no part 'unet' of diffusers' own"),
    "no library": (key(INDEX, "unet", "UNet2DModel"), "no part 'unet' of diffusers' own"),
    "a scheduler": (key(INDEX, "scheduler", ["diffusers", "LCMScheduler"]), "'LCMScheduler'"),
    "another scheduler": (key(SCHEDULER, "_class_name", "LCMScheduler"), "unknown scheduler 'LCMScheduler'"),
    "a prediction": (key(SCHEDULER, "prediction_type", "flow"), "unknown prediction_type 'flow'"),
    "betas": (key(SCHEDULER, "beta_schedule", "sigmoid"), "unknown beta_schedule 'sigmoid'"),
    "trained betas": (key(SCHEDULER, "trained_betas", [0.1, 0.2]), "trained_betas"),
    "many steps": (key(SCHEDULER, "num_train_timesteps", 10**12), "betas are none"),
    "no steps": (key(SCHEDULER, "num_train_timesteps", "many"), "betas are none"),
    "no betas": (key(SCHEDULER, "beta_end", 3), "betas are none"),
    "thresholds": (key(SCHEDULER, "thresholding", True), "thresholds"),
    "spacing": (key(SCHEDULER, "timestep_spacing", "random"), "unknown timestep_spacing 'random'"),
    "a key": (key(UNET, "resnet_skip_time_act", True), "has the key 'resnet_skip_time_act'"),
    "a type": (key(UNET, "layers_per_block", "two"), "has 'layers_per_block' wrong"),
    "classes": (key(UNET, "num_class_embeds", 10), "a table of classes"),
    "blocks": (key(UNET, "down_block_types", ["DownBlock2D", "SkipDownBlock2D"]), "SkipDownBlock2D"),
    "an activation": (key(UNET, "act_fn", "mish"), "the activation mish"),
    "times": (key(UNET, "time_embedding_type", "fourier"), "times that are 'fourier'"),
    "no width": (key(UNET, "block_out_channels", []), "which there is not here"),
    "zero width": (key(UNET, "block_out_channels", [0, 0]), "uneven widths"),
    "huge": (key(UNET, "block_out_channels", [2**14, 2**15]), "no model that works"),
    "larger": (key(UNET, "block_out_channels", [32, 64]), "config.json says"),
    "a vast edge": (key(UNET, "sample_size", 10**9), "no model that works"),
    "rates": (key(UNET, "freq_shift", 8), "rates that are shifted by 8"),
    "heads": (key(UNET, "attention_head_dim", 0), "head_width 0"),
    "groups": (key(UNET, "norm_num_groups", 0), "at least 1 group"),
    "an edge": (key(UNET, "sample_size", -3), "no model that works"),
    "a tensor": (weights("conv_in.bias", None), "does not hold 'conv_in.bias'"),
    "a tensor more": (weights("evil", torch.zeros(1)), "holds 'evil', which nothing here is called"),
    "a shape": (weights("conv_in.bias", torch.zeros(3)), "of shape (3,)"),
    "numbers": (weights("conv_in.bias", torch.zeros(16, dtype=torch.int32)), "as int32"),
    "above": (index("../elsewhere.safetensors"), "only safetensors files beside it are read"),
    "absolute": (index("/etc/passwd"), "only safetensors files beside it are read"),
    "a shard's kind": (index("elsewhere.bin"), "only safetensors files beside it are read"),
    "no shard": (index("elsewhere.safetensors"), "is not there"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs")
    their_pipeline("as it comes").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_folder(kind: str, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, part = BAD[kind]
    folder = Path(shutil.copytree(sound, tmp_path / "theirs"))
    spoil(folder)
    with pytest.raises(SystemExit) as ended:
        main(["import", str(folder), "--run", str(tmp_path / "run")])
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert part in said
    assert len(said) < 900
    assert names(tmp_path) == ["theirs"]


@pytest.mark.parametrize(
    ("file", "change", "part"),
    [
        ("carrara.json", b"{", "is damaged"),
        ("scheduler/scheduler_config.json", b'{"_class_name": "DDIMScheduler"}', "the scheduler is not as it was"),
    ],
)
def test_what_was_ours_is_changed(file: str, change: bytes, part: str, tmp_path: Path) -> None:
    saved(OURS["v"], tmp_path / "run")
    export(tmp_path / "run", to="diffusers", out=tmp_path / "out")
    (tmp_path / "out" / file).write_bytes(change)
    with pytest.raises(UserError, match=part):
        imported(tmp_path / "out", tmp_path / "again")


def test_the_table_of_steps_is_changed(tmp_path: Path) -> None:
    saved(OURS["v"], tmp_path / "run")
    export(tmp_path / "run", to="diffusers", out=tmp_path / "out")
    weights("time_proj.weight", torch.zeros(1000, 32))(tmp_path / "out")
    with pytest.raises(UserError, match="the table of steps is not as it was exported"):
        imported(tmp_path / "out", tmp_path / "again")


def test_what_is_said_of_a_sampler(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "theirs"))
    key(SCHEDULER, "steps_offset", 1)(folder)
    key(SCHEDULER, "set_alpha_to_one", False)(folder)
    assert imported(folder, tmp_path / "run").config.sample.grid == Leading(offset=1)
    assert "cleanest noise level" in capsys.readouterr().out
    key(SCHEDULER, "timestep_spacing", "linspace")(folder)
    assert imported(folder, tmp_path / "again").config.sample.grid == Uniform()
    assert "(linspace)" in capsys.readouterr().out
