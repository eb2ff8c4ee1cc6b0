"""What the README says to type is typed."""

import re
import shlex
from pathlib import Path

import pytest

from carrara.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def carrara(line: str) -> None:
    words = shlex.split(line, comments=True)
    assert words[0] == "carrara"
    with pytest.raises(SystemExit) as raised:
        main(words[1:])
    assert raised.value.code == 0, line


def test_the_commands_and_the_python_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    assert len(lines) >= 8
    for line in lines:
        carrara(line)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert (tmp_path / "seven.png").exists()


@pytest.mark.slow
def test_the_way_on_with_own_pictures(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands with photos/, and on what they leave; the trainings shortened."""
    monkeypatch.chdir(photos.parent)
    lines = re.findall(r"^    (carrara .*)$", README, re.MULTILINE)
    assert [line.split()[1] for line in lines] == [
        *("inspect", "train", "sample", "evaluate", "train", "evaluate", "distill"),
        *("train", "sample"),
    ]
    brief = "train.steps=1 train.batch=2 preview.every=0"
    first = " ".join(f"autoencoder.{change}" for change in brief.split())
    for line in lines:
        short = f" {brief}" if line.split()[1] in ("train", "distill") else ""
        short += " sample.steps=2" if " train " in line else ""
        short += f" {first} data.size=32" if ("latent" in line or "-text" in line) and " train " in line else ""
        short += " data.held_out=0.97 data.skin_tones=false" if "-text" in line else ""
        carrara(line.partition("#")[0] + short)


def test_links_lead_somewhere() -> None:
    root = Path(__file__).parent.parent
    missing = [link for link in re.findall(r"\]\(([^)#:]+)\)", README) if not (root / link).exists()]
    assert not missing
