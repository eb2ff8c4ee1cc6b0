"""Cards say what a run tells, and nothing else; what their owner wrote stays."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from carrara.share.card import NOTES, PICTURE
from carrara.share.facts import read_facts
from carrara.share.places import without_places
from carrara.store.runs import open_model
from small_models import saved
from tiny import Command


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a log and measurements, of its weights and of earlier ones."""
    folder = tmp_path_factory.mktemp("drawn") / "cats"
    saved("pixels", folder / "model")
    weights = open_model(folder).digest()
    (folder / "recipe.yaml").write_text("preset: digits\ndata: {source: {kind: digits}}\n")
    log = [{"step": step, "loss": 0.5, "images": 8 * step, "seconds": 60.0 * step} for step in (1, 2, 3)]
    (folder / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in log))
    (folder / "evaluation").mkdir()
    for name, of in (("kid", weights), ("fid", "of another")):
        values = {"value": 0.25, "closest": "/home/ada/a.png", "measured": {"step": 3, "weights": of}}
        (folder / "evaluation" / f"{name}.json").write_text(json.dumps(values))
    read_facts(folder)
    return folder


@pytest.fixture
def run(drawn: Path, tmp_path: Path) -> Path:
    return shutil.copytree(drawn, tmp_path / "cats")


def front(text: str) -> dict[str, object]:
    return yaml.safe_load(text.split("---\n")[1])


def test_a_card_says_what_the_run_tells(run: Path, carrara: Command) -> None:
    assert carrara("card", run, "--license", "cc-by-4.0", "--note", "My own cats.", "--to", "ada/cats")[0] == 0
    text = (run / "README.md").read_text()
    head = front(text)
    assert head["library_name"] == "carrara" and head["pipeline_tag"] == "unconditional-image-generation"
    assert head["license"] == "cc-by-4.0" and head["tags"] == ["carrara", "diffusion"]
    (index,) = head["model-index"]
    (result,) = index["results"]
    assert result["metrics"] == [{"type": "kid.value", "name": "value", "value": 0.25}]
    parameters = sum(one.numel() for one in open_model(run).parameters())
    for fact in (
        f"| parameters | {parameters:,} |",
        "| 2 classes | cat, dog |",
        "| minutes | 3.0 |",
        "| images | 24 |",
    ):
        assert fact in text
    assert "carrara pull ada/cats --run runs/cats" in text and "carrara sample runs/cats cat -n 4" in text
    assert "E. Alpaydin" in text and "source: {kind: digits}" in text
    assert "memorisation" in text and "My own cats." in text.partition(NOTES)[2]
    assert "fid" not in text and "/home/ada" not in text and str(run) not in text
    with Image.open(run / PICTURE) as picture:
        assert picture.info == {}


def test_the_hub_client_reads_the_card(run: Path, carrara: Command) -> None:
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import ModelCard

    carrara("card", run, "--license", "apache-2.0")
    data = ModelCard.load(run / "README.md").data
    assert data.license == "apache-2.0" and data.library_name == "carrara" and data.model_name == "cats"
    (result,) = data.eval_results
    assert (result.metric_name, result.metric_value) == ("value", 0.25)


def test_what_is_below_the_line_stays(run: Path, carrara: Command) -> None:
    carrara("card", run, "--license", "cc0-1.0")
    path = run / "README.md"
    edited = path.read_text().replace("license: cc0-1.0\n", "license: cc0-1.0\nlanguage: en\n") + "\nA note.\n"
    path.write_text(edited)
    saved("pixels", run / "model", seed=1)
    assert carrara("card", run)[0] == 0
    text = path.read_text()
    assert text.partition(NOTES)[2] == edited.partition(NOTES)[2]
    assert front(text)["license"] == "cc0-1.0" and front(text)["language"] == "en"
    assert open_model(run).digest() in text and open_model(run).digest() not in edited
    assert carrara("card", run, "--note", "More.")[0] == 0 and carrara("card", run, "--note", "More.")[0] == 0
    assert path.read_text().count("More.") == 1 and "A note." in path.read_text()


@pytest.mark.parametrize("edited", ["# A card of my own\n", None])
def test_an_edited_card_is_not_overwritten(edited: str | None, run: Path, carrara: Command) -> None:
    path = run / "README.md"
    carrara("card", run)
    path.write_text(edited or path.read_text().replace("# cats", "# The cats"))
    before = path.read_text()
    code, text = carrara("card", run)
    assert code == 2 and "--overwrite" in text and path.read_text() == before
    assert carrara("card", run, "--overwrite")[0] == 0 and "# cats\n" in path.read_text()


def test_a_stage_and_a_shipped_model_have_cards(tmp_path: Path, carrara: Command) -> None:
    saved("autoencoder", tmp_path / "stage")
    assert carrara("card", tmp_path / "stage")[0] == 0
    text = (tmp_path / "stage" / "README.md").read_text()
    assert "pipeline_tag" not in text and "carrara evaluate runs/name" in text and "Nothing was measured" in text
    code, told = carrara("card", "openmoji")
    assert code == 2 and "--out FOLDER" in told


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("/home/ada/cats", "cats"),
        ("~/cats/", "cats"),
        ("C:\\Users\\ada\\cats", "cats"),
        ("\\\\server\\ada\\cats", "cats"),
        ("clip:/models/clip-b", "clip:clip-b"),
        ("/", "folder"),
        ("runs/cats", "runs/cats"),
        ("and/or", "and/or"),
        ("a: b", "a: b"),
    ],
)
def test_places_become_names(given: str, named: str) -> None:
    assert without_places({"a": [{"b": given}, 1, None]}, {}) == {"a": [{"b": named}, 1, None]}
