"""The U-Net with cross-attention against diffusers' ``UNet2DConditionModel``: the same weights give the same answer.

The embeddings of time differ on purpose (ours reads the log-SNR), so both networks are given the same one.
"""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from carrara.backbone import Backbone, UNetConfig
from carrara.seeds import Draws, torch_generator
from carrara.types import Conditioning

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # diffusers' own, while it is imported
    diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")

LEVELS, BLOCKS, WIDTH, CONTEXT = 2, 1, 128, 24  # as narrow as groups of 4 channels allow, of which theirs are always 32
RENAMED = [
    (r"^inp\.", "conv_in."),
    (r"^norm\.", "conv_norm_out."),
    (r"^out\.", "conv_out."),
    (r"^down\.(\d)\.(\d)\.residual", r"down_blocks.\1.resnets.\2"),
    (r"^down\.(\d)\.(\d)\.attention", r"down_blocks.\1.attentions.\2"),
    (r"^downsample\.(\d)", r"down_blocks.\1.downsamplers.0.conv"),
    (r"^middle\.(\d)\.residual", r"mid_block.resnets.\1"),
    (r"^middle\.(\d)\.attention", r"mid_block.attentions.\1"),
    (r"^up\.0\.(\d)\.residual", r"up_blocks.1.resnets.\1"),  # theirs count in the order of the way up
    (r"^up\.1\.(\d)\.residual", r"up_blocks.0.resnets.\1"),
    (r"^up\.0\.(\d)\.attention", r"up_blocks.1.attentions.\1"),
    (r"^upsample\.0\.conv", "up_blocks.0.upsamplers.0.conv"),
    (r"(resnets\.\d)\.emb", r"\1.time_emb_proj"),
    (r"(resnets\.\d)\.skip", r"\1.conv_shortcut"),
    (r"(attentions\.\d)\.inp", r"\1.proj_in"),
    (r"(attentions\.\d)\.out", r"\1.proj_out"),
    (r"(attentions\.\d)\.layers", r"\1.transformer_blocks"),
    (r"to_itself", "attn1"),
    (r"to_tokens", "attn2"),
    (r"(attn\d)\.q", r"\1.to_q"),
    (r"(attn\d)\.out", r"\1.to_out.0"),
    (r"feed_forward\.inp", "ff.net.0.proj"),
    (r"feed_forward\.out", "ff.net.2"),
]


class Given(nn.Module):
    """An embedding that is what it is, whatever is embedded."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, *_: Any) -> Tensor:
        return self.value


def pair() -> tuple[Backbone, Any]:
    config = UNetConfig(
        channels=WIDTH,
        multipliers=(1, 2),
        blocks=BLOCKS,
        attention_levels=(0,),
        transformer_depths=(2, 2),
        heads=4,
        context_width=CONTEXT,
    )
    ours = config.build((4, 8, 8))
    theirs = diffusers.UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        layers_per_block=BLOCKS,
        block_out_channels=config.widths,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        transformer_layers_per_block=2,
        attention_head_dim=4,  # the number of heads, under a name that stayed
        cross_attention_dim=CONTEXT,
    )
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    theirs.load_state_dict(renamed(ours.state_dict(), theirs.state_dict()))
    embedding = Draws(1, torch.arange(2)).normal("embedding", config.vector_width)
    ours.noise, theirs.time_embedding = Given(embedding), Given(embedding)
    return ours.eval(), theirs.eval()


def renamed(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state under their names, theirs where it is not compared; they keep keys and values apart."""
    state = {name: value for name, value in theirs.items() if name.startswith("time_embedding")}
    for name, value in ours.items():
        if name.startswith("noise."):
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        if ".kv." in name:
            k, v = value.chunk(2)
            state |= {name.replace(".kv.", ".to_k."): k, name.replace(".kv.", ".to_v."): v}
        else:
            state[name] = value.reshape(theirs[name].shape)
    return state


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_the_same_answer(masked: bool) -> None:
    with torch_generator(0), torch.no_grad():
        ours, theirs = pair()
        draws = Draws(0, torch.arange(2))
        x, tokens = draws.normal("x", 4, 8, 8), draws.normal("tokens", 7, CONTEXT)
        mask = torch.arange(7).expand(2, 7) < torch.tensor([[3], [7]]) if masked else None
        mine = ours(x, torch.zeros(2), Conditioning(tokens=tokens, mask=mask))
        other = theirs(x, torch.zeros(2), encoder_hidden_states=tokens, encoder_attention_mask=mask).sample
    assert other.abs().max() > 0.1
    torch.testing.assert_close(mine, other, atol=1e-4, rtol=0)
