"""The U-Net of Stable Diffusion, whose layers its authors (CompVis) called by rows of blocks, and diffusers by levels.

With n blocks at each level, block b of level l is number 1 + l (n + 1) + b on the way down, whose first is the input
layer, and l (n + 1) + b on the way up. What is in a block has other names in residual blocks alone.
"""

import re

_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def compvis_place(layer: str, blocks: int, dot: str = ".") -> str | None:
    """What diffusers calls a layer; None if it is none.

    Args:
        blocks: n.
        dot: what is between the parts of both names.
    """
    if (end := {name.replace(".", dot): there for name, there in _ENDS.items()}.get(layer)) is not None:
        return end.replace(".", dot)
    between = re.escape(dot)
    pattern = rf"(?:(input|output)_blocks{between}(\d{{1,4}})|middle_block){between}(\d){between}(.+)"
    if (match := re.fullmatch(pattern, layer)) is None:
        return None
    way, number, index, within = match[1], int(match[2] or 0), int(match[3]), match[4]
    inner = {name.replace(".", dot): there for name, there in _RESIDUAL.items()}.get(within, within)
    level, block = divmod(number - (way == "input"), blocks + 1)
    above = f"{'down' if way == 'input' else 'up'}_blocks.{level}"
    if way is None:
        there = f"mid_block.{'attentions.0' if index == 1 else f'resnets.{index // 2}'}.{inner}"
    elif inner in ("op", "conv"):
        there = f"{above}.{'downsamplers' if inner == 'op' else 'upsamplers'}.0.conv"
    else:
        there = f"{above}.{'resnets' if index == 0 else 'attentions'}.{block}.{inner}"
    return there.replace(".", dot)
