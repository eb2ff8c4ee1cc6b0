"""Guidance through the command: what pictures carry, and what is refused."""

from pathlib import Path

import pytest

from carrara.pixels import read_recipe
from tiny import TINY, Command


@pytest.fixture
def run(carrara: Command, photos: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    code, said = carrara("train", photos, "--run", folder, *TINY, "train.steps=4", "checkpoint.every=2")
    assert code == 0, said
    return folder


def test_pictures_carry_what_guidance_led_away_from(carrara: Command, run: Path) -> None:
    early = run / "checkpoints" / "step-2"
    for options in (
        ("--negative", "blue", "--method", "apg", "--interval", "0.1", "0.9", "--rescale", "0.5"),
        ("--weak", early, "--method", "cfg_zero"),
    ):
        code, said = carrara("sample", run, "red", "-n", "2", "--steps", "3", "--guidance", "4", *options)
        assert code == 0, said
    one, two = (read_recipe(run / "samples" / name / "0001.png")["request"] for name in ("sample", "sample-2"))
    assert (one["negative"], one["weak"]) == ("blue", None)
    assert one["settings"]["method"] == {"kind": "apg", "eta": 0.0, "limit": None, "momentum": 0.0}
    assert one["settings"]["interval"] == [0.1, 0.9]
    assert two["weak"]["run"] == str(early)
    for name in ("sample", "sample-2"):
        code, said = carrara("replay", run / "samples" / name / "0001.png")
        assert code == 0, said
        assert "every pixel is the same" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["red", "--guidance", "1", "--negative", "blue"], "a negative prompt does nothing at guidance 1"),
        (["red", "--guidance", "3", "--negative", "bleu"], "unknown label 'bleu'"),
        (["red", "--guidance", "3", "--weak", "nowhere"], "no run 'nowhere'"),
        (["red", "--method", "agp"], "Did you mean 'apg'"),
        (["red", "--interval", "0.8", "0.2"], "the interval's low comes first"),
        (["red", "--interval", "0.8", "--rescale", "1"], "interval"),
    ],
)
def test_mistakes(carrara: Command, run: Path, options: list[str], words: str) -> None:
    before = sorted(run.rglob("*"))
    code, said = carrara("sample", run, *options)
    assert code == 2, said
    assert words in said
    assert "Traceback" not in said
    assert sorted(run.rglob("*")) == before
