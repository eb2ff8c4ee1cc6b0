"""What cannot be built or trained is refused in a sentence, before anything is written or trained."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carrara import run as runs
from carrara.cli import main
from carrara.errors import UserError

UNET = "model.backbone={kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: [], head_width: 8}"
STAGE = "{kind: kl, channels: 4, multipliers: [1, 2], patch: 1, blocks: 1, latent_channels: 1}"
QUICK = ("data.size=16", "data.held_out=0.2", "train.batch=2", "train.minutes=null", "train.steps=2")
CRITIC = "{channels: 4, layers: 3, start: 5000}"
PIXEL = ("--preset", "pixel", UNET)
LEARNED = ("--preset", "autoencoder-kl-f4", f"model.first_stage={STAGE}", "objective.perceptual=0")
LATER = ("--preset", "latent", f"autoencoder.first_stage={STAGE}", "autoencoder.objective.perceptual=0", UNET)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(8):
        Image.fromarray(np.full((16, 16, 3), 30 * k, np.uint8)).save(folder / f"{k}.png")
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(["train", "photos", *QUICK, *arguments])
    said = "".join(capsys.readouterr())
    assert ended.value.code == 2 and "Traceback" not in said, said
    assert sorted(Path().rglob("*")) == before, "a mistake writes nothing"
    return said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*LEARNED, f"objective.critic={CRITIC}"), "critic of 3 layers (critic.layers) needs pictures of 24 pixels"),
        (
            (*LEARNED, "objective.critic={channels: 4, layers: 2, start: 5000}", "data.buckets=[[16,16],[8,32]]"),
            "needs pictures of 12 pixels or more, not 8x16",
        ),
        ((*LATER, f"autoencoder.objective.critic={CRITIC}"), "take 2 layers at most"),
        ((*LATER, "model.backbone.multipliers=[1, 1, 1, 1, 1]"), "5 levels are too many for samples of 8x8"),
        (
            (*LATER, "autoencoder.first_stage.multipliers=[1, 1, 1, 1, 1, 1]"),
            "smaller than the autoencoder's factor 32",
        ),
        ((*PIXEL, "model.backbone.multipliers=[1, 1, 1, 1, 1, 1]"), "6 levels are too many"),
        ((*PIXEL, "model.parameterization=eps", "model.schedule=rectified_flow"), "pure noise"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    photos: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert words in " ".join(refused(capsys, *arguments).split())


@pytest.mark.parametrize(
    "change",
    [
        *(f"{key}={value}" for key in ("channels", "blocks", "patch") for value in (0, -1)),
        *("multipliers=[]", "multipliers=[0]", "multipliers=[1, -1]", "channels=6", "head_width=3", "heads=5"),
        *("attention_levels=[1]", "attention_levels=[-1]", "transformer_depths=[1, 1]", "transformer_depths=[-1]"),
        *("dropout=1", "dropout=-1", "context_width=-1"),
    ],
)
def test_networks_that_do_not_exist_are_refused(photos: Path, change: str) -> None:
    """Or they can be trained; nothing fails within torch."""
    overrides = [*QUICK, UNET, "model.backbone.attention_levels=[0]", f"model.backbone.{change}"]
    try:
        plan = runs.plan("photos", "pixel", None, overrides)
        plan.check()
    except UserError as error:
        assert "model" in str(error)
    else:
        assert runs.rehearse(plan).loss > 0


@pytest.mark.parametrize("value", ["0", "[]", "true"])
def test_a_section_is_no_number(photos: Path, value: str) -> None:
    with pytest.raises(
        UserError, match=r"objective.critic is a section: name a key in it, such as objective.critic\.\w"
    ):
        runs.plan("photos", "autoencoder-kl-f4", None, [*QUICK, f"objective.critic={value}"])
