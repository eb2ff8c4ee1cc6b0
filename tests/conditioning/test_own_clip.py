"""An encoder of CLIP's kind that is trained with the network: its tokens, its size, what may be said of it."""

import random
from dataclasses import replace

import pytest
import torch

from carrara.conditioning import ClipEncoderConfig, ClipText, ClipTextConfig
from carrara.conditioning.clip_tokens import FEWEST, learn_merges, merged_vocabulary, tokens_of
from carrara.data import DataInfo
from carrara.errors import UserError
from carrara.seeds import torch_generator

CAPTIONS = tuple(f"a {colour} {thing}" for colour in ("red", "blue", "green") for thing in ("heart", "cat", "car"))
SMALL = ClipEncoderConfig(width=32, depth=2, heads=2, inner=64, vocabulary=700, length=40, activation="gelu")
TOLD, UNTOLD = DataInfo(name="hearts", captions=True), DataInfo(name="hearts")


def own(*encoders: ClipEncoderConfig) -> ClipTextConfig:
    return ClipTextConfig(encoders=encoders).complete(TOLD, CAPTIONS)


def test_the_same_merges_of_the_same_captions_in_any_order() -> None:
    merges = learn_merges(CAPTIONS, 700)
    shuffled = random.Random(0).sample(CAPTIONS, len(CAPTIONS))
    assert learn_merges(shuffled, 700) == merges
    assert "re d</w>" in merges
    assert len(learn_merges(CAPTIONS, 520)) == 520 - FEWEST
    assert learn_merges(CAPTIONS, 10) == learn_merges((), 700) == ()


def test_all_that_is_said_comes_back() -> None:
    """Also what no caption has: every byte is a token."""
    vocabulary = merged_vocabulary(learn_merges(CAPTIONS, 700), 64)
    assert vocabulary.numbers == len(vocabulary.vocab)
    names, read = {k: token for token, k in vocabulary.vocab.items()}, tokens_of(vocabulary.to_bytes())
    for text in ("a red heart", "zebra crossing 42"):
        ids = read([text])[0][0]
        spelled = "".join(names[k] for k in ids[1:] if k < vocabulary.numbers - 2)
        assert spelled == f"{text} ".replace("42", "4 2").replace(" ", "</w>")
        assert ids[0] == vocabulary.numbers - 2 and ids[-1] == vocabulary.numbers - 1
    assert all(k < vocabulary.numbers for k in read(["Ünïcode 日本語 👍"])[0][0])


def test_it_is_as_large_as_its_captions_are() -> None:
    config = own(SMALL)
    (encoder,) = config.encoders
    assert encoder.vocabulary == config.vocabulary.numbers <= 700
    assert encoder.length == config.vocabulary.length == 16
    assert encoder.tokenizer == len(config.vocabulary.to_bytes())
    assert not config.frozen
    assert config.complete(TOLD, ["something else"]) == config
    long = ClipTextConfig(encoders=(SMALL,)).complete(TOLD, [" ".join(map(str, range(30)))])
    assert long.encoders[0].length == 40
    (usual,) = own().encoders
    assert (usual.width, usual.depth, usual.end) == (256, 4, None)


def test_it_learns_and_is_saved_with_its_tokenizer() -> None:
    config = own(SMALL)
    with torch_generator(0):
        text = config.build(64)
    assert isinstance(text, ClipText)
    cond = text.said(["a red heart", None, "blue"])
    assert cond.tokens is not None
    assert cond.tokens.shape == (3, 16, 32)
    assert (cond.tokens[0] - cond.tokens[2]).abs().max() > 0.1
    cond.tokens.square().sum().backward()
    grads = [weights.grad for weights in text.parameters()]
    assert all(one is not None and one.abs().sum() > 0 for one in grads)
    bare = replace(config, merges=None).build(64)
    bare.load_state_dict(text.state_dict())
    assert isinstance(bare, ClipText)
    assert torch.equal(bare.said(["a red heart"]).tokens, cond.tokens[:1])  # pyright: ignore[reportArgumentType]


def test_bad_recipes_are_refused() -> None:
    with pytest.raises(UserError, match="several that no model has brought"):
        own(SMALL, SMALL)
    with pytest.raises(UserError, match="several that no model has brought"):
        ClipTextConfig(sides=(8, 8, 0, 0, 8, 8)).complete(TOLD, CAPTIONS)
    with pytest.raises(UserError, match="no captions"):
        ClipTextConfig().complete(UNTOLD, ())
    with pytest.raises(ValueError, match="needs encoders"):
        ClipTextConfig().build(64)
    with pytest.raises(ValueError, match="not those of its encoder"):
        replace(own(SMALL), merges="r e").build(64)
