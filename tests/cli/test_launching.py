"""``--launch``: what is printed, and what is refused before any process begins."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from carrara.cli import launching
from carrara.cli.launching import RESTARTS, launch, line
from carrara.errors import UserError
from carrara.train.distributed import LOST


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


@pytest.mark.parametrize(
    ("codes", "reached", "ends"),
    [
        ([-9, LOST, -6, 0], [0, 0, 0], 0),
        ([-9, -9, -9, -9], [0, 0, 0, 0], 128 + 9),
        ([LOST] * 4, [0, 0, 0, 0], LOST),
        ([-9, -9, -9, -9, -9, -9, 0], [0, 0, 1, 1, 1, 2], 0),
        ([-9, -9, -9, -9, -9], [0, 1, 1, 1, 1], 128 + 9),
        ([-9, 2], [0], 2),
    ],
)
def test_who_gets_further_begins_again_as_often_as_it_takes(
    codes: list[int], reached: list[int], ends: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same place three times and no more; a mistake is not made again."""
    assert RESTARTS == 3
    monkeypatch.setattr(launching, "_launched", lambda *_: codes.pop(0))
    monkeypatch.setattr(launching.logging, "disable", lambda _: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "1")
    places = [0, *reached]
    assert launch(2, ["train"], lambda: places.pop(0)) == ends
    assert codes == [] and places == []
