"""Adapters of peft's here, and ours there; both merged, as the networks use their weights directly."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from carrara.backbone import Backbone, DiTConfig, UNetConfig
from carrara.lora import merge, read_adapter, write_adapter
from carrara.nn.low_rank import adapted, factors_of
from carrara.seeds import torch_generator
from carrara.types import Conditioning

pytest.importorskip("peft")

import peft

NETWORKS = {
    "unet": UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), modulation="scale_shift"),
    "dit": DiTConfig(width=16, depth=2, heads=2, patch=2),
}
LAYERS = {"unet": ["qkv", "conv1", "attention.out"], "dit": ["q", "kv", "out"]}
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"r": 2, "lora_alpha": 3},
    "by patterns": {
        "r": 2,
        "lora_alpha": 4,
        "rank_pattern": {"(qkv|kv)": 3},
        "alpha_pattern": {r"(middle|blocks\.0).*(qkv|kv)": 5, ".*out": 6},
    },
    "of roots": {"r": 4, "lora_alpha": 4, "use_rslora": True},
}


def network(kind: str) -> Backbone:
    with torch_generator(0):
        made = NETWORKS[kind].build((3, 8, 8))
        with torch.no_grad():
            for own in made.parameters():
                own += 0.1 * torch.randn(own.shape)
    return made.eval()


@torch.no_grad()
def answer(made: nn.Module) -> Tensor:
    return made(torch.linspace(-1, 1, 384).view(2, 3, 8, 8), torch.tensor([0.5, -1.0]), Conditioning())


@torch.no_grad()
def learned(made: nn.Module, names: tuple[str, ...]) -> None:
    """Gives all factors values as training would."""
    with torch_generator(1):
        for name, own in made.named_parameters():
            if any(one in name for one in names):
                own.copy_(0.3 * torch.randn(own.shape))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_an_adapter_of_peft_is_added_here(kind: str, way: str, tmp_path: Path) -> None:
    base = network(kind)
    theirs = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(target_modules=LAYERS[kind], **WAYS[way]))
    learned(theirs, ("lora_A", "lora_B"))
    theirs.save_pretrained(tmp_path)
    expected = answer(theirs.merge_and_unload())
    factors = read_adapter(tmp_path)
    ours = copy.deepcopy(base)
    merge(ours, factors, 1.0, "peft's")
    assert (answer(ours) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (answer(base) - expected).abs().max() > 1e-2 * expected.abs().max()


@pytest.mark.parametrize("rank", [2, 4])
@pytest.mark.parametrize("kind", NETWORKS)
def test_an_adapter_of_ours_is_loaded_there(kind: str, rank: int, tmp_path: Path) -> None:
    """And here again. With rank 4 it is of all layers; the last, ``out``, has another alpha than each ``...out``."""
    base = network(kind)
    ours, again = copy.deepcopy(base), copy.deepcopy(base)
    adapted(ours, LAYERS[kind] if rank == 2 else ["*"], rank, 3.0)
    learned(ours, (".down", ".up"))
    write_adapter(tmp_path, factors_of(ours), "a base")
    merge(again, read_adapter(tmp_path), 1.0, "ours")
    assert (answer(ours) - answer(again)).abs().max() < 1e-5 * answer(ours).abs().max()
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path)).merge_and_unload()
    expected = answer(ours)
    assert (answer(theirs) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (answer(base) - expected).abs().max() > 1e-2 * expected.abs().max()
