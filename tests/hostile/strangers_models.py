"""Text encoders and vision networks of strangers, in the format of the package transformers, and pickles."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from strangers import Command, Place, fifo, harmless, hole, link, refused, rewrite, stranger, tensors
from strangers_runs import pickled

from tiny import TINY

TRAIN = ("train", "photos", "--preset", "pixel", "--dry-run", *TINY, "objective.drop=0.1")


def read(end: Callable[..., Command], folder: str = "encoder") -> Iterator[Command]:
    """Trains on what the encoder makes of captions."""
    network = "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [1], head_width: 8, "
    network += "context_width: 0, transformer_depths: [0, 1]}"
    yield end(*TRAIN, network, f"model.conditioner={{kind: encoder, source: {folder}}}")


def looked(end: Callable[..., Command], what: str) -> Iterator[Command]:
    """Measures with a vision network."""
    yield end("evaluate", "run", "--metrics", "kid", "--samples", "4", "--features", what)


def spoilt(place: Place, spoil: Callable[[dict[str, Any]], object], name: str = "config.json") -> Path:
    """An encoder, one of whose files is another one."""
    place.copy("photos")
    folder = place.copy("encoder")
    rewrite(folder / name, spoil)
    return folder


def seeing(place: Place, spoil: Callable[[dict[str, Any]], object] = lambda _: None) -> Path:
    """A run, and a CLIP whose configuration is another one."""
    place.run()
    folder = place.copy("clip")
    rewrite(folder / "config.json", spoil)
    return folder


@stranger("an encoder that is good")
def _(place: Place) -> Iterator[Command]:
    spoilt(place, lambda _: None)
    yield from read(harmless)


@stranger("an encoder with code of its own")
def _(place: Place) -> Iterator[Command]:
    own = {"AutoConfig": "own.Config", "AutoModel": "own.Model", "AutoModelForTextEncoding": "own.Model"}
    folder = spoilt(place, lambda config: config.update(auto_map=own, model_type="own", architectures=["Own"]))
    (folder / "own.py").write_text(place.payload)
    rewrite(folder / "tokenizer_config.json", lambda c: c.update(auto_map={"AutoTokenizer": ["own.T", "own.T"]}))
    yield from read(refused)


@stranger("an encoder of a known kind, with code of its own")
def _(place: Place) -> Iterator[Command]:
    own = {"AutoConfig": "own.Config", "AutoModel": "own.Model", "AutoModelForTextEncoding": "own.Model"}
    folder = spoilt(place, lambda config: config.update(auto_map=own))
    for name in ("own.py", "configuration_clip.py", "modeling_clip.py", "tokenization.py", "conftest.py"):
        (folder / name).write_text(place.payload)
    rewrite(folder / "tokenizer_config.json", lambda c: c.update(auto_map={"AutoTokenizer": ["own.T", "own.T"]}))
    yield from read(harmless)


@stranger("an encoder whose code is on the network")
def _(place: Place) -> Iterator[Command]:
    own = {"AutoConfig": "stranger/own--own.Config", "AutoModel": "stranger/own--own.Model"}
    strange = {"_name_or_path": "http://example.invalid/own", "name_or_path": "stranger/own"}
    spoilt(place, lambda config: config.update(auto_map=own, **strange))
    yield from read(harmless)


@stranger("an encoder of pickles")
def _(place: Place) -> Iterator[Command]:
    folder = spoilt(place, lambda _: None)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickled(place))
    yield from read(refused)


@stranger("an encoder whose tensors are a pickle")
def _(place: Place) -> Iterator[Command]:
    folder = spoilt(place, lambda _: None)
    (folder / "model.safetensors").write_bytes(pickled(place))
    (folder / "pytorch_model.bin").write_bytes(pickled(place))
    yield from read(refused)


@stranger("an encoder of 10^12 numbers")
def _(place: Place) -> Iterator[Command]:
    spoilt(place, lambda config: config.update(hidden_size=1 << 20, intermediate_size=1 << 20))
    yield from read(refused)


@stranger("an encoder of a billion layers")
def _(place: Place) -> Iterator[Command]:
    spoilt(place, lambda config: config.update(num_hidden_layers=10**9))
    yield from read(refused)


@stranger("an encoder with a vocabulary of 10^12 words")
def _(place: Place) -> Iterator[Command]:
    spoilt(place, lambda config: config.update(vocab_size=10**12))
    yield from read(refused)


@stranger("an encoder with places for 10^7 tokens")
def _(place: Place) -> Iterator[Command]:
    spoilt(place, lambda config: config.update(max_position_embeddings=10_000_000))
    yield from read(refused)


@stranger("an encoder with wrong types")
def _(place: Place) -> Iterator[Command]:
    spoilt(place, lambda config: config.update(hidden_size=[8], num_attention_heads="two", vocab_size=None))
    yield from read(refused)


@stranger("an encoder with no heads")
def _(place: Place) -> Iterator[Command]:
    spoilt(place, lambda config: config.update(num_attention_heads=0))
    yield from read(refused)


@stranger("an encoder's configuration that leads to a secret")
def _(place: Place) -> Iterator[Command]:
    link(spoilt(place, lambda _: None) / "config.json", place.outside / "secret.json")
    yield from read(refused)


@stranger("an encoder's weights that lead out of the folder")
def _(place: Place) -> Iterator[Command]:
    link(spoilt(place, lambda _: None) / "model.safetensors", place.outside / "secret.txt")
    yield from read(refused)


@stranger("an encoder's tokenizer that leads out of the folder")
def _(place: Place) -> Iterator[Command]:
    link(spoilt(place, lambda _: None) / "tokenizer.json", place.outside / "secret.json")
    yield from read(refused)


@stranger("an encoder's template that leads out of the folder")
def _(place: Place) -> Iterator[Command]:
    folder = spoilt(place, lambda _: None)
    link(folder / "chat_template.jinja", place.outside / "secret.txt")
    link(folder / "additional_chat_templates" / "a.jinja", place.outside / "secret.txt")
    yield from read(refused)


@stranger("an encoder's index that names files outside")
def _(place: Place) -> Iterator[Command]:
    folder = spoilt(place, lambda _: None)
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"a": f"../../{place.outside.name}/secret.txt"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    yield from read(refused)


@stranger("an encoder's tokenizer of absurd sizes")
def _(place: Place) -> Iterator[Command]:
    def absurd(tokenizer: dict[str, Any]) -> None:
        tokenizer["truncation"] = {
            "max_length": 2**60,
            "stride": 2**59,
            "strategy": "LongestFirst",
            "direction": "Right",
        }
        tokenizer["padding"] = {
            "strategy": {"Fixed": 2**34},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<pad>",
        }

    spoilt(place, absurd, "tokenizer.json")
    yield from read(harmless)


@stranger("an encoder's tokenizer with numbers beyond the network's")
def _(place: Place) -> Iterator[Command]:
    spoilt(place, lambda t: t["model"]["vocab"].update(a=2**31, heart=2**32 - 1), "tokenizer.json")
    yield from read(refused)


@stranger("an encoder's tokenizer with a pattern that takes for ever")
def _(place: Place) -> Iterator[Command]:
    slow = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    spoilt(place, lambda t: t.update(pre_tokenizer=slow), "tokenizer.json")
    (place.folder / "photos" / "red" / "0.txt").write_text("a" * 200 + "!")
    yield from read(refused)


@stranger("an encoder's tokenizer of 10 GB")
def _(place: Place) -> Iterator[Command]:
    hole(spoilt(place, lambda _: None) / "tokenizer.json", 10 << 30, b"{")
    yield from read(refused)


@stranger("an encoder whose files are pipes")
def _(place: Place) -> Iterator[Command]:
    folder = spoilt(place, lambda _: None)
    for name in ("special_tokens_map.json", "added_tokens.json", "generation_config.json"):
        fifo(folder / name)
    yield from read(refused)


@stranger("an encoder whose tensors overlap")
def _(place: Place) -> Iterator[Command]:
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    tensors(spoilt(place, lambda _: None) / "model.safetensors", {"a": one, "b": one}, bytes(8))
    yield from read(refused)


@stranger("an encoder that is an adapter of another one")
def _(place: Place) -> Iterator[Command]:
    folder = spoilt(place, lambda _: None)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "stranger/own", "peft_type": "LORA"}')
    yield from read(refused)


@stranger("an encoder that wants other packages")
def _(place: Place) -> Iterator[Command]:
    spoilt(place, lambda config: config.update(quantization_config={"quant_method": "bitsandbytes"}))
    yield from read(refused)


@stranger("a CLIP of 10^12 numbers")
def _(place: Place) -> Iterator[Command]:
    seeing(place, lambda config: config["vision_config"].update(hidden_size=1 << 20, intermediate_size=1 << 20))
    yield from looked(refused, "clip:clip")


@stranger("a CLIP that looks at pictures of 10^6 pixels an edge")
def _(place: Place) -> Iterator[Command]:
    seeing(place, lambda config: config["vision_config"].update(image_size=10**6))
    yield from looked(refused, "clip:clip")


@stranger("a CLIP with code of its own")
def _(place: Place) -> Iterator[Command]:
    folder = seeing(place, lambda config: config.update(auto_map={"AutoModel": "own.Model", "AutoConfig": "own.C"}))
    (folder / "own.py").write_text(place.payload)
    yield from looked(refused, "clip:clip")  # of too few samples, when it is loaded


@stranger("a CLIP of pickles")
def _(place: Place) -> Iterator[Command]:
    folder = seeing(place)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickled(place))
    yield from looked(refused, "clip:clip")


@stranger("a DINOv2 that is something else")
def _(place: Place) -> Iterator[Command]:
    seeing(place, lambda config: {**config, "model_type": "dinov2", "hidden_size": -1, "patch_size": 0})
    yield from looked(refused, "dinov2:clip")


@stranger("an Inception that is a pickle")
def _(place: Place) -> Iterator[Command]:
    place.run()
    (place.folder / "inception.pth").write_bytes(pickled(place))
    yield from looked(refused, "inception:inception.pth")


@stranger("an Inception that is a pipe, a device, a folder")
def _(place: Place) -> Iterator[Command]:
    place.run()
    fifo(place.folder / "a.pth")
    link(place.folder / "b.pth", "/dev/zero")
    (place.folder / "c.pth").mkdir()
    for name in "abc":
        yield from looked(refused, f"inception:{name}.pth")


@stranger("an Inception that unpacks to 10 GB")
def _(place: Place) -> Iterator[Command]:
    import zipfile

    place.run()
    with (
        zipfile.ZipFile(place.folder / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a/data.pkl", "w") as file,
    ):
        for _ in range(40):
            file.write(bytes(1 << 20))
    yield from looked(refused, "inception:a.pth")
