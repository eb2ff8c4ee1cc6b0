"""A file that holds no network that is known is one sentence, and leaves nothing behind."""

import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from pipelines import their_stage
from published import Adm, SelfAttention, Transformer, stirred
from safetensors.torch import load_file, save_file
from torch import Tensor

from carrara.cli.entry import main
from carrara.files import BadFile, as_safetensors, unpickling

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]
DIT = ("--layout", "dit", "--heads", "2", "--autoencoder", "vae")


class Runs:
    """Something else than a tensor."""

    def __reduce__(self) -> object:
        return (os.mkdir, ("ran",))


def network() -> dict[str, Tensor]:
    return stirred(Adm(partial(SelfAttention, heads=4, order="heads"), widths=(32, 64))).state_dict()


def without(*names: str) -> Change:
    return lambda found: {name: value for name, value in found.items() if name not in names}


def changed(name: str, value: Tensor) -> Change:
    return lambda found: {**found, name: value}


NETWORKS: dict[str, tuple[Change, tuple[str, ...], str]] = {
    "something else": (lambda _: {"a.weight": torch.zeros(2)}, (), "is no network of guided-diffusion or dit or "),
    "a missing tensor": (without("middle_block.0.in_layers.0.bias"), (), "not hold 'middle_block.0.in_layers.0.bias'"),
    "a level that is missing": (without("input_blocks.1.0.out_layers.3.weight"), (), "a level of it is missing"),
    "many missing": (
        lambda found: {k: v for k, v in found.items() if not k.startswith("output_blocks.1.")},
        (),
        "more",
    ),
    "a strange tensor": (changed("lora.down", torch.zeros(2)), (), "holds 'lora.down', which have no place"),
    "another shape": (changed("out.0.bias", torch.zeros(7)), (), "'out.0.bias' of shape (7,), where (32,) is due"),
    "numbers of another type": (changed("out.0.bias", torch.zeros(32).to(torch.int8)), (), "'out.0.bias' as int8"),
    "no numbers": (changed("out.0.bias", torch.full((32,), torch.nan)), (), "numbers that are none, in 'out.0.bias'"),
    "odd answers": (changed("out.2.weight", torch.zeros(4, 32, 3, 3)), (), "of 3 channels that answers 4"),
    "heads that do not divide": (lambda found: found, ("--heads", "3"), "3 heads do not divide"),
    "both of them": (lambda found: found, ("--heads", "4", "--head-width", "16"), "leave one of them out"),
    "an unknown schedule": (lambda found: found, ("--schedule", "cosin"), "Did you mean 'cosine'?"),
    "an unknown layout": (lambda found: found, ("--layout", "paper"), "unknown layout 'paper'"),
    "another layout": (lambda found: found, ("--layout", "dit"), "is no network of dit"),
    "an option of another": (lambda found: found, ("--tokenizer", "."), "--tokenizer means nothing to guided-diff"),
    "no size": (lambda found: found, ("--size", "0"), "too many for samples of 0x0"),
}
TRANSFORMERS: dict[str, tuple[Change, tuple[str, ...], str]] = {
    "one of two": (lambda found: found, ("--autoencoder", "vae"), "--layout dit or --layout sit"),
    "no heads": (lambda found: found, ("--layout", "sit", "--autoencoder", "vae"), "say it with --heads"),
    "no autoencoder": (lambda found: found, DIT[:4], "by --autoencoder"),
    "no such autoencoder": (lambda found: found, (*DIT[:5], "nowhere"), "there is no autoencoder 'nowhere'"),
    "a folder of none": (lambda found: found, (*DIT[:5], "empty"), "is no folder of an autoencoder"),
    "a file of none": (lambda found: found, (*DIT[:5], "weights.safetensors"), "holds no autoencoder of latent"),
    "learned positions": (changed("pos_embed", torch.randn(1, 16, 32)), DIT, "no sines and cosines"),
    "other channels": (changed("x_embedder.proj.weight", torch.zeros(32, 3, 2, 2)), DIT, "which is no DiT"),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    change, options, part = NETWORKS[kind]
    monkeypatch.chdir(tmp_path)
    save_file(change(network()), "weights.safetensors")
    refused(["weights.safetensors", *options], part, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_transformers(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    change, options, part = TRANSFORMERS[kind]
    monkeypatch.chdir(tmp_path)
    save_file(change(stirred(Transformer()).state_dict()), "weights.safetensors")
    their_stage().save_pretrained("vae")
    Path("empty").mkdir()
    refused(["weights.safetensors", *options], part, capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "vae", "weights.safetensors"]


@pytest.mark.slow
def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(network(), "whole.safetensors")
    whole = Path("whole.safetensors").read_bytes()
    Path("short.safetensors").write_bytes(whole[:-100])
    Path("header.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + whole[8:])
    Path("words.ckpt").write_text("no weights at all")
    torch.save({"state_dict": {"a": Runs()}}, "runs.ckpt")
    Path("old.ckpt").write_bytes(pickle.dumps({"a": Runs()}, protocol=2))
    torch.save({"state_dict": load_file("whole.safetensors")}, "whole.ckpt")
    Path("short.ckpt").write_bytes(Path("whole.ckpt").read_bytes()[:-100])
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, "large.ckpt")
    torch.save([torch.zeros(2)], "list.ckpt")
    Path("folder").mkdir()
    for name, part in (
        ("nothing.ckpt", "there is no folder or file 'nothing.ckpt'"),
        ("short.safetensors", "is damaged, or no safetensors file"),
        ("header.safetensors", "is damaged, or no safetensors file"),
        ("words.ckpt", "is no file of weights: neither safetensors, nor pickled by torch"),
        ("runs.ckpt", "holds more than tensors (posix.mkdir)"),
        ("old.ckpt", "holds more than tensors (posix.mkdir)"),
        ("short.ckpt", "is not whole"),
        ("large.ckpt", "declares more numbers than it has"),
        ("list.ckpt", "holds no tensors by name"),
        ("folder", "there is no model_index.json in it"),
    ):
        refused([name], part, capsys)
    refused(["folder", "--heads", "2"], "--heads means nothing to a folder: leave it out", capsys)
    assert not Path("ran").exists()
    assert not Path("out").exists()


def refused(words: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence on standard error, and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["import", *words, "--run", "out"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert part in said, said
    assert len(said.strip().splitlines()) == 1, said


def test_a_pickle_is_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would do if torch's reader were deceived: no socket, and no other process."""
    for event in ("socket.connect", "subprocess.Popen", "os.system", "os.exec"):
        with pytest.raises(PermissionError, match="it wants"):
            unpickling._watch(event, ())
    unpickling._watch("open", ())
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")
    monkeypatch.setattr("carrara.files.checkpoints._ROOM", 1 << 24)
    with pytest.raises(BadFile, match=r"cannot be read|more memory"), as_safetensors(tmp_path / "a.pt"):
        pass
