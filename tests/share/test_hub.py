"""Models go to a Hub and come from it, by the real client: equal to the bit, of one commit, and nothing else comes."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import TOKEN, Hub, Repository, serving

from carrara.files import sealed
from carrara.share.facts import read_facts
from carrara.share.parcel import packed
from carrara.store.runs import open_model
from small_models import saved
from tiny import Command

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own
RECIPE = """data:
  source: {kind: folder, path: /home/ada/secret photos, labels: /home/ada/labels.csv}
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A local Hub, which the client takes for the only one; with the right token."""
    from huggingface_hub import constants

    with serving() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.url + template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of random weights, whose recipe and configuration name folders of its owner."""
    folder = tmp_path_factory.mktemp("drawn") / "cats"
    saved("pixels", folder / "model")
    config = json.loads((folder / "model" / "config.json").read_text())
    config["about"] = {
        "data": "/home/ada/secret photos",
        "examples": 12,
        "fingerprint": "f00d",
        "step": 5,
        "images": 20,
    }
    (folder / "model" / "config.json").write_text(json.dumps(config))
    sealed.seal(folder / "model")
    (folder / "recipe.yaml").write_text(RECIPE)
    read_facts(folder)  # draws what cards show
    return folder


@pytest.fixture
def run(drawn: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(drawn, tmp_path / "cats")


@pytest.fixture(scope="module")
def sent(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a push of it sends, but for the card."""
    items = packed(drawn, tmp_path_factory.mktemp("sent"), {})
    content = {item.name: item.content for item in items}
    own = {name: text if isinstance(text, bytes) else text.read_bytes() for name, text in content.items()}
    return {".gitattributes": b"", "recipe.yaml": b"seed: 0\n", "samples/card.png": b"picture", **own}


def pushed(hub: Hub, run: Path, carrara: Command, *more: object) -> str:
    """The commit of what was pushed."""
    code, text = carrara("push", run, "--to", "ada/cats", *more)
    assert code == 0, text
    return hub.repositories["ada/cats"].branches["main"]


@pytest.fixture
def there(hub: Hub, sent: dict[str, bytes]) -> str:
    """The commit of a repository ada/cats that holds the run."""
    found = hub.repositories["ada/cats"] = Repository(private=False)
    return found.commit("main", sent)


def test_what_comes_is_the_model_that_went(hub: Hub, run: Path, tmp_path: Path, carrara: Command) -> None:
    commit = pushed(hub, run, carrara)
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    assert code == 0 and commit in text and "carrara sample" in text
    assert open_model(tmp_path / "again").digest() == open_model(run).digest()
    for name in ("denoiser.safetensors", "conditioner.safetensors"):
        assert (tmp_path / "again" / "model" / name).read_bytes() == (run / "model" / name).read_bytes()
    record = json.loads((tmp_path / "again" / "pulled.json").read_text())
    assert record == {"repository": "ada/cats", "commit": commit, "revision": None}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert carrara("sample", tmp_path / "again", "cat", "-n", 1, "--steps", 1)[0] == 0


def test_neither_data_nor_places_go(hub: Hub, run: Path, carrara: Command) -> None:
    (run / "secret.txt").write_text("s3cret")
    pushed(hub, run, carrara)
    files = hub.files("ada/cats")
    model = {"config.json", "conditioner.safetensors", "denoiser.safetensors", "manifest.json"}
    own = {".gitattributes", "README.md", "recipe.yaml", "samples/card.png"}
    assert files.keys() == own | {f"model/{name}" for name in model}
    assert all(b"/home/ada" not in content and str(run).encode() not in content for content in files.values())
    assert b"path: secret photos" in files["recipe.yaml"] and b'"data": "secret photos"' in files["model/config.json"]
    assert b"12 examples of secret photos" in files["README.md"]


def test_a_dry_run_asks_and_sends_nothing(hub: Hub, run: Path, tmp_path: Path, carrara: Command) -> None:
    code, text = carrara("push", run, "--to", "ada/cats", "--dry-run")
    assert code == 0 and "model/denoiser.safetensors" in text and "'/home/ada/secret photos' is called" in text
    assert hub.asked == []
    pushed(hub, run, carrara)
    size = (run / "model" / "denoiser.safetensors").stat().st_size
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again", "--dry-run")
    assert code == 0 and f"{size:,}  model/denoiser.safetensors" in text
    assert not (tmp_path / "again").exists()


def test_a_commit_is_pinned(hub: Hub, run: Path, tmp_path: Path, carrara: Command) -> None:
    first = pushed(hub, run, carrara)
    before = open_model(run).digest()
    shutil.rmtree(run / "model")
    saved("pixels", run / "model", seed=1)
    assert pushed(hub, run, carrara) != first
    carrara("pull", f"ada/cats@{first[:12]}", "--run", tmp_path / "old")
    carrara("pull", "ada/cats@main", "--run", tmp_path / "new")
    assert open_model(tmp_path / "old").digest() == before
    assert open_model(tmp_path / "new").digest() == open_model(run).digest() != before


def test_branches_and_private_repositories(hub: Hub, run: Path, tmp_path: Path, carrara: Command) -> None:
    pushed(hub, run, carrara, "--private", "--revision", "small")
    found = hub.repositories["ada/cats"]
    assert found.private and "model/config.json" not in hub.files("ada/cats")
    assert "model/config.json" in hub.files("ada/cats", "small")
    assert carrara("pull", "ada/cats@small", "--run", tmp_path / "again")[0] == 0


def test_what_is_no_longer_sent_is_deleted(hub: Hub, run: Path, carrara: Command) -> None:
    pushed(hub, run, carrara)
    found = hub.repositories["ada/cats"]
    found.commit("main", {**hub.files("ada/cats"), "model/first_stage.safetensors": b"old", "extra.txt": b"theirs"})
    pushed(hub, run, carrara)
    assert "model/first_stage.safetensors" not in hub.files("ada/cats") and "extra.txt" in hub.files("ada/cats")


def test_an_interrupted_transfer_goes_on(
    hub: Hub, there: str, drawn: Path, tmp_path: Path, carrara: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    hub.cut["model/denoiser.safetensors"] = 1000
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    if code != 0:  # older clients do not go on by themselves
        assert code == 2 and "say the same again" in text and not (tmp_path / "again").exists()
        code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    assert code == 0, text
    assert ("model/denoiser.safetensors", "bytes=1000-") in hub.ranges
    assert open_model(tmp_path / "again").digest() == open_model(drawn).digest()


def test_a_second_pull_brings_only_what_is_missing(
    hub: Hub, there: str, drawn: Path, tmp_path: Path, carrara: Command
) -> None:
    hub.served["model/manifest.json"] = b"{}"
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    assert code == 2 and not (tmp_path / "again").exists() and "manifest.json" in text
    hub.served.clear()
    hub.asked.clear()
    assert carrara("pull", "ada/cats", "--run", tmp_path / "again")[0] == 0
    assert not [one for one in hub.asked if one.endswith("denoiser.safetensors")]
    assert open_model(tmp_path / "again").digest() == open_model(drawn).digest()


def test_changed_files_are_refused(hub: Hub, there: str, tmp_path: Path, carrara: Command) -> None:
    content = hub.files("ada/cats")["model/denoiser.safetensors"]
    hub.served["model/denoiser.safetensors"] = content[:-1] + bytes([content[-1] ^ 1])
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    assert code == 2 and "SHA-256" in text and not (tmp_path / "again").exists()
    hub.served = {"recipe.yaml": b"x" * len(hub.files("ada/cats")["recipe.yaml"])}
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "other")
    assert code == 2 and "recipe.yaml" in text and "git's hash" in text


def test_a_model_that_was_changed_at_the_hub_is_refused(hub: Hub, there: str, tmp_path: Path, carrara: Command) -> None:
    files = hub.files("ada/cats")
    changed = files["model/denoiser.safetensors"][:-4] + b"\0\0\0\0"
    hub.repositories["ada/cats"].commit("main", {**files, "model/denoiser.safetensors": changed})
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    assert code == 2 and "denoiser.safetensors is not what was written" in text
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "model/../../evil.json", "/evil", "model\\evil", "a:b", "a//b"]
)
def test_names_that_lead_out_are_refused(name: str, hub: Hub, tmp_path: Path, carrara: Command) -> None:
    found = hub.repositories["ada/cats"] = Repository(private=False)
    found.commit("main", {"model/config.json": b"{}", name: b"evil"})
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    assert code == 2 and "nothing of it is taken" in text
    assert not [path for path in tmp_path.iterdir() if path.name != "cache"]


def test_only_files_of_a_model_come(hub: Hub, there: str, tmp_path: Path, carrara: Command) -> None:
    strange = {"model/evil.py": b"boom", "hubconf.py": b"boom", "model/weights.pkl": b"boom", "big.bin": b"boom"}
    hub.repositories["ada/cats"].commit("main", {**hub.files("ada/cats"), **strange})
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    assert code == 0 and "5 other files" in text  # and .gitattributes
    assert not [path for path in (tmp_path / "again").rglob("*") if path.name in ("evil.py", "weights.pkl", "big.bin")]


def test_a_pipeline_of_diffusers_is_brought_for_import(hub: Hub, tmp_path: Path, carrara: Command) -> None:
    files = {
        "model_index.json": b'{"_class_name": "DDPMPipeline"}',
        "unet/config.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": b"weights",
        "unet/diffusion_pytorch_model.fp16.safetensors": b"half",
        "unet/diffusion_pytorch_model.bin": b"pickle",
    }
    hub.repositories["google/ddpm"] = Repository(private=False)
    hub.repositories["google/ddpm"].commit("main", files)
    code, text = carrara("pull", "google/ddpm", "--run", tmp_path / "ddpm")
    assert code == 0 and "carrara import" in text and "2 other files" in text
    there = {
        path.relative_to(tmp_path / "ddpm").as_posix() for path in (tmp_path / "ddpm").rglob("*") if path.is_file()
    }
    assert there == {*list(files)[:3], "pulled.json"}


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("ada/none", "there is no repository 'ada/none'"),
        ("ada/cats@none", "has no branch, tag or commit 'none'"),
        ("cats", "is no name of a repository"),
        ("ada/../cats", "is no name of a repository"),
        ("ada/empty", "holds neither a run"),
        ("ada/gated", "is gated"),
    ],
)
def test_what_is_not_there_is_a_sentence(told: str, says: str, hub: Hub, tmp_path: Path, carrara: Command) -> None:
    for name in ("cats", "empty", "gated"):
        found = hub.repositories[f"ada/{name}"] = Repository(private=False, gated=name == "gated")
        found.commit("main", {} if name == "empty" else {"model/config.json": b"{}"})
    code, text = carrara("pull", told, "--run", tmp_path / "again")
    assert code == 2 and says in text and not (tmp_path / "again").exists()


def test_tokens_and_rights(hub: Hub, run: Path, carrara: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = carrara("push", run, "--to", "other/cats")
    assert code == 2 and "may not do that to 'other/cats'" in text
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    code, text = carrara("push", run, "--to", "ada/cats")
    assert code == 2 and "does not know your token" in text and "hf_wrong" not in text
    assert hub.repositories == {}


def test_no_network_and_no_package(
    hub: Hub, run: Path, tmp_path: Path, carrara: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True, raising=False)
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    assert (code == 2 and "HF_HUB_OFFLINE" in text) or "cannot be reached" in text
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    assert code == 2 and "cannot be reached" in text
    monkeypatch.setattr("carrara.share.hub.find_spec", lambda _: None)
    code, text = carrara("pull", "ada/cats", "--run", tmp_path / "again")
    assert code == 2 and "pip install 'carrara[hub]'" in text


def test_a_folder_with_something_in_it_is_refused(hub: Hub, run: Path, carrara: Command) -> None:
    code, text = carrara("pull", "ada/cats", "--run", run)
    assert code == 2 and "is not empty" in text and hub.asked == []


def test_a_damaged_model_is_not_sent(hub: Hub, run: Path, carrara: Command) -> None:
    (run / "model" / "denoiser.safetensors").write_bytes(b"short")
    code, text = carrara("push", run, "--to", "ada/cats")
    assert code == 2 and "damaged" in text and hub.asked == []


def test_a_card_that_was_edited_at_the_hub_stays(hub: Hub, run: Path, carrara: Command) -> None:
    pushed(hub, run, carrara)
    files = hub.files("ada/cats")
    edited = files["README.md"].replace(b"# cats", b"# Cats of the house")
    hub.repositories["ada/cats"].commit("main", {**files, "README.md": edited})
    code, text = carrara("push", run, "--to", "ada/cats")
    assert code == 2 and "edited there" in text
    assert hub.files("ada/cats")["README.md"] == edited
    pushed(hub, run, carrara, "--overwrite")
    assert b"# cats" in hub.files("ada/cats")["README.md"]


def test_notes_at_the_hub_are_kept(hub: Hub, run: Path, carrara: Command) -> None:
    pushed(hub, run, carrara)
    files = hub.files("ada/cats")
    noted = files["README.md"] + b"\nThese cats are mine.\n"
    hub.repositories["ada/cats"].commit("main", {**files, "README.md": noted})
    pushed(hub, run, carrara)
    assert b"These cats are mine." in hub.files("ada/cats")["README.md"]
