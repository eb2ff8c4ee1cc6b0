r"""CLIP's text encoders as in single files of Stable Diffusion, as transformers has them; and their tokenizer.

OpenCLIP has queries, keys and values as one matrix, and its projection stands on its side. Stable Diffusion v2 looks at
the features before its last layer, so that layer is left out, as in diffusers' folders.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from carrara.errors import UserError, option
from carrara.export import folders
from carrara.export.weights import Weights
from carrara.files import BadFile, is_folder, is_regular, read_bytes, write_bytes, write_tensors

FILES = ("vocab.json", "merges.txt", "tokenizer.json", "special_tokens_map.json")
HEAD_WIDTH = 64
"""Of all of CLIP's text encoders."""
PASSED_OVER = ("position_ids", "logit_scale", "attn_mask")
_TOP = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)")


def vocabulary(tokenizer: Path | None, whose: str) -> dict[str, bytes]:
    """The files of a tokenizer by their names.

    Args:
        whose: the model's, for messages.

    Raises:
        UserError: no folder is named, or it is none.
    """
    if tokenizer is None:
        raise UserError(
            f"{whose} reads words, and no file of it has their vocabulary: name the folder of its tokenizer, with "
            f"vocab.json and merges.txt, by {option('tokenizer')}"
        )
    if not is_folder(tokenizer):
        raise UserError(f"there is no folder '{tokenizer}' with a tokenizer's vocab.json and merges.txt")
    found = {name: read_bytes(tokenizer / name) for name in FILES if is_regular(tokenizer / name)}
    if not {"vocab.json", "merges.txt"} <= found.keys() and "tokenizer.json" not in found:
        raise UserError(f"'{tokenizer}' holds no tokenizer of CLIP: vocab.json and merges.txt are not both in it")
    return found


def write_vocabulary(words: Mapping[str, bytes], out: Path, *, pad: str) -> None:
    """Writes a tokenizer's folder.

    Args:
        pad: the token that fills a text up.
    """
    said = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad}
    ends = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    folders.write_json(out / "tokenizer_config.json", {**said, **ends})
    for name, content in words.items():
        write_bytes(out / name, content)


def write_encoder(weights: Weights, out: Path, *, is_open: bool, last: bool) -> None:
    """Writes a text encoder's folder.

    Args:
        is_open: whether the names are OpenCLIP's.
        last: whether its last layer and its projection count.

    Raises:
        UserError: the weights are of no such encoder.
    """
    shapes = {name: shape for name, shape in weights.shapes.items() if not name.endswith(PASSED_OVER)}
    found = weights.read(shapes)
    tensors = opened(weights, found, last=last) if is_open else dict(found)
    folders.write_json(out / "config.json", config(weights, tensors, "gelu" if is_open else "quick_gelu"))
    write_tensors(out / "model.safetensors", tensors)


def opened(weights: Weights, found: Mapping[str, Tensor], *, last: bool) -> dict[str, Tensor]:
    """OpenCLIP's tensors by transformers' names.

    Raises:
        BadFile: one is called as nothing there is.
    """
    numbers = {int(match[1]) for name in found if (match := _BLOCK.fullmatch(name))}
    depth = len(numbers) if last else len(numbers) - 1
    tensors: dict[str, Tensor] = {}
    for name, value in found.items():
        match = _BLOCK.fullmatch(name)
        if name in _TOP:
            tensors[f"text_model.{_TOP[name]}"] = value
        elif name == "text_projection":
            tensors |= {"text_projection.weight": value.mT.contiguous()} if last else {}
        elif match is None or (match[2] != "attn.in_proj" and match[2] not in _LAYER):
            raise BadFile(weights.path, f"holds '{name[:100]}', which has no place in a text encoder of OpenCLIP")
        elif int(match[1]) < depth:
            above = f"text_model.encoder.layers.{match[1]}"
            if match[2] == "attn.in_proj":
                parts = zip("qkv", value.chunk(3), strict=True)
                tensors |= {f"{above}.self_attn.{one}_proj.{match[3]}": part.clone() for one, part in parts}
            else:
                tensors[f"{above}.{_LAYER[match[2]]}.{match[3]}"] = value
    return tensors


def config(weights: Weights, tensors: Mapping[str, Tensor], activation: str) -> dict[str, Any]:
    """``config.json`` of a ``CLIPTextModel``.

    Raises:
        BadFile: a tensor is missing.
    """
    try:
        words, width = tensors["text_model.embeddings.token_embedding.weight"].shape
        places = len(tensors["text_model.embeddings.position_embedding.weight"])
        inner = len(tensors["text_model.encoder.layers.0.mlp.fc1.weight"])
    except (KeyError, ValueError) as error:
        raise BadFile(weights.path, f"holds a text encoder that is not whole ({error})") from None
    projected = tensors.get("text_projection.weight")
    return {
        "architectures": ["CLIPTextModel" if projected is None else "CLIPTextModelWithProjection"],
        "model_type": "clip_text_model",
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len({name.split(".")[3] for name in tensors if ".layers." in name}),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "max_position_embeddings": places,
        "hidden_act": activation,
        "layer_norm_eps": 1e-5,
        "projection_dim": width if projected is None else len(projected),
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
