"""Adapters by others' names of layers: which layer is meant, and what is no adapter of a network is one sentence."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from carrara.backbone import UNETS, ControlledConfig, Conventions, DiTConfig, MlpConfig, UNetConfig
from carrara.conditioning import ClipEncoderConfig, ClipTextConfig
from carrara.errors import UserError
from carrara.lora import read_adapter
from carrara.naming import adopted, compvis_place, unet_names
from carrara.nn.low_rank import Factors

SMALL = UNetConfig(
    channels=8,
    multipliers=(1, 2),
    blocks=2,
    attention_levels=(0,),
    transformer_depths=(1, 1),
    heads=2,
    context_width=12,
    conventions=Conventions(groups=4, timesteps=1000),
)
XL = UNetConfig(
    channels=320,
    multipliers=(1, 2, 4),
    blocks=2,
    attention_levels=(1, 2),
    transformer_depths=(0, 2, 10),
    head_width=64,
    context_width=2048,
    conventions=Conventions(groups=32, timesteps=1000),
)
LAYER = "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_v"
FLAT = LAYER.replace(".", "_")
OURS = "down.0.1.attention.layers.0.to_tokens.kv"
A, B = torch.randn(2, 12), torch.randn(8, 2)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return SMALL.build((4, 8, 8))


def file(folder: Path, tensors: Mapping[str, Tensor], said: Mapping[str, str] | None = None) -> Path:
    path = folder / "lora.safetensors"
    save_file({name: one.clone().contiguous() for name, one in tensors.items()}, path, {"format": "pt", **(said or {})})
    return path


def pair(layer: str, down: Tensor = A, up: Tensor = B) -> dict[str, Tensor]:
    """As kohya's scripts write it."""
    return {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}


@pytest.mark.parametrize(
    ("theirs", "due"),
    [
        ("input_blocks.0.0", "conv_in"),
        ("input_blocks.1.0.in_layers.2", "down_blocks.0.resnets.0.conv1"),
        ("input_blocks.2.0.emb_layers.1", "down_blocks.0.resnets.1.time_emb_proj"),
        ("input_blocks.3.0.op", "down_blocks.0.downsamplers.0.conv"),
        ("input_blocks.7.1.proj_in", "down_blocks.2.attentions.0.proj_in"),
        (
            "input_blocks.8.1.transformer_blocks.9.attn2.to_out.0",
            "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_out.0",
        ),
        (
            "middle_block.1.transformer_blocks.0.ff.net.0.proj",
            "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
        ),
        ("middle_block.2.out_layers.3", "mid_block.resnets.1.conv2"),
        ("output_blocks.0.0.skip_connection", "up_blocks.0.resnets.0.conv_shortcut"),
        ("output_blocks.5.2.conv", "up_blocks.1.upsamplers.0.conv"),
        ("output_blocks.8.0.in_layers.2", "up_blocks.2.resnets.2.conv1"),
        ("label_emb.0.2", "add_embedding.linear_2"),
        ("out.2", "conv_out"),
        ("down_blocks.0.resnets.0.conv1", None),
    ],
)
def test_rows_of_blocks_are_levels(theirs: str, due: str | None) -> None:
    """As in Stable Diffusion XL, with two blocks at each level."""
    assert compvis_place(theirs, 2) == due
    assert compvis_place(theirs.replace(".", "_"), 2, "_") == (due and due.replace(".", "_"))


@pytest.mark.parametrize(
    "name",
    [
        f"lora_unet_{FLAT}",
        "lora_unet_input_blocks_2_1_transformer_blocks_0_attn2_to_v",
        f"unet.{LAYER}",
        LAYER,
        f"base_model.model.{LAYER}",
        f"unet.{LAYER.replace('.to_v', '.processor.to_v')}",
        "diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_v",
    ],
)
def test_a_layer_by_all_of_its_names(name: str, network: nn.Module, tmp_path: Path) -> None:
    found = adopted(read_adapter(file(tmp_path, pair(name))), network, nn.Identity(), "it")
    assert found.keys() == {OURS}
    product = found[OURS].scale * found[OURS].up @ found[OURS].down
    assert torch.equal(product[8:], B @ A) and not product[:8].any()


@pytest.mark.parametrize(("config", "layers"), [(UNETS["sd-v1"], 192), (XL, 722)])
def test_as_many_layers_as_a_lora_of_full_size_has(config: UNetConfig, layers: int) -> None:
    """kohya's scripts say so many modules of the transformers of Stable Diffusion 1 and XL."""
    with torch.device("meta"):
        state = config.build((4, 64, 64)).state_dict()
    names = [there for name, parts in unet_names(config, state).items() if state[name].ndim > 1 for there in parts]
    assert len([name for name in names if ".attentions." in name and name.endswith(".weight")]) == layers


def test_the_three_of_one_matrix_are_exact(network: nn.Module) -> None:
    """Also in ranks and scales of their own."""
    given = {
        LAYER: Factors(down=A, up=B, scale=0.5),
        LAYER.replace("to_v", "to_k"): Factors(down=torch.randn(3, 12), up=torch.randn(8, 3), scale=2.0),
    }
    one = adopted(given, network, nn.Identity(), "it")[OURS]
    k, v = (given[LAYER.replace("to_v", end)] for end in ("to_k", "to_v"))
    due = torch.cat([pair.added(torch.zeros(8, 12)) for pair in (k, v)])
    assert one.rank == 5 and torch.allclose(one.added(torch.zeros(16, 12)), due, atol=1e-6)


def test_matrices_are_kernels_of_one_place(network: nn.Module) -> None:
    here = {"down.0.0.attention.inp": (8, 8), "down.1.0.residual.skip": (16, 8, 1, 1)}
    there = ("down_blocks.0.attentions.0.proj_in", "down_blocks.1.resnets.0.conv_shortcut")
    for (layer, shape), name in zip(here.items(), there, strict=True):
        for ones in ((), (1, 1)):
            one = Factors(down=torch.randn(2, 8, *ones), up=torch.randn(shape[0], 2, *ones), scale=1.0)
            assert adopted({name: one}, network, nn.Identity(), "it")[layer].shape == shape


def test_a_controlled_network_has_the_layers_of_its_own() -> None:
    whole = ControlledConfig(network=SMALL).build((4, 8, 8), image_channels=3)
    found = adopted({LAYER: Factors(down=A, up=B, scale=1.0)}, whole, nn.Identity(), "it")
    assert found.keys() == {f"network.{OURS}"}


def test_text_encoders_by_their_numbers(network: nn.Module, tmp_path: Path) -> None:
    small = ClipEncoderConfig(width=8, depth=1, heads=2, inner=16, vocabulary=9, length=4, projection=8)
    condition = ClipTextConfig(encoders=(small, small), sides=(8, 8), features=4).build(32)
    down, up = torch.randn(2, 8), torch.randn(8, 2)
    for number, names in enumerate(
        (
            ("lora_te1_text_model_", "lora_te_text_model_", "text_encoder.text_model.", "text_encoder."),
            ("lora_te2_text_model_", "text_encoder_2.text_model.", "text_encoder_2."),
        )
    ):
        for name in names:
            inner = "encoder.layers.0.self_attn.out_proj"
            inner = inner.replace(".", "_") if name.startswith("lora_") else inner
            read = read_adapter(file(tmp_path, pair(name + inner, down, up)))
            assert adopted(read, network, condition, "it").keys() == {f"conditioner.encoders.{number}.layers.0.out"}
    told = {"unet.add_embedding.linear_2": Factors(down=torch.randn(2, 32), up=torch.randn(32, 2), scale=1.0)}
    assert adopted(told, network, condition, "it").keys() == {"conditioner.told.2"}


GOOD = pair(f"lora_unet_{FLAT}")
HEADER = "lora_adapter_metadata"
BAD: Mapping[str, tuple[Mapping[str, Tensor], str]] = {
    "LoHa": ({f"lora_unet_{FLAT}.hada_w1_a": A}, r"is a LoHa .*LoRA alone is read"),
    "LoKr": ({f"lora_unet_{FLAT}.lokr_w1": A}, "is a LoKr"),
    "DoRA": ({**GOOD, f"lora_unet_{FLAT}.dora_scale": A}, "is a DoRA"),
    "DoRA of peft": ({f"{LAYER}.lora_magnitude_vector": A[0]}, "is a DoRA"),
    "three factors": ({**GOOD, f"lora_unet_{FLAT}.lora_mid.weight": A}, "is a LoRA of three factors"),
    "biases": ({f"{LAYER}.lora_B.bias": A[0]}, "is a LoRA with biases"),
    "whole weights": ({f"lora_unet_{FLAT}.diff": A}, "a LoRA has pairs of factors alone"),
    "no adapter": ({"model.diffusion_model.out.2.weight": A}, "a LoRA has pairs of factors alone"),
    "nothing": ({}, "holds no pair"),
    "no up": ({f"lora_unet_{FLAT}.lora_down.weight": A}, "holds no lora_B, or up, of 'lora_unet"),
    "no down": ({f"unet.{LAYER}.lora.up.weight": B}, r"holds no lora_A, or down, of 'unet\.down"),
    "alpha alone": ({**GOOD, "lora_unet_conv_in.alpha": torch.tensor(1.0)}, "holds no lora_A, or down, of"),
    "a long name": (pair(f"unet.{'a.' * 300}"), "a LoRA has pairs of factors alone"),
    "twice": ({**pair(LAYER), f"{LAYER}.lora.down.weight": A}, "twice"),
    "whole numbers": (pair(f"lora_unet_{FLAT}", A.long(), B), "in int64"),
    "NaN": (pair(f"lora_unet_{FLAT}", A / 0 * 0, B), r"infinite or none \(NaN\)"),
    "infinity": (pair(f"lora_unet_{FLAT}", A.double() * 1e300, B), "infinite"),
    "two alphas": ({**GOOD, f"lora_unet_{FLAT}.alpha": torch.ones(2)}, "which is not one number"),
    "an alpha that is none": ({**GOOD, f"lora_unet_{FLAT}.alpha": torch.tensor(torch.nan)}, "which is not one number"),
    "ranks that differ": (pair(f"lora_unet_{FLAT}", A, B[:, :1]), "is damaged"),
    "a number": (pair(f"lora_unet_{FLAT}", A[0, 0], B), "is damaged"),
    "a pair that is none": (pair(f"lora_unet_{FLAT}", A[0, 0], B[0, 0]), "is damaged"),
    "a layer of another": (pair("lora_unet_down_blocks_7_resnets_0_conv1"), "for another network: this one has no"),
    "a row of another": (pair("lora_unet_input_blocks_9999_1_proj_in"), "for another network: this one has no"),
    "an encoder of texts": (pair("lora_te_text_model_encoder_layers_0_mlp_fc1"), r"has no layer 'lora_te_text"),
    "a transformer": (pair("transformer.single_transformer_blocks.0.attn.to_q"), "has no layer"),
    "another width": (
        pair(f"lora_unet_{FLAT}", torch.randn(2, 768), B),
        r"\(8, 768\) there, and one of \(8, 12\)",
    ),
    "another kernel": (
        pair("lora_unet_conv_in", torch.randn(2, 4, 1, 1), torch.randn(8, 2, 1, 1)),
        r"weight of \(8, 4, 1, 1\) there, and one of \(8, 4, 3, 3\) here",
    ),
    "a norm": (pair("lora_unet_conv_norm_out", torch.randn(2, 1), B), r"and one of \(8,\) here"),
    "both names": (
        {**GOOD, **pair("lora_unet_input_blocks_2_1_transformer_blocks_0_attn2_to_v")},
        "two pairs of factors for",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_adapter_is_a_sentence(name: str, network: nn.Module, tmp_path: Path) -> None:
    tensors, why = BAD[name]
    path = file(tmp_path, tensors)
    with pytest.raises(UserError, match=why) as caught:
        adopted(read_adapter(path), network, nn.Identity(), str(path))
    assert "\n" not in caught.value.message and str(path) in caught.value.message


SAID: Mapping[str, tuple[Any, str]] = {
    "no JSON": ("{", "header"),
    "a list": ("[]", "header"),
    "no alpha": (json.dumps({"unet.lora_alpha": -1}), "lora_alpha"),
    "another kind": (json.dumps({"unet.peft_type": "LOHA"}), "says LOHA"),
    "DoRA": (json.dumps({"unet.use_dora": True}), "says DORA"),
    "an expression without end": (json.dumps({"unet.alpha_pattern": {r"(\w+)+!": 2}}), "is too intricate"),
    "an expression of many parts": (json.dumps({"unet.alpha_pattern": {".*.*.*.*!": 2}}), "is too intricate"),
}


@pytest.mark.parametrize("name", SAID)
def test_a_header_that_is_wrong_is_a_sentence(name: str, tmp_path: Path) -> None:
    said, why = SAID[name]
    path = file(tmp_path, pair(f"unet.{LAYER}"), {HEADER: said})
    with pytest.raises(UserError, match=why) as caught:
        read_adapter(path)
    assert "\n" not in caught.value.message and str(path) in caught.value.message


@pytest.mark.parametrize(
    "config", [MlpConfig(), DiTConfig(width=16, depth=1, heads=2), UNetConfig(channels=8, modulation="context")]
)
def test_networks_without_such_names_have_no_such_layer(config: Any) -> None:
    other = config.build((2,) if isinstance(config, MlpConfig) else (3, 8, 8))
    with pytest.raises(UserError, match="has no layer"):
        adopted({LAYER: Factors(down=A, up=B, scale=1.0)}, other, nn.Identity(), "it")
