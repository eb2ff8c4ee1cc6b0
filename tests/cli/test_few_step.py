"""A model of few steps through the command: made, sampled, measured, inspected; and what can go wrong."""

import shutil
from pathlib import Path

import pytest

from carrara.pixels import read_recipe
from tiny import TINY, Command

SMALL = ("objective.trajectories=8", "objective.solver=4", "train.steps=2", "train.batch=4", "preview.every=0")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a teacher and a student are that no test changes."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def student(carrara: Command, photos: Path, kept: Path) -> Path:
    if not (kept / "teacher-2-steps").exists():
        shutil.copytree(photos, kept / "photos")
        brief = [*TINY, "preview.every=0", "train.steps=2", "data.held_out=0.3"]
        assert carrara("train", kept / "photos", "--run", kept / "teacher", *brief)[0] == 0
        code, said = carrara("distill", kept / "teacher", "--steps", "2", *SMALL)
        assert code == 0, said
        assert "solutions: 8 of 8" in said
        assert f"carrara sample {kept / 'teacher-2-steps'}" in said
    return kept / "teacher-2-steps"


def test_a_student_is_sampled_and_inspected_like_any_run(carrara: Command, student: Path, tmp_path: Path) -> None:
    code, said = carrara("sample", student, "red", "-n", "2", "--out", tmp_path / "out")
    assert code == 0, said
    settings = read_recipe(tmp_path / "out" / "grid.png")["request"]["settings"]
    assert (settings["steps"], settings["guidance"], settings["sampler"]["kind"]) == (2, 1.0, "euler")
    code, said = carrara("inspect", student)
    assert code == 0 and "Guidance" not in said, "it has its teacher's, and takes no other"
    again = ("--run", student, "--out", tmp_path / "again.png")
    code, said = carrara("replay", tmp_path / "out" / "grid.png", *again)
    assert code == 0, said
    assert "every pixel is the same" in said


def test_a_page_about_a_student(carrara: Command, student: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(student, tmp_path / "copy")
    code, said = carrara("evaluate", copy, "--report")
    assert code == 0, said
    assert "--metrics kid" in (copy / "evaluation" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["distill", "STUDENT", "--steps", "2"], ["takes 2 steps already", "its teacher"]),
        (["distill", "TEACHER", "--steps", "0"], ["1 to 16 steps"]),
        (["distill", "TEACHER", "--steps", "4", "--decoder"], ["what shall be distilled?"]),
        (["distill", "TEACHER", "--decoder", "--run", "x"], ["leave --run out"]),
        (["distill", "TEACHER", "--steps", "4", "--run", "STUDENT"], ["holds another run", "objective.steps is 2"]),
        (["distill", "TEACHER", "--steps", "4", "--minutes", "-1"], ["-1", "above 0"]),
        (["distill", "nowhere", "--steps", "4"], ["no run 'nowhere'"]),
        (["evaluate", "STUDENT", "--metrics", "nll"], ["knows no likelihood", "--metrics kid"]),
        (["evaluate", "STUDENT", "--metrics", "flow"], ["knows no likelihood"]),
        (["sample", "STUDENT", "--steps", "20"], ["in 2 steps", "its teacher's run"]),
        (["distill", "TEACHER", "--steps", "4", "data.held_out=0.3"], ["'data.held_out'", "leave it out"]),
        (["edit", "STUDENT", "variation", "a.png"], ["in 2 steps", "teacher's run"]),
        (["train", "--run", "STUDENT", "--dry-run"], ["carrara distill"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(
    carrara: Command,
    student: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"STUDENT": student, "TEACHER": student.with_name("teacher")}
    code, said = carrara(*[names.get(argument, argument) for argument in arguments])
    assert code == 2, said
    assert len(said.strip().splitlines()) == 1
    assert all(word in said for word in words), said
    assert {path.name for path in tmp_path.iterdir()} == {"photos"}
