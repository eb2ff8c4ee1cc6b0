"""Text as a condition: nothing is cut off, weights count, and who says nothing is told nothing."""

import json
import os
import subprocess
import sys

import pytest
import torch

from carrara.conditioning import EncodedTextConfig, LearnedTextConfig, TextConditioner, tokens
from carrara.conditioning.encoders import encoder_facts, text_encoder
from carrara.conditioning.prompts import Prompt, read_prompt
from carrara.conditioning.tokens import learn_vocabulary, reader_of
from carrara.data import DataInfo
from carrara.errors import UserError
from carrara.seeds import torch_generator
from carrara.types import Conditioning

INFO = DataInfo(name="hearts", captions=True)
CAPTIONS = ["a red heart", "a blue heart", "sun behind a small cloud", "Löwe mit Sonne", "two hearts"]


@pytest.mark.parametrize(
    ("typed", "text", "spans"),
    [
        ("a red heart", "a red heart", ()),
        ("a (red:1.5) heart", "a red heart", ((2, 5, 1.5),)),
        ("(sun: 2), (cloud:.5)", "sun, cloud", ((0, 3, 2.0), (5, 10, 0.5))),
        ("a (small) heart", "a (small) heart", ()),
        (r"\(a:2\) heart", "(a:2) heart", ()),
        ("time 10:30 (at noon)", "time 10:30 (at noon)", ()),
    ],
)
def test_weights_are_taken_out_of_prompts(typed, text, spans):
    assert read_prompt(typed) == Prompt(text=text, spans=spans)


@pytest.mark.parametrize("typed", ["(red:)", "(red:x)", "(red:-1)", "(red:0)", "(red:nan)", "(red:1e9)"])
def test_weights_that_are_no_weights_are_refused(typed):
    with pytest.raises(UserError, match="number above 0"):
        read_prompt(f"a {typed} heart")


def test_a_learned_vocabulary_spells_its_captions():
    vocabulary = learn_vocabulary(CAPTIONS, 200)
    assert vocabulary.startswith("[PAD] [UNK] ") and "heart" in vocabulary.split(" ")
    read = reader_of(vocabulary, 64)
    unknown = vocabulary.split(" ").index("[UNK]")
    assert all(unknown not in window.ids for windows in read(CAPTIONS) for window in windows)
    (window,) = read(["A RED heart"])[0]
    assert [("A RED heart")[b:e].lower() for b, e in window.spans] == ["a", "red", "heart"]
    assert unknown in read(["東京"])[0][0].ids
    assert read.unread("a 東 heart 🔥") == ["東", "🔥"] and not read.unread("a red heart")


LEARN = """
import random, runpy
learn_vocabulary = runpy.run_path({path!r})["learn_vocabulary"]
draw = random.Random(0)
words = ["".join(draw.choices("abcdefghijklmnopäß漢字仮名éα", k=draw.randint(1, 6))) for _ in range(200)]
captions = [" ".join(draw.choices(words, k=4)) for _ in range(200)]
draw.shuffle(captions) if {shuffled} else None
print([learn_vocabulary(captions, size) for size in (20, 40, 300, 2000)])
"""


def test_a_vocabulary_is_a_function_of_its_captions_alone():
    def learn(*, seed: str, threads: str, shuffled: bool = False) -> str:
        env = os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads, "PYTHONIOENCODING": "utf-8"}
        code = LEARN.format(path=tokens.__file__, shuffled=shuffled)
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout.decode()

    first = learn(seed="0", threads="1")
    assert "[PAD]" in first
    assert first == learn(seed="1", threads="3") == learn(seed="2", threads="2", shuffled=True)


def test_equally_frequent_letters_are_taken_in_their_order():
    pieces = learn_vocabulary(["dcba", "abcd", "xx xx"], 6).split(" ")
    assert pieces[:5] == ["[PAD]", "[UNK]", "a", "b", "x"]


def test_long_texts_take_more_windows():
    read = reader_of(learn_vocabulary(CAPTIONS, 200), 8)
    text = " ".join(["a red heart"] * 20)
    windows = read([text])[0]
    assert len(windows) == 8 and sum(len(window.ids) for window in windows) == 60
    assert windows[-1].spans[-1] == (len(text) - 5, len(text))


def learned(**changes) -> TextConditioner:
    config = LearnedTextConfig(width=16, depth=2, heads=2, pieces=200, **changes).complete(INFO, CAPTIONS)
    with torch_generator(0, "text test"):
        conditioner = config.build(12)
    assert isinstance(conditioner, TextConditioner)
    torch.nn.init.normal_(conditioner.nothing, generator=torch.Generator().manual_seed(1))
    return conditioner.eval()


@pytest.fixture(scope="module", params=["learned", "minilm"])
def conditioner(request) -> TextConditioner:
    if request.param == "learned":
        return learned()
    with torch_generator(0, "text test"):
        made = EncodedTextConfig().complete(INFO, []).build(12)
    assert isinstance(made, TextConditioner)
    return made.eval()


def one(cond: Conditioning, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens and the vector of a sample."""
    assert cond.vector is not None and cond.tokens is not None and cond.mask is not None
    return cond.tokens[k][cond.mask[k]], cond.vector[k]


@torch.no_grad()
def test_a_prompt_says_the_same_alone_and_among_others(conditioner):
    among = conditioner.said(["a red heart", None, "sun behind a small cloud, and a blue heart", ""])
    alone = conditioner.said(["a red heart"])
    for a, b in zip(one(among, 0), one(alone, 0), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    for k in (1, 3):
        tokens, vector = one(among, k)
        assert len(tokens) == 0
        assert torch.equal(vector, conditioner.nothing)
    assert conditioner.said([None, " "]).tokens is None
    assert not torch.allclose(one(among, 0)[1], one(among, 2)[1], atol=1e-3)


@torch.no_grad()
def test_captions_and_prompts_say_the_same(conditioner):
    rows = conditioner.rows(["a red heart", "", "sun"])
    assert [len(row) > 0 for row in rows] == [True, False, True]
    longest = max(map(len, rows))
    text = torch.zeros(3, longest, *rows[0].shape[1:], dtype=torch.from_numpy(rows[0]).dtype)
    for k, row in enumerate(rows):
        text[k, : len(row)] = torch.from_numpy(row)
    mask = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
    embedded = conditioner.embed({"text": text, "text_mask": mask})
    said = conditioner.said(["a red heart", None, "sun"])
    for k in range(3):
        for a, b in zip(one(embedded, k), one(said, k), strict=True):
            torch.testing.assert_close(a, b, atol=5e-3, rtol=5e-3)


@torch.no_grad()
def test_a_weight_weighs_its_word_alone(conditioner):
    plain, weighted = conditioner.said(["a red heart", "a (red:2) heart"]), conditioner.said(["a (red:2) heart"])
    assert plain.weights is not None and plain.mask is not None
    assert sorted(plain.weights[1][plain.mask[1]].tolist()) == [1.0] * (int(plain.mask[1].sum()) - 1) + [2.0]
    assert torch.equal(plain.weights[0], torch.ones_like(plain.weights[0]))
    tokens, vector = one(weighted, 0)
    torch.testing.assert_close(tokens, one(plain, 0)[0], atol=1e-5, rtol=1e-4)
    assert weighted.weights is not None
    mean = (tokens * weighted.weights[0][:, None]).sum(0) / weighted.weights[0].sum()
    torch.testing.assert_close(vector, conditioner.pooled(mean), atol=1e-5, rtol=1e-4)


def test_dropped_captions_are_those_that_were_never_said(conditioner):
    keep = torch.tensor([True, False])
    both = conditioner.said(["a red heart", "two hearts"])
    dropped = both.where(keep, conditioner.null(2))
    tokens, vector = one(dropped, 1)
    assert len(tokens) == 0 and torch.equal(vector, conditioner.nothing)
    assert torch.equal(one(dropped, 0)[1], one(both, 0)[1])


def test_a_negative_prompt_of_another_length_takes_the_place():
    conditioner = learned()
    short, long = conditioner.said(["sun"]), conditioner.said(["a (small:2) cloud behind the sun"])
    for keep, expected in ((True, short), (False, long)):
        chosen = short.where(torch.tensor([keep]), long)
        for a, b in zip(one(chosen, 0), one(expected, 0), strict=True):
            assert torch.equal(a, b)
        assert chosen.weights is not None and chosen.mask is not None
        weights = expected.weights if expected.weights is not None else torch.ones(1, int(chosen.mask.sum()))
        assert torch.equal(chosen.weights[chosen.mask], weights[0])


def test_everything_learned_learns():
    conditioner = learned().train()
    said = conditioner.said(["a red heart", None])
    assert said.tokens is not None and said.vector is not None and said.mask is not None
    (said.tokens[said.mask].square().sum() + said.vector.square().sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in conditioner.parameters())


def test_places_of_words_matter():
    conditioner = learned()
    one_way, other = conditioner.said(["red sun"]), conditioner.said(["sun red"])
    assert not torch.allclose(one_way.tokens.flip(1), other.tokens, atol=1e-3)


def test_minilm_features_are_its_own():
    from transformers import AutoModel, AutoTokenizer

    from carrara.conditioning.encoders import encoder_folder

    folder = encoder_folder("minilm")
    tokens = AutoTokenizer.from_pretrained(folder)(["a red heart"], return_tensors="pt")
    with torch.no_grad():
        theirs = AutoModel.from_pretrained(folder)(**tokens).last_hidden_state[0]
    ((ours, spans),) = text_encoder("minilm")(["a red heart"])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert spans == [(0, 0), (0, 1), (2, 5), (6, 11), (0, 0)]


def test_no_prompt_is_too_long_for_minilm():
    ((features, spans),) = text_encoder("minilm")(["a red heart " * 400])
    assert len(features) == len(spans) == 1200 + 2 * 3
    assert spans[-2] == (4794, 4799)


def made_encoder(folder, kind: str) -> None:
    """A tiny text encoder with random weights, as transformers writes it."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = {word: k for k, word in enumerate(["<pad>", "<unk>", "a", "red", "blue", "heart"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")
    wrapped.model_max_length = 16
    wrapped.save_pretrained(folder)
    if kind == "clip":
        sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = CLIPTextModel(CLIPTextConfig(vocab_size=6, max_position_embeddings=16, eos_token_id=5, **sizes))
    else:
        model = T5EncoderModel(T5Config(vocab_size=6, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2))
    model.save_pretrained(folder)


@pytest.mark.parametrize("kind", ["clip", "t5"])
def test_any_text_encoder_from_a_folder(tmp_path, kind):
    made_encoder(tmp_path, kind)
    width, fingerprint = encoder_facts(str(tmp_path))
    assert width == 8 and len(fingerprint) == 16
    config = EncodedTextConfig(source=str(tmp_path)).complete(INFO, [])
    conditioner = config.build(4)
    said = conditioner.said(["a red heart", "heart", "a red heart " * 20])
    assert said.tokens.shape == (3, 60, 8) and said.mask.sum(1).tolist() == [3, 1, 60]
    assert said.tokens[said.mask].isfinite().all()


def test_another_encoder_in_the_old_one_s_place_is_refused(tmp_path):
    made_encoder(tmp_path, "t5")
    config = EncodedTextConfig(source=str(tmp_path)).complete(INFO, [])
    encoder_facts.cache_clear()
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "dropout_rate": 0.5}))
    with pytest.raises(UserError, match="not the one that this model was trained with"):
        config.build(4).said(["a red heart"])


def test_folders_without_an_encoder_are_refused(tmp_path):
    with pytest.raises(UserError, match="holds no text encoder"):
        EncodedTextConfig(source=str(tmp_path)).complete(INFO, [])
    made_encoder(tmp_path, "t5")
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="no text encoder can be read"):
        text_encoder(str(tmp_path))
    with pytest.raises(ValueError, match="width of the encoder"):
        EncodedTextConfig().build(4)
    with pytest.raises(ValueError, match="needs a vocabulary"):
        LearnedTextConfig().build(4)


def test_a_batch_in_which_nobody_says_anything_uses_all_weights():
    """Processes that train together wait for every gradient."""
    conditioner = learned().train()
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    cond = conditioner.embed({"text": nothing, "text_mask": nothing.bool()})
    assert cond.tokens is not None and cond.mask is not None and not cond.mask.any()
    assert torch.equal(cond.vector, conditioner.nothing.expand(2, -1))
    (cond.tokens.square().sum() + cond.vector.square().sum()).backward()
    assert all(p.grad is not None for p in conditioner.parameters())


def test_prompts_that_cannot_be_read_are_refused_and_all_others_are_taken(conditioner):
    for prompt in ("a 🔥 heart", "(🔥:1.3)", "heart " * 5000 + "🔥"):
        with pytest.raises(UserError, match=r"cannot read '🔥' in '.{1,90}': .* say it in other words"):
            conditioner.said([prompt])
    assert conditioner.said(["", None, "  "]).tokens is None
