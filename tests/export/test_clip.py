"""CLIP's text encoders and tokenizer against those of the package transformers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_diffusion import (
    BEGINNING,
    END,
    MERGES,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    encoder_config,
    stirred,
    their_tokenizer,
    vocabulary,
)

from carrara.conditioning import ClipEncoder, ClipEncoderConfig, ClipText, ClipTextConfig
from carrara.conditioning.clip_tokens import ClipTokens, Mark, Vocabulary, vocabulary_of
from carrara.errors import UserError
from carrara.export import clips
from carrara.export.names import read
from carrara.naming import clip_names
from carrara.seeds import torch_generator

TEXTS = (
    "a red cat",
    "",
    "   ",
    "Hello HELLO hello!! it's   100% RED-cats\n\tand 'quotes'",
    "naïve café ① ﬁne e\u0301 日本語 Ω",
    "👍🏽 👨‍👩‍👧 é",
    "wow! such!!! ! (cats)",
    f"red {END} cat {BEGINNING} <|ENDOFTEXT|>",
    "cat " * 200,
    "x" * 300,
    "hello" + "\u0000\u200b" + "hello",
    "a\u3000cat\u00a0sat",
)


@pytest.mark.parametrize("padding", [END, "!"])
@pytest.mark.parametrize("files", ["published", "one"])
def test_the_same_tokens(padding: str, files: str, tmp_path: Path) -> None:
    theirs = their_tokenizer(tmp_path / "published", padding)
    theirs.save_pretrained(tmp_path / "one")
    assert not (tmp_path / "one" / "vocab.json").exists()
    found = clips.read_vocabulary(tmp_path / files, 77)
    due = theirs(list(TEXTS), padding="max_length", max_length=77, truncation=True).input_ids
    mine = [list(ids) for ids, _ in ClipTokens(vocabulary_of(found.to_bytes()))(TEXTS)]
    assert mine == due
    assert any(len(set(ids)) > 25 for ids in due)
    clips.write_vocabulary(tmp_path / "back", found)
    again = type(theirs).from_pretrained(tmp_path / "back")
    assert again(list(TEXTS), padding="max_length", max_length=77, truncation=True).input_ids == due
    assert again.model_max_length == 77
    assert clips.read_vocabulary(tmp_path / "back", 77) == found


def test_where_tokens_are(tmp_path: Path) -> None:
    their_tokenizer(tmp_path / "files")
    ids, spans = ClipTokens(clips.read_vocabulary(tmp_path / "files", 77))(["a RED cat"])[0]
    assert spans[:5] == [(0, 0), (0, 1), (2, 5), (6, 9), (0, 0)]
    assert len(ids) == 77


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize(("activation", "end"), [("quick_gelu", 2), ("gelu", None)])
def test_the_same_features(projected: bool, activation: str, end: int | None) -> None:
    given = encoder_config(32, hidden_act=activation, **({} if end is None else {"eos_token_id": end}))
    with torch_generator(0), torch.no_grad():
        theirs: Any = stirred((CLIPTextModelWithProjection if projected else CLIPTextModel)(given))
        found = clips.Theirs(**{k: v for k, v in given.to_dict().items() if k in clips.Theirs.__dataclass_fields__})
        config = clips.ours(found, words(), projected=projected, skipped=0)
        mine, before = encoder_of(config, theirs), encoder_of(replace(config, skipped=1), theirs)
        last = len(vocabulary()) - 1
        ids = torch.randint(0, last - 1, (2, 77))
        ids[0, 5:], ids[1, 40:] = last, last
        due = theirs(ids, output_hidden_states=True)
        y, pooled = mine(ids)
        features, same = before(ids)
    assert close(y, due.last_hidden_state)
    assert close(features, due.hidden_states[-2])
    assert close(pooled, due.text_embeds if projected else due.pooler_output)
    assert torch.equal(same, pooled)
    assert not close(y[:1].mean(1), y[1:].mean(1))


def encoder_of(config: ClipEncoderConfig, theirs: Any) -> ClipEncoder:
    made = ClipEncoder(config)
    tensors = {name: one for old, one in theirs.state_dict().items() if (name := clips.current(old)) is not None}
    state = made.state_dict()
    made.load_state_dict(read(tensors, clip_names(state)) | {"tokenizer": state["tokenizer"]})
    return made


def close(mine: torch.Tensor, due: torch.Tensor) -> bool:
    return bool((mine - due).abs().max() <= 1e-4 * due.abs().max())


def words(**changes: Any) -> Vocabulary:
    return Vocabulary(**{"vocab": vocabulary(), "merges": MERGES, **changes})


def conditioner(**changes: Any) -> ClipText:
    """A fresh one, with a tokenizer."""
    held = words().to_bytes()
    encoder = ClipEncoderConfig(
        width=16, depth=1, heads=2, inner=32, vocabulary=len(vocabulary()), tokenizer=len(held), projection=8
    )
    with torch_generator(0):
        made = ClipText(ClipTextConfig(encoders=(encoder,), **changes), 12)
    made.encoders.get_submodule("0").tokenizer.copy_(torch.frombuffer(bytearray(held), dtype=torch.uint8))  # pyright: ignore
    return made.eval()


@torch.no_grad()
def test_who_is_told_nothing() -> None:
    said, zeros = conditioner(), conditioner(zeros=True, sides=(8, 8, 0, 0, 8, 8), features=4)
    both = said.said(["a red cat", None])
    assert both.tokens is not None
    assert both.vector is None
    empty = said.null(1).tokens
    assert empty is not None
    assert torch.equal(both.tokens[1], empty[0])
    assert not torch.allclose(both.tokens[0], empty[0])
    nothing = zeros.said(["cat", None])
    assert nothing.tokens is not None
    assert nothing.vector is not None
    assert not nothing.tokens[1].any()
    assert not torch.allclose(nothing.vector[0], nothing.vector[1])


@torch.no_grad()
def test_captions_are_read_as_prompts_are() -> None:
    told = conditioner()
    rows = told.rows(["a red cat", "", "Hello"])
    assert [len(row) for row in rows] == [77, 0, 77]
    ids = torch.zeros(3, 77, 1, dtype=torch.int64)
    mask = torch.zeros(3, 77, dtype=torch.bool)
    for k, row in enumerate(rows):
        ids[k, : len(row)], mask[k, : len(row)] = torch.from_numpy(row), True
    read, said = told({"text": ids, "text_mask": mask}), told.said(["a red cat", None, "Hello"])
    assert read.tokens is not None
    assert said.tokens is not None
    torch.testing.assert_close(read.tokens, said.tokens)
    dropped = told({"text": ids, "text_mask": mask}, torch.tensor([True, True, False])).tokens
    assert dropped is not None
    torch.testing.assert_close(dropped[2], dropped[1])


@torch.no_grad()
def test_words_that_count_more() -> None:
    weighted = conditioner().said(["a (red:1.5) cat"])
    assert weighted.weights is not None
    assert weighted.weights[0, :5].tolist() == [1, 1, 1.5, 1, 1]


def test_encoders_stay_as_they_are_unless_they_are_to_learn() -> None:
    frozen, learned = conditioner(sides=(1, 1, 0, 0, 1, 1), features=2), conditioner(frozen=False)
    assert {name.partition(".")[0] for name, one in frozen.named_parameters() if one.requires_grad} == {"told"}
    assert all(one.requires_grad for one in learned.parameters())


def test_what_is_no_vocabulary(tmp_path: Path) -> None:
    for changes, part in (
        ({"vocab": {"a": 0}}, "is no token"),
        ({"padding": Mark(content="?!")}, "is no token"),
    ):
        with pytest.raises(ValueError, match=part):
            words(**changes)
    with pytest.raises(UserError, match="merges are not those"):
        ClipTokens(words(merges=("q z",)))
    with pytest.raises(UserError, match="tokenizer is damaged"):
        vocabulary_of(b"\x00" * 20)
    with pytest.raises(UserError, match="holds no tokenizer of CLIP's"):
        (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordPiece", "vocab": {}}}))
        clips.read_vocabulary(tmp_path, 77)


def test_full_size() -> None:
    with torch.device("meta"):
        counted = [
            sum(one.numel() for one in ClipEncoder(config).parameters())
            for config in (
                ClipEncoderConfig(),
                ClipEncoderConfig(width=1024, depth=23, heads=16, inner=4096, activation="gelu"),
                ClipEncoderConfig(width=1280, depth=32, heads=20, inner=5120, activation="gelu", projection=1280),
            )
        ]
    assert counted == [123_060_480, 340_387_840, 694_659_840]
