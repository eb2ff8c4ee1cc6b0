"""``carrara bench``: a table, numbers for programs, and a sentence for every mistake."""

import json
from pathlib import Path

import pytest

from carrara.measure import timing
from carrara.measure.timing import Roofs
from tiny import TINY, Command

NETWORK = TINY[1]


@pytest.fixture(autouse=True)
def small_roofs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(timing.ROOFS, "cpu", Roofs(pictures=1, convolutions=((4, 8),), products=(16,)))


def test_a_preset_without_data(carrara: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = carrara("bench", NETWORK, "data.size=8", "--batch", "2", "--precision", "float32", "--rounds", "2")
    assert code == 0, said
    for words in ("ddpm-cifar", "float32", "training step", "forward pass", "1000 steps", "GiB at the peak"):
        assert words in said
    assert "reading" not in said
    assert max(map(len, said.splitlines()[2:])) <= 100, "the table fits a terminal"
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_numbers_of_a_run(carrara: Command, photos: Path, tmp_path: Path) -> None:
    code, said = carrara("train", photos, "--run", tmp_path / "run", *TINY, "train.steps=1")
    assert code == 0, said
    before = sorted((tmp_path / "run").rglob("*"))
    code, said = carrara("bench", tmp_path / "run", "--json", "--batch", "2", "--rounds", "2")
    assert code == 0, said
    found = json.loads(said)
    assert (found["batch"], found["precision"], found["sampler_steps"]) == (2, "float32", 2)
    step = found["works"]["training step"]
    assert step["images_per_second"] == pytest.approx(2 / step["median"])
    assert step["flops_per_second"] == pytest.approx(step["flops"] / step["median"])
    roof = found["works"]["3x3 convolution"]
    assert step["of_convolution"] == pytest.approx(step["flops_per_second"] / roof["flops_per_second"])
    assert roof["of_convolution"] == 1
    assert found["reading_per_second"]["files"] > 0
    assert sorted((tmp_path / "run").rglob("*")) == before


def test_latents_of_a_run_are_trained_on(carrara: Command, photos: Path, tmp_path: Path) -> None:
    """An autoencoder is benched, too, and what diffuses in its latents."""
    stage = "model.first_stage={kind: kl, channels: 8, multipliers: [1, 1], blocks: 1}"
    stages = (stage.replace("model.", "autoencoder."), "autoencoder.objective.perceptual=0", "data.size=16", NETWORK)
    how = ("--batch", "2", "--precision", "float32", "--rounds", "2", "--json")
    first = "autoencoder.objective.critic=null"
    code, said = carrara("bench", f"data.source={photos}", "--preset", "latent", *stages, first, *how)
    assert code == 0, said
    assert {"training step", "decoding"} <= json.loads(said)["works"].keys()


@pytest.mark.parametrize(
    ("arguments", "batch"), [([], 16), (["train.batch=3"], 3), (["train.batch=3", "--batch", "2"], 2)]
)
def test_the_batch_is_what_was_said_last(
    carrara: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], batch: int
) -> None:
    monkeypatch.chdir(tmp_path)
    how = ("data.size=8", "--precision", "float32", "--rounds", "2")
    code, said = carrara("bench", NETWORK, *how, *arguments)
    assert code == 0, said
    assert f"batches of {batch} in" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "'nowhere' holds no run"),
        (["--batch", "0"], "batch must be above 0"),
        (["--precision", "half"], "train.precision"),
        (["--rounds", "1"], "2 rounds or more"),
        (["--preset", "ddpm-cfar"], "Did you mean 'ddpm-cifar'"),
        (["data.sise=8"], "Did you mean 'data.size'"),
        (["model.conditioner=labels"], "a condition comes with its data"),
        (["--preset", "pixel", "data.size=8", "data.channels=3"], "the recipe leaves the network open"),
        (["--preset", "few-step"], "name the teacher's run"),
    ],
)
def test_mistakes(
    carrara: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = carrara("bench", *arguments)
    assert code == 2, said
    assert words in said
    assert "Traceback" not in said
