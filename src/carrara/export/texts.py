"""What pipelines that draw from texts have beside a network: tokenizers and text encoders, both ways.

In ``StableDiffusionPipeline`` the network looks at one encoder's features after its last norm; in
``StableDiffusionXLPipeline`` at two encoders' before their last layers, and it is told the second one's ``pooled`` and
sizes; see ``conditioning.clip``. To whom nothing is said the empty text is in the one, and zeros are in the other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from carrara.conditioning import ClipEncoder, ClipText, ClipTextConfig
from carrara.conditioning.clip_tokens import Vocabulary
from carrara.errors import UserError
from carrara.export import clips, folders, text_unets
from carrara.export.names import read as renamed
from carrara.export.names import shapes, written
from carrara.files import Malformed, as_kind, write_tensors
from carrara.naming import clip_names, told_names
from carrara.nn.layers import modules_of

SINGLE, DOUBLE = "StableDiffusionPipeline", "StableDiffusionXLPipeline"
PIPELINES = (SINGLE, DOUBLE)
LIBRARY, WEIGHTS = "transformers", "model"
LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that look at pictures, and draw none."""
SIDES = 6
"""Numbers that a network is told of a picture's size."""
GUIDANCE = {SINGLE: 7.5, DOUBLE: 5.0}
"""What the pipelines are called with, unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """What a folder says of a text encoder.

    Attributes:
        network: its configuration.
        vocabulary: of its tokenizer.
        files: with its weights.
        projected: whether it has a projection.
    """

    network: clips.Theirs
    vocabulary: Vocabulary
    files: Sequence[Path]
    projected: bool


def find(path: Path, index: Mapping[str, Any], pipeline: str) -> tuple[Encoder, ...]:
    """The text encoders of a pipeline's folder.

    Raises:
        UserError: one of them, or its tokenizer, is missing or damaged; or there is a part that means nothing here.
    """
    ends = ("",) if pipeline == SINGLE else ("", "_2")
    known = {
        "unet",
        "vae",
        "scheduler",
        *LEFT_OUT,
        *(f"{one}{end}" for one in ("text_encoder", "tokenizer") for end in ends),
    }
    for name, value in index.items():
        if isinstance(value, list) and any(isinstance(one, str) for one in value) and name not in known:
            raise UserError(f"{folders.INDEX} names the part '{name[:100]}', which means nothing here")
    return tuple(_encoder(path, index, end) for end in ends)


def _encoder(path: Path, index: Mapping[str, Any], end: str) -> Encoder:
    classes = (clips.MODEL,) if not end else (clips.WITH_PROJECTION,)
    folder = folders.part(path, index, f"text_encoder{end}", classes, LIBRARY)
    tokenizer = folders.part(path, index, f"tokenizer{end}", clips.TOKENIZERS, LIBRARY)
    network = clips.read_config(folder / "config.json")
    return Encoder(
        network=network,
        vocabulary=clips.read_vocabulary(tokenizer, network.max_position_embeddings),
        files=folders.weight_files(folder, WEIGHTS),
        projected=bool(end),
    )


def left_out(index: Mapping[str, Any]) -> Iterator[str]:
    """What is said of parts that nobody needs here."""
    for name in LEFT_OUT:
        value = index.get(name)
        if isinstance(value, list) and any(isinstance(one, str) for one in value):
            yield f"the part '{name}' is left out: it looks at pictures, and draws none"


def ours(
    encoders: Sequence[Encoder], network: text_unets.Theirs, edges: Sequence[int], index: Mapping[str, Any]
) -> ClipTextConfig:
    """The configuration of what reads the texts.

    Args:
        edges: height and width of pictures.

    Raises:
        UserError: the parts are not of one model.
    """
    double = len(encoders) > 1
    read = tuple(
        clips.ours(one.network, one.vocabulary, projected=one.projected, skipped=int(double)) for one in encoders
    )
    if double != (network.addition_embed_type == "text_time"):
        told = network.addition_embed_type
        raise UserError(f"a network with addition_embed_type {told} has {len(encoders)} text encoders: it is no model")
    numbers = network.addition_time_embed_dim or 256
    config = {
        "sides": (*edges, 0, 0, *edges),
        "features": numbers,
        "zeros": index.get("force_zeros_for_empty_prompt", True),
    }
    try:
        made = as_kind({"kind": "clip", **(config if double else {})}, ClipTextConfig)
        made = ClipTextConfig(encoders=read, sides=made.sides, features=made.features, zeros=made.zeros)
    except (Malformed, ValueError) as error:
        raise UserError(f"the folder describes no model that works: {' '.join(str(error).split())[:200]}") from None
    if double:
        due = (read[-1].projection or 0) + SIDES * numbers
        if network.projection_class_embeddings_input_dim != due:
            said = network.projection_class_embeddings_input_dim
            raise UserError(f"the folder describes no model that works: its network is told {said} numbers, not {due}")
    return made


def read_encoders(conditioner: ClipText, encoders: Sequence[Encoder]) -> None:
    """Gives text encoders their weights and tokenizers.

    Raises:
        UserError: the files hold something else.
    """
    for mine, found in zip(encoders_of(conditioner), encoders, strict=True):
        state = mine.state_dict()
        named = clip_names(state)
        tensors = folders.read_weights(found.files, shapes(state, named), clips.current)
        held = torch.frombuffer(bytearray(found.vocabulary.to_bytes()), dtype=torch.uint8)
        mine.load_state_dict(renamed(tensors, named) | {"tokenizer": held})
        mine.reader  # noqa: B018 - a tokenizer that does not work is said now


def check(conditioner: ClipText) -> str:
    """The class of the pipeline that tells a network such texts.

    Raises:
        UserError: there is none.
    """
    config = conditioner.config
    skipped = {one.skipped for one in config.encoders}
    if len(config.encoders) == 1 and not config.sides and skipped == {0} and not config.zeros:
        return SINGLE
    if len(config.encoders) == 2 and len(config.sides) == SIDES and skipped == {1}:
        return DOUBLE
    raise UserError(
        "stock diffusers has no pipeline with such text encoders: one whose last layer is looked at, or two whose last "
        "layer is not"
    )


def write(conditioner: ClipText, out: Path) -> dict[str, list[str]]:
    """Writes encoders and tokenizers. Returns names of parts, with their packages and classes."""
    parts: dict[str, list[str]] = {}
    for end, encoder in zip(("", "_2"), encoders_of(conditioner), strict=False):
        vocabulary, state = encoder.vocabulary, encoder.state_dict()
        folder = out / f"text_encoder{end}"
        folders.write_json(folder / "config.json", clips.as_json(encoder.config, vocabulary))
        tensors = written(state, clip_names(state))
        write_tensors(folder / f"{WEIGHTS}.safetensors", tensors, {"format": "pt"})
        clips.write_vocabulary(out / f"tokenizer{end}", vocabulary)
        parts |= {
            f"text_encoder{end}": [LIBRARY, clips.class_of(encoder.config)],
            f"tokenizer{end}": [LIBRARY, clips.TOKENIZERS[0]],
        }
    return parts


def index_of(conditioner: ClipText) -> dict[str, Any]:
    """What else ``model_index.json`` says."""
    nobody = {name: [None, None] for name in LEFT_OUT}
    if check(conditioner) == SINGLE:
        return {**nobody, "requires_safety_checker": False}
    del nobody["safety_checker"]
    return {**nobody, "force_zeros_for_empty_prompt": conditioner.config.zeros}


def written_told(conditioner: ClipText) -> dict[str, Tensor]:
    """The tensors of the vector's layers, as those of a network of theirs."""
    return written(conditioner.state_dict(), told_names(conditioner.state_dict()))


def encoders_of(conditioner: ClipText) -> list[ClipEncoder]:
    """A conditioner's encoders, in order."""
    return modules_of(conditioner, ClipEncoder)
