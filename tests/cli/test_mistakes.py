"""Every mistake gets a sentence that says what to do, exit code 2, and no traceback."""

from pathlib import Path

import pytest

from tiny import TINY, Command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["trian", "train"]),
        (["train"], ["folder of pictures", "digits"]),
        (["train", "digts"], ["digts", "Did you mean 'digits'"]),
        (["train", "EMPTY"], ["no pictures in", "it is empty", ".png"]),
        (["train", "TEXT"], ["no pictures in", ".txt"]),
        (["train", "BROKEN"], ["can be read", "b.png"]),
        (["train", "digits", "--preset", "digts"], ["unknown preset", "Did you mean 'digits'"]),
        (["train", "digits", "train.stepz=5"], ["argument 'train.stepz=5'", "Did you mean 'train.steps'"]),
        (["train", "digits", "lr=5"], ["unknown key 'lr'", "Did you mean 'train.lr'"]),
        (["train", "digits", "train.steps"], ["key=value"]),
        (["train", "digits", "model.schedule=cosin"], ["cosin", "Did you mean 'cosine'"]),
        (["train", "digits", "model.parameterization=eps", "model.schedule=rectified_flow"], ["pure noise", "choose"]),
        (["train", "--preset", "BAD.yaml"], ["BAD.yaml, line 3", "train.stepz", "Did you mean 'train.steps'"]),
        (["sample", "EMPTY"], ["holds no run", "Name the folder of a run"]),
        (["edit", "openmoji", "upscale", "EMPTY"], ["is a folder", "name a picture in it"]),
        (["edit", "openmoji", "img2img", "BROKEN/a.png"], ["no picture", "Did you mean 'BROKEN/b.png'"]),
        (["sample", "nowhere"], ["no run 'nowhere'"]),
        (["replay", "TEXT/notes.txt"], ["not a PNG"]),
        (["inspect", "schedule", "linr"], ["Did you mean 'linear'"]),
        (["inspect", "data", "nowhere"], ["nowhere"]),
        (["sample"], ["requires an argument", "--help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(
    carrara: Command, tmp_path: Path, arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("EMPTY", "TEXT", "BROKEN"):
        Path(name).mkdir()
    Path("TEXT/notes.txt").write_text("hello")
    Path("BROKEN/b.png").write_bytes(b"not a picture")
    Path("BAD.yaml").write_text("preset: digits\ntrain:\n  stepz: 5\n")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    code, said = carrara(*arguments)
    assert code == 2, said
    assert "Traceback" not in said
    for word in words:
        assert word in said
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before, "a mistake writes nothing"


def test_all_mistakes_are_told_at_once(carrara: Command) -> None:
    code, said = carrara("train", "digits", "train.stepz=5", "model.schedule=cosin", "train.batch=many")
    assert code == 2
    assert said.count("argument '") == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sampler", "ddmp"], "Did you mean 'ddpm'"),
        (["--grid", "trailin"], "Did you mean 'trailing'"),
        (["--guidance", "3"], "guidance 3 needs a model with a condition"),
        (["--steps", "0"], "at least 1 step"),
        (["--guidance", "much"], "unable to convert"),
        (["--count", "0"], "ask for at least 1"),
        (["cat"], "unconditional"),
    ],
)
def test_sampling_mistakes(carrara: Command, tmp_path: Path, options: list[str], words: str) -> None:
    folder = tmp_path / "run"
    made = carrara(
        "train", "digits", "--run", folder, *TINY, "train.steps=1", "model.conditioner=none", "sample.guidance=1"
    )
    assert made[0] == 0, made[1]
    before = sorted(folder.rglob("*"))
    code, said = carrara("sample", folder, *options)
    assert code == 2, said
    assert words in said
    assert "Traceback" not in said
    assert sorted(folder.rglob("*")) == before


def test_a_folder_with_other_things_is_not_touched(carrara: Command, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    code, said = carrara("train", "digits", "--run", tmp_path, *TINY)
    assert code == 2
    assert "is not empty and holds no run" in said
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
