"""CLIP's text encoders as those of the package transformers (``CLIPTextModel``, ``CLIPTextModelWithProjection``,
``CLIPTokenizer``): configurations and files, both ways. The names of weights are in ``carrara.naming``."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field

from carrara.conditioning import ClipEncoderConfig
from carrara.conditioning.clip_tokens import BEGINNING, END, Mark, Vocabulary
from carrara.errors import UserError
from carrara.export.folders import read_mapping, write_json
from carrara.files import BadFile, Malformed, as_kind, is_regular, read_json, read_text, write_bytes
from carrara.kinds import mapping_of

MODEL, WITH_PROJECTION = "CLIPTextModel", "CLIPTextModelWithProjection"
TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
ACTIVATIONS = ("quick_gelu", "gelu")
LARGEST_END = 2
"""The number of an end in old configurations, where the end is the largest number of a text."""
PASSED_OVER = r"(text_model\.)?embeddings\.position_ids"
"""What older folders hold, and nobody needs."""
_MARKS = {"bos_token": "beginning", "eos_token": "end", "unk_token": "unknown", "pad_token": "padding"}


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """What ``config.json`` of a text encoder says of its network, with their defaults."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    projection_dim: int | None = 512
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    eos_token_id: Annotated[int, Field(ge=0)] | None = 49407


def read_config(path: Path) -> Theirs:
    """A text encoder's ``config.json``; what it says beside its network, of training and of other programs, is nothing.

    Raises:
        UserError: it is missing or damaged, or of another kind of network.
    """
    found = read_mapping(path)
    if found.get("use_attention_mask"):
        raise BadFile(path, "has the key 'use_attention_mask', which means nothing here")
    if (kind := found.get("model_type", "clip_text_model")) != "clip_text_model":
        raise BadFile(path, f"describes a network of the type '{str(kind)[:100]}', and clip_text_model is read")
    known = Theirs.__dataclass_fields__
    try:
        return as_kind({key: value for key, value in found.items() if key in known}, Theirs)
    except Malformed as error:
        raise BadFile(path, str(error)) from None


def ours(found: Theirs, vocabulary: Vocabulary, *, projected: bool, skipped: int) -> ClipEncoderConfig:
    """The configuration of an encoder of theirs.

    Args:
        projected: whether there is (3)'s P; see ``conditioning.clip``.
        skipped: layers that the tokens do not go through.

    Raises:
        UserError: it is nowhere here.
    """
    if found.hidden_act not in ACTIVATIONS:
        raise UserError(f"a text encoder with the activation {found.hidden_act[:100]} is nowhere here")
    if vocabulary.numbers > found.vocab_size:
        raise UserError(
            f"a tokenizer has the number {vocabulary.numbers - 1}, and its text encoder {found.vocab_size} tokens: the "
            "folder's parts are not of one model"
        )
    try:
        return ClipEncoderConfig(
            width=found.hidden_size,
            depth=found.num_hidden_layers,
            heads=found.num_attention_heads,
            inner=found.intermediate_size,
            vocabulary=found.vocab_size,
            length=found.max_position_embeddings,
            activation="gelu" if found.hidden_act == "gelu" else "quick_gelu",
            skipped=skipped,
            projection=found.projection_dim if projected else None,
            end=None if found.eos_token_id == LARGEST_END else found.eos_token_id,
            eps=found.layer_norm_eps,
            tokenizer=len(vocabulary.to_bytes()),
        )
    except ValueError as error:
        raise UserError(f"the folder describes no text encoder that can be built here: {error}") from None


def as_json(config: ClipEncoderConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """The contents of ``config.json``."""
    named = Theirs(
        vocab_size=config.vocabulary,
        hidden_size=config.width,
        intermediate_size=config.inner,
        projection_dim=config.projection or config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        max_position_embeddings=config.length,
        hidden_act=config.activation,
        layer_norm_eps=config.eps,
        eos_token_id=LARGEST_END if config.end is None else config.end,
    )
    first = vocabulary.vocab[vocabulary.beginning.content]
    more = {"attention_dropout": 0.0, "bos_token_id": first, "pad_token_id": 1, "torch_dtype": "float32"}
    return {"architectures": [class_of(config)], "model_type": "clip_text_model", **asdict(named), **more}


def class_of(config: ClipEncoderConfig) -> str:
    """The class of an encoder, with a projection or without."""
    return MODEL if config.projection is None else WITH_PROJECTION


def current(name: str) -> str | None:
    """A name of older or newer folders, as it is here; None if nobody needs the tensor."""
    if re.fullmatch(PASSED_OVER, name):
        return None
    return name if name.startswith("text_") else f"text_model.{name}"


def read_vocabulary(folder: Path, length: int) -> Vocabulary:
    """The tokenizer of a folder.

    Args:
        length: places of the encoder.

    Raises:
        UserError: it has none, or it is none of CLIP's, or it is damaged.
    """
    said = read_mapping(folder / "tokenizer_config.json") if is_regular(folder / "tokenizer_config.json") else {}
    special = folder / "special_tokens_map.json"
    said = {**said, **(read_mapping(special) if is_regular(special) else {})} if said else said
    vocab, merges, declared = _tables(folder)
    more = mapping_of(said.get("added_tokens_decoder"))
    known = {
        mark.content: mark for one in (declared if more is None else more.values()) if (mark := _mark(folder, one))
    }
    marks = {ours: _mark(folder, said.get(theirs)) for theirs, ours in _MARKS.items()}
    given = {name: asdict(known.get(mark.content, mark)) for name, mark in marks.items() if mark is not None}
    usual = {mark.content for mark in Vocabulary(vocab={BEGINNING: 0, END: 1}, merges=()).marks}
    if strange := known.keys() - {mark["content"] for mark in given.values()} - usual:
        raise BadFile(folder, f"has a tokenizer with the word '{min(strange)[:100]}' added, which is not read")
    longest = said.get("model_max_length", length)
    short = min(length, longest) if isinstance(longest, int) else length
    try:
        return as_kind({"vocab": vocab, "merges": merges, "length": short, **given}, Vocabulary)
    except (Malformed, ValueError) as error:
        raise BadFile(folder, f"holds no tokenizer of CLIP's ({' '.join(str(error).split())[:200]})") from None


def write_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    """Writes the files of a ``CLIPTokenizer``."""
    marks = {theirs: asdict(getattr(vocabulary, ours)) for theirs, ours in _MARKS.items()}
    typed = {name: {"__type": "AddedToken", **mark} for name, mark in marks.items()}
    numbers = dict(sorted(vocabulary.vocab.items(), key=lambda item: item[1]))
    more = {"tokenizer_class": "CLIPTokenizer", "model_max_length": vocabulary.length, "do_lower_case": True}
    write_json(folder / "vocab.json", numbers)
    write_bytes(folder / "merges.txt", "\n".join(["#version: 0.2", *vocabulary.merges, ""]).encode())
    write_json(folder / "special_tokens_map.json", marks)
    write_json(folder / "tokenizer_config.json", {**typed, **more, "add_prefix_space": False, "errors": "replace"})


def _tables(folder: Path) -> tuple[Any, list[str], list[Any]]:
    """The numbers of tokens, the merges, and what is found as it stands."""
    single, vocab, merges = folder / "tokenizer.json", folder / "vocab.json", folder / "merges.txt"
    if is_regular(vocab) and is_regular(merges):
        lines = [line.rstrip("\r") for line in read_text(merges).split("\n")]
        return read_json(vocab), [line for line in lines if line and not line.startswith("#version")], _added(folder)
    if not is_regular(single):
        raise UserError(
            f"the tokenizer is missing: there are no vocab.json and merges.txt in '{folder}', and no tokenizer.json"
        )
    model = mapping_of(read_mapping(single).get("model"))
    if model is None or model.get("type") != "BPE" or model.get("end_of_word_suffix") != "</w>":
        raise BadFile(single, "holds no tokenizer of CLIP's (byte-pair encoding, whose words end with </w>)")
    pairs: Any = model.get("merges")
    found = cast(list[Any], pairs) if isinstance(pairs, list) else []
    joined = [" ".join(map(str, pair)) if isinstance(pair, list) else str(pair) for pair in found]
    return model.get("vocab"), joined, _added(folder)


def _added(folder: Path) -> list[Any]:
    path, extra = folder / "tokenizer.json", folder / "added_tokens.json"
    found = read_mapping(path).get("added_tokens") if is_regular(path) else None
    plain = [{"content": name} for name in read_mapping(extra)] if is_regular(extra) else []
    return [*(cast(list[Any], found) if isinstance(found, list) else []), *plain]


def _mark(folder: Path, said: Any) -> Mark | None:
    if said is None:
        return None
    if isinstance(said, str):
        return Mark(content=said)
    found = {key: value for key, value in (mapping_of(said) or {}).items() if key in Mark.__dataclass_fields__}
    try:
        return as_kind(found, Mark)
    except Malformed as error:
        raise BadFile(folder / "tokenizer_config.json", str(error)) from None
