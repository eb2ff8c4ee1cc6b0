"""``--launch``: what is printed, and what is refused before any process begins."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from carrara.cli.launching import launch, line
from carrara.errors import UserError


def test_the_line_is_one_that_torchrun_understands() -> None:
    """Without ``--`` it takes ``--run`` for an option of its own."""
    words = ["train", "my photos", "train.steps=3", "--run", "runs/a b"]
    given = shlex.split(line(3, words))
    assert given[0] == "torchrun"
    read = get_args_parser().parse_args(given[1:])
    assert (read.nproc_per_node, read.module, read.training_script) == ("3", True, "carrara")
    assert read.training_script_args == words


def test_mistakes_are_said_once_before_anything_begins(
    carrara: Callable[..., tuple[int, str]], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = carrara("train", photos, "--launch", 0, "--run", tmp_path / "run")
    assert code == 2 and "--launch is a number of processes, 1 or more, and is 0" in " ".join(said.split())
    code, said = carrara("train", photos, "train.stepz=3", "--launch", 2, "--run", tmp_path / "run")
    assert code == 2 and said.count("unknown key") == 1, said
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="one of 2 that were started together: leave launch out"):
        launch(2, [])
