"""BERT without the package transformers: its numbers, to the bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from carrara.conditioning.bert import Bert, read_bert
from carrara.conditioning.encoders import TextEncoder, encoder_folder
from carrara.conditioning.tokens import Reader
from carrara.errors import UserError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "heart", "##s", "e"]
TEXTS = ["a red heart", "Blue hearts", "\u00e9 [MASK] heart, a thing", "a red heart " * 9]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights, as transformers writes it."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=16).save_pretrained(folder)
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4}
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    model.save_pretrained(folder)
    return folder


def changed(folder: Path, to: Path, name: str, **values: object) -> Path:
    """A copy in which one file says something else."""
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    (to / name).write_text(json.dumps({**json.loads((to / name).read_text()), **values}))
    return to


def theirs(folder: Path, texts: list[str]) -> list[tuple[tuple[int, ...], torch.Tensor]]:
    """The tokens of each window of texts, and their features, as the package has them."""
    from transformers import AutoModel, AutoTokenizer

    network, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    windows = [w for ws in Reader(tokenizer.backend_tokenizer, tokenizer.model_max_length)(texts) for w in ws]
    with torch.no_grad():
        return [(w.ids, network(input_ids=torch.tensor([w.ids])).last_hidden_state[0]) for w in windows]


@pytest.mark.parametrize("which", ["written", "minilm"])
def test_tokens_and_features_are_the_package_s(which, request):
    folder = encoder_folder("minilm") if which == "minilm" else request.getfixturevalue("written")
    encoder = TextEncoder(folder)
    assert isinstance(encoder.network, Bert)
    due = theirs(folder, TEXTS)
    assert [w.ids for ws in encoder.reader(TEXTS) for w in ws] == [ids for ids, _ in due]
    for ids, features in due:
        assert torch.equal(encoder.network(torch.tensor([ids]))[0], features)


def test_nothing_of_the_package_is_imported():
    program = (
        "import sys; from carrara.conditioning.encoders import text_encoder; text_encoder('minilm')(['a heart']); "
        "print([name for name in ('transformers', 'torch._dynamo', 'scipy') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"is_decoder": True}),
        ("config.json", {"intermediate_size": 41}),
        ("config.json", {"num_attention_heads": 5}),
        ("tokenizer_config.json", {"do_lower_case": False}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_no_plain_bert_is_left_to_the_package(written, tmp_path, name, values):
    assert read_bert(written) is not None
    assert read_bert(changed(written, tmp_path / "other", name, **values)) is None


def test_a_tokenizer_that_is_none_is_said(written, tmp_path):
    folder = changed(written, tmp_path / "other", "tokenizer_config.json")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="no text encoder can be read from"):
        TextEncoder(folder)


def test_damaged_weights_are_said(written, tmp_path):
    folder = changed(written, tmp_path / "other", "tokenizer_config.json")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(UserError, match="safetensors"):
        TextEncoder(folder)
