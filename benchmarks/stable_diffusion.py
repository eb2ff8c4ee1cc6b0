"""Stable Diffusion v1's networks at their full size against diffusers' and transformers': one answer of each.

    python benchmarks/stable_diffusion.py          writes benchmarks/results/stable_diffusion.md; 6 GB, some minutes

Weights are random, and the same on both sides. Errors are the largest difference over the largest value.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import machine
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from carrara.autoencoder import Kl, KlConfig
from carrara.backbone import UNet
from carrara.conditioning import ClipEncoder, ClipEncoderConfig
from carrara.export import clips, kls, text_unets, unets
from carrara.export.names import Names, read
from carrara.nn import step_features
from carrara.seeds import torch_generator
from carrara.types import Conditioning

LEVELS = 4 * ("DownEncoderBlock2D",), 4 * ("UpDecoderBlock2D",)
STAGE = KlConfig(groups=32, eps=1e-6)


def pairs() -> Iterator[tuple[str, nn.Module, Callable[[], Tensor], Callable[[], Tensor]]]:
    """What is compared: our network, what it says, and what theirs says."""
    x, tokens = torch.randn(1, 4, 64, 64), torch.randn(1, 77, 768)
    yield "U-Net, 64x64 latents", *network(x, tokens)
    ids = torch.randint(0, 49406, (2, 77))
    theirs: Any = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12)).eval()
    with torch.device("meta"):
        encoder = ClipEncoder(ClipEncoderConfig())
    names = clips.names(encoder.state_dict())
    tensors = {str(clips.current(name)): one for name, one in theirs.state_dict().items()}
    encoder.load_state_dict({**read(tensors, names), "tokenizer": torch.zeros(0, dtype=torch.uint8)}, assign=True)
    yield "CLIP's text encoder, 2 texts", encoder, lambda: encoder(ids)[0], lambda: theirs(ids).last_hidden_state
    vae: Any = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=LEVELS[0],
        up_block_types=LEVELS[1],
    ).eval()
    stage = Kl(STAGE, (3, 256, 256)).eval()
    given(stage, vae, kls.names(stage.state_dict()), {"mean": torch.zeros(4), "std": torch.ones(4)})
    pixels, z = torch.rand(1, 3, 256, 256) * 2 - 1, torch.randn(1, 4, 32, 32)
    yield (
        "encoder, 256x256",
        stage,
        lambda: stage.encode_raw(pixels)[:, :4],
        lambda: vae.encode(pixels).latent_dist.mean,
    )
    yield "decoder, 256x256", stage, lambda: stage.decode(z), lambda: vae.decode(z).sample


def network(x: Tensor, tokens: Tensor) -> tuple[UNet, Callable[[], Tensor], Callable[[], Tensor]]:
    theirs: Any = UNet2DConditionModel(cross_attention_dim=768).eval()
    with torch.device("meta"):
        mine: Any = text_unets.ours(text_unets.Theirs(cross_attention_dim=768), 1000).build((4, 64, 64)).eval()
    levels, table = torch.linspace(6, -6, 1000), step_features(1000, 320, cosines_first=True, shift=0.0)
    names = unets.names(mine.config, mine.state_dict())
    given(mine, theirs, names, {"noise.levels": levels, "noise.table": table})
    told = Conditioning(tokens=tokens)
    step = torch.tensor(500)
    return mine, lambda: mine(x, levels[500:501], told), lambda: theirs(x, step, encoder_hidden_states=tokens).sample


def given(mine: nn.Module, theirs: nn.Module, names: Names, more: dict[str, Tensor]) -> None:
    """Gives our network their weights, without copies where it can be."""
    state, shapes = theirs.state_dict(), mine.state_dict()
    found = {name: one.reshape(shapes[name].shape) for name, one in read(state, names).items()}
    mine.load_state_dict({**found, **more}, assign=True)


def main() -> None:
    lines = ["# Stable Diffusion v1's networks at their full size", "", machine.described(), ""]
    lines += ["| network | parameters | error |", "|---|---|---|"]
    with torch_generator(0), torch.no_grad():
        for name, network, mine, theirs in pairs():
            one, other = mine(), theirs()
            error = ((one - other).abs().max() / other.abs().max()).item()
            count = sum(one.numel() for one in network.parameters())
            lines.append(f"| {name} | {count:,} | {error:.1e} |")
            print(lines[-1], flush=True)
    (Path(__file__).parent / "results" / "stable_diffusion.md").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
