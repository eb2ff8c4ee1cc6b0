"""Good things, to be spoilt: a run with its data, a text encoder, networks that look at pictures."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.append(str(Path(__file__).parents[1]))

from tiny import TINY

SHORT = ("train.minutes=null", "train.steps=2", "data.held_out=0.3")
SIZES = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
WORDS = ("<pad>", "<unk>", "a", "red", "blue", "heart")


def make(folder: Path) -> None:
    """Makes everything in children, so that this process stays without threads."""
    photos(folder / "photos")
    _apart(lambda: run(folder))
    _apart(lambda: encoder(folder / "encoder"))
    _apart(lambda: clip(folder / "clip"))
    import transformers.models.auto.modeling_auto
    import transformers.models.auto.tokenization_auto
    import transformers.models.clip.modeling_clip  # noqa: F401 (so that children need not)


def _apart(work: Callable[[], None]) -> None:
    if (process := os.fork()) == 0:
        torch.set_num_threads(1)  # as in judge.py
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0


def secrets(folder: Path) -> None:
    """What lies outside of a case."""
    folder.mkdir()
    (folder / "secret.txt").write_text("a secret")
    (folder / "secret.json").write_text('{"secret": 1}')
    Image.new("RGB", (20, 20), "red").save(folder / "secret.png")


def photos(folder: Path) -> None:
    """Two classes of small pictures with captions."""
    rng = np.random.default_rng(0)
    for kind, hue in (("red", 0), ("blue", 2)):
        (folder / kind).mkdir(parents=True)
        for k in range(6):
            picture = rng.integers(0, 60, (20, 20, 3), np.uint8)
            picture[4:16, 4:16, hue] = 200 + k
            Image.fromarray(picture).save(folder / kind / f"{k}.png")
            (folder / kind / f"{k}.txt").write_text(f"a {kind} heart")


def commanded(*arguments: object) -> None:
    """Runs the command; what it says goes to the standard error."""
    from carrara.cli import main

    os.dup2(2, 1)
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        assert not ended.code, arguments


def run(folder: Path) -> None:
    """A run of two steps, with a picture that it drew."""
    os.chdir(folder)
    commanded("train", "photos", "--preset", "pixel", "--run", "run", *TINY, *SHORT, "checkpoint.every=1")
    commanded("sample", "run", "-n", 2, "--out", "run/samples/sample")


def tokenizer(folder: Path) -> None:
    """A tokenizer of a few words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({word: k for k, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>")
    wrapped.model_max_length = 16
    wrapped.save_pretrained(folder)


def encoder(folder: Path) -> None:
    """A tiny text encoder."""
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer(folder)
    CLIPTextModel(CLIPTextConfig(vocab_size=6, max_position_embeddings=16, eos_token_id=5, **SIZES)).save_pretrained(
        folder
    )


def clip(folder: Path) -> None:
    """A tiny CLIP."""
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    tokenizer(folder)
    text = CLIPTextConfig(vocab_size=6, max_position_embeddings=16, eos_token_id=5, **SIZES)
    vision = CLIPVisionConfig(image_size=32, patch_size=8, **SIZES)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
