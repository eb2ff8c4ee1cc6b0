"""CLIP and DINOv2 from a folder: their features are the package's own, and what cannot be read is one sentence."""

from pathlib import Path

import pytest
import torch
from known import normal
from torch import Tensor

from carrara.autoencoder.efficientnet import resized_square
from carrara.errors import UserError
from carrara.evaluate import ClipFeatures, DinoFeatures, clip_score, extractor
from carrara.evaluate.vision import _CLIP, _IMAGENET
from carrara.seeds import Draws, torch_generator

transformers = pytest.importorskip("transformers")
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ("<pad>", "<unk>", "a", "red", "blue", "heart", "<end>")


def pictures(count: int = 3, channels: int = 3, size: int = 40) -> Tensor:
    return Draws(1, torch.arange(count)).uniform("x", channels, size, size) * 2 - 1


def made_clip(folder: Path) -> Path:
    """A tiny CLIP with random weights and a tokenizer of words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    folder = folder / "tiny-clip"
    tokenizer = Tokenizer(WordLevel({word: k for k, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 6)])
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="<end>"
    )
    wrapped.save_pretrained(folder)
    text = transformers.CLIPTextConfig(vocab_size=7, max_position_embeddings=8, eos_token_id=6, **SIZES)
    vision = transformers.CLIPVisionConfig(image_size=32, patch_size=8, **SIZES)
    config = transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    with torch_generator("clip"):
        transformers.CLIPModel(config).save_pretrained(folder)
    return folder


def made_dino(folder: Path) -> Path:
    folder = folder / "tiny-dino"
    sizes = {name: SIZES[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    config = transformers.Dinov2Config(image_size=42, patch_size=14, mlp_ratio=2, **sizes)
    with torch_generator("dino"):
        transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


def standardised(x: Tensor, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    values = (resized_square(x, size) + 1) / 2
    return (values - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)


def test_the_constants_are_the_packages() -> None:
    from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    assert tuple(map(tuple, (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))) == _CLIP
    assert tuple(map(tuple, (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))) == _IMAGENET


def test_clip_features_are_its_own(tmp_path: Path) -> None:
    features = extractor(f"clip:{made_clip(tmp_path)}")
    assert isinstance(features, ClipFeatures)
    assert (features.name, features.width) == ("CLIP (tiny-clip) at 32 px, bicubic, antialiased", 8)
    model = transformers.CLIPModel.from_pretrained(tmp_path / "tiny-clip").eval()
    asked = {
        "pixel_values": standardised(pictures(), 32, *_CLIP),
        "input_ids": torch.tensor([[2, 3, 5, 6], [5, 6, 0, 0]]),
    }
    with torch.no_grad():
        theirs = model(**asked, attention_mask=torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]))
    ours = torch.nn.functional.normalize(features(pictures()))
    torch.testing.assert_close(ours, theirs.image_embeds, atol=1e-5, rtol=1e-4)
    texts = torch.nn.functional.normalize(features.texts(["a red heart", "heart"]))
    torch.testing.assert_close(texts, theirs.text_embeds, atol=1e-5, rtol=1e-4)
    assert features.texts(["heart"] * 70 + ["red heart " * 50]).shape == (71, 8)
    assert not features.texts(["a"]).requires_grad and not features(pictures()).requires_grad


def test_pictures_of_other_kinds_are_seen_too(tmp_path: Path) -> None:
    features = extractor(f"clip:{made_clip(tmp_path)}")
    grey = pictures(channels=1)
    torch.testing.assert_close(features(grey), features(grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("size", [42, 28])
def test_dino_features_are_its_own(tmp_path: Path, size: int) -> None:
    features = extractor(f"dinov2:{made_dino(tmp_path)}", size)
    assert isinstance(features, DinoFeatures)
    assert (features.name, features.width) == (f"DINOv2 (tiny-dino) at {size} px, bicubic, antialiased", 16)
    model = transformers.Dinov2Model.from_pretrained(tmp_path / "tiny-dino").eval()
    with torch.no_grad():
        theirs = model(standardised(pictures(), size, *_IMAGENET)).last_hidden_state[:, 0]
    torch.testing.assert_close(features(pictures()), theirs, atol=1e-5, rtol=1e-4)


def test_networks_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, same = (extractor(f"dinov2:{made_dino(tmp_path)}", 28) for _ in range(2))
    assert one.fingerprint() == same.fingerprint()
    assert len(one.fingerprint()) == 16
    with torch.no_grad():
        next(same.parameters()).add_(1e-3)
    assert one.fingerprint() != same.fingerprint()
    assert one.fingerprint() != extractor(f"dinov2:{tmp_path / 'tiny-dino'}", 42).fingerprint()


def test_clip_scores() -> None:
    x = normal(50, 8)
    assert clip_score(x, 3 * x).value == pytest.approx(100)
    assert clip_score(x, -x).value == 0
    half = clip_score(torch.eye(4), torch.ones(4, 4))
    assert (half.value, half.error) == pytest.approx((50, 0))
    with pytest.raises(ValueError, match="at least two"):
        clip_score(x[:1], x[:1])


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("clip", None, r"features 'clip' need weights from your disk: write clip:FOLDER"),
        ("clip:{}/none", None, r"none' holds no network \(there is no config.json\)"),
        ("clip:{}/tiny-dino", None, r"holds a network of the kind 'dinov2', not 'clip'"),
        ("dinov2:{}/tiny-dino", 30, r"patches of 14 px: 30 px is no multiple"),
        ("clip:{}/tiny-clip", 224, r"features 'clip' look at pictures of one size only"),
        ("dinov2:{}/broken", 28, r"no dinov2 network can be read from '.*broken'"),
        ("klip:{}", None, r"unknown features 'klip:.*it is one of efficientnet-lite0, inception:FILE"),
        ("efficientnet-lite0:x", None, r"unknown features 'efficientnet-lite0:x'"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(tmp_path: Path, name: str, size: int | None, message: str) -> None:
    made_clip(tmp_path)
    made_dino(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_bytes((tmp_path / "tiny-dino" / "config.json").read_bytes())
    with pytest.raises(UserError, match=message):
        extractor(name.format(tmp_path), size)


def test_half_a_model_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = made_dino(tmp_path) / "model.safetensors"
    weights = load_file(path)
    del weights["layernorm.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"only a part of a dinov2 network: 'layernorm.weight' and more are missing"):
        extractor(f"dinov2:{tmp_path / 'tiny-dino'}", 28)


def test_a_model_without_a_tokenizer_reads_no_captions(tmp_path: Path) -> None:
    folder = made_clip(tmp_path)
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(UserError, match="has no tokenizer, which reads the captions"):
        ClipFeatures(folder).texts(["a heart"])
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"the tokenizer in '.*' cannot be read"):
        ClipFeatures(folder).texts(["a heart"])


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrara.conditioning.pretrained.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"need the package 'transformers': pip install 'carrara\[text\]'"):
        extractor(f"clip:{tmp_path}")
