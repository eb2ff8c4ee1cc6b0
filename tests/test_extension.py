"""What can be added from outside, and how little it takes: docs/extending.md, done to a copy of the package.

The blocks of the page that begin with the name of a file are written into that file, the lines that it foretells are
added, and whole commands run. What is added in one test stays for the next ones, and changes nothing for them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carrara.pixels import read_recipe
from test_docs import blocks
from test_layers import PACKAGE
from tiny import TINY

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
ROW = re.compile(
    r"^\| an? (?P<what>[\w ]+?)(?: of editing)? \| (?:at most )?(?P<files>\d)[^|]*\| (?P<lines>\d) \|", re.M
)
NAMED = re.compile(r"# (?P<file>[\w/]+\.py)\n")
RUN = """
import json, sys
from carrara.cli import main

for command in json.loads(sys.argv[1]):
    try:
        main(command)
    except SystemExit as ended:
        print(command[0], "exit code", ended.code or 0, flush=True)
"""
SHORT = ("train.steps=2", *TINY)
GREY = tuple(option for option in SHORT if not option.startswith("model.backbone"))


@dataclass(frozen=True, kw_only=True)
class Addition:
    """What the page says one does to add something.

    Attributes:
        what: it is, as the table of the page has it.
        files: that are new.
        catalogue: the file that one line is added to.
        after: the line that it is added after.
        line: the one.
        name: what has to be imported for it, from the last of the files.
    """

    what: str
    files: tuple[str, ...]
    catalogue: str
    after: str
    line: str
    name: str


VERB = Addition(
    what="verb",
    files=("draw/verbs/echo.py",),
    catalogue="draw/verbs/__init__.py",
    after="        Traverse,\n",
    line="        Echo,\n",
    name="Echo",
)
SOURCE = Addition(
    what="data source",
    files=("data/sources/squares.py",),
    catalogue="data/sources/catalogue.py",
    after="    | SwissRollSource\n",
    line="    | SquaresSource\n",
    name="SquaresSource",
)
SAMPLER = Addition(
    what="sampler",
    files=("sample/midpoint.py",),
    catalogue="sample/catalogue.py",
    after="AnySampler = Ddpm | Ddim | Euler | EulerAncestral | Heun | DpmPp | DpmPpSde | UniPC | Lms | Absorbing\n",
    line="AnySampler |= Midpoint\n",
    name="Midpoint",
)
NETWORK = Addition(
    what="network",
    files=("backbone/convolutions.py",),
    catalogue="backbone/__init__.py",
    after="AnyBackbone = UNetConfig | DiTConfig | MlpConfig | ControlledConfig\n",
    line="AnyBackbone |= ConvolutionsConfig\n",
    name="ConvolutionsConfig",
)
OBJECTIVE = Addition(
    what="objective",
    files=("recipe/kinds/huber.py",),
    catalogue="recipe/kinds/__init__.py",
    after="    FewStep,\n",
    line="    Huber,\n",
    name="Huber",
)


def written() -> dict[str, str]:
    """The files of the page, by their paths in the package; each begins with the imports of the page's first block."""
    codes = [code for _, code in blocks(PAGE)]
    files: dict[str, str] = {}
    for code in codes:
        if named := NAMED.match(code):
            files[named["file"]] = files.get(named["file"], codes[0]) + "\n\n" + code
    return files


def foretold() -> dict[str, tuple[int, int]]:
    """How many files at most, and lines, an addition takes, by the page's table."""
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {what: (int(files), int(lines)) for what, files, lines in rows}


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy of the package, and a folder to work in."""

    package: Path
    folder: Path

    def add(self, addition: Addition) -> None:
        """Does what the page says, and not more than it foretells."""
        texts = written()
        files, lines = foretold()[addition.what]
        assert len(addition.files) <= files and addition.line.count("\n") == lines
        for file in addition.files:
            assert not (self.package / file).exists()
            (self.package / file).write_text(texts[file])
        module = ".".join(["carrara", *Path(addition.files[-1]).with_suffix("").parts])
        catalogue = self.package / addition.catalogue
        before = catalogue.read_text()
        assert before.count(addition.after) == 1
        after = before.replace(addition.after, addition.after + addition.line)
        last = [match.end() for match in re.finditer(r"^(?:from|import) .*\n", after, re.MULTILINE)][-1]
        catalogue.write_text(f"{after[:last]}from {module} import {addition.name}\n{after[last:]}")

    def run(self, *commands: Sequence[object], failing: int = 0) -> str:
        """Runs commands in one process of the copy; the last ``failing`` end with exit code 2. Returns what is said."""
        own = {"PYTHONPATH": str(self.package.parent), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        said = [[str(word) for word in command] for command in commands]
        done = subprocess.run(
            [sys.executable, "-c", RUN, json.dumps(said)],
            cwd=self.folder,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
        )
        output = done.stdout + done.stderr
        codes = [int(code) for code in re.findall(r"^\w+ exit code (\d+)$", output, re.MULTILINE)]
        assert codes == [0] * (len(commands) - failing) + [2] * failing, output
        assert "Traceback" not in output
        return output


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("extension")
    package = folder / "package" / "carrara"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("models", "__pycache__"))
    return Copy(package=package, folder=folder)


def test_all_that_the_page_foretells_is_done_here() -> None:
    additions = VERB, SOURCE, SAMPLER, NETWORK, OBJECTIVE
    assert set(foretold()) == {addition.what for addition in additions}
    assert set(written()) == {file for addition in additions for file in addition.files}


@pytest.mark.slow
def test_a_source(copy: Copy) -> None:
    copy.add(SOURCE)
    copy.run(
        ["train", "squares", "data.source.count=40", *SHORT],
        ["sample", "runs/squares", "bright", "-n", "2", "--out", "out"],
        ["evaluate", "runs/squares", "--metrics", "nll"],
        ["evaluate", "runs/squares", "--report"],
    )
    run = copy.folder / "runs" / "squares"
    assert "source: {kind: squares, count: 40}" in (run / "recipe.yaml").read_text()
    assert json.loads((run / "model" / "config.json").read_text())["about"]["examples"] == 40
    assert (run / "evaluation" / "report.html").is_file() and len(list((copy.folder / "out").glob("0*.png"))) == 2


@pytest.mark.slow
def test_a_sampler(copy: Copy) -> None:
    copy.add(SAMPLER)
    said = copy.run(
        ["train", "digits", "--run", "midpoint", "sample.sampler=midpoint", *SHORT],
        ["sample", "midpoint", "3", "-n", "2", "--out", "own"],
        ["sample", "midpoint", "3", "-n", "2", "--sampler", "midpoint", "--out", "named"],
        ["sample", "midpoint", "3", "-n", "2", "--sampler", "ddim", "--out", "other"],
        ["replay", "named/grid.png"],
        ["evaluate", "midpoint", "--report"],
        ["sample", "midpoint", "--sampler", "midpont"],
        failing=1,
    )
    assert "every pixel is the same" in said and "Did you mean 'midpoint'?" in said
    assert "sampler: {kind: midpoint}" in (copy.folder / "midpoint" / "recipe.yaml").read_text()
    own, named, other = ((copy.folder / out / "0000.png") for out in ("own", "named", "other"))
    assert read_recipe(named)["request"]["settings"]["sampler"] == {"kind": "midpoint"}
    assert own.read_bytes() == named.read_bytes() != other.read_bytes()
    assert (copy.folder / "midpoint" / "evaluation" / "report.html").is_file()


@pytest.mark.slow
def test_a_network(copy: Copy) -> None:
    """It learns, is told a class, says how sure it is, and sees a picture beside its input."""
    copy.add(NETWORK)
    own = "model.backbone={kind: convolutions, width: 8}"
    said = copy.run(
        ["train", "digits", "--run", "network", *GREY, "model.backbone=convolutions", "objective.loss=hybrid"],
        ["sample", "network", "3", "-n", "2", "--out", "drawn"],
        ["evaluate", "network", "--metrics", "nll"],
        ["evaluate", "network", "--report"],
        ["inspect", "network"],
        ["train", "digits", "--preset", "inpaint", "--run", "seeing", *GREY, own],
        ["edit", "seeing", "inpaint", "drawn/0000.png", "--box", "2,2,4,4", "-n", "2"],
        ["train", "digits", "--run", "wrong", *GREY, "model.backbone=convolution"],
        ["train", "digits", "--run", "wrong", *GREY, "model.backbone={kind: convolutions, widht: 8}"],
        failing=2,
    )
    assert "Did you mean 'convolutions'?" in said and "Did you mean 'model.backbone.width'?" in said
    model = json.loads((copy.folder / "network" / "model" / "config.json").read_text())["model"]
    assert model["backbone"] == {"kind": "convolutions", "width": 16} and model["learned_variance"]
    assert (copy.folder / "network" / "evaluation" / "report.html").is_file()


def test_an_objective(copy: Copy) -> None:
    copy.add(OBJECTIVE)
    said = copy.run(
        ["train", "digits", "--run", "huber", "objective=huber", "objective.delta=0.2", *SHORT],
        ["sample", "huber", "3", "-n", "2"],
        ["evaluate", "huber"],
        ["evaluate", "huber", "--report"],
        ["train", "digits", "--run", "wrong", "objective=hubert"],
        failing=1,
    )
    assert "Sample it with:  carrara sample huber" in said
    assert "classification, distillation, few_step, huber, finetuning, mean_flow. Did you mean 'huber'?" in said
    assert "objective: {kind: huber, delta: 0.2}" in (copy.folder / "huber" / "recipe.yaml").read_text()
    for made in ("samples/step-000002.png", "samples/sample/grid.png", "evaluation/nll.json", "evaluation/report.html"):
        assert (copy.folder / "huber" / made).is_file(), made


@pytest.mark.slow
def test_a_verb(copy: Copy) -> None:
    copy.add(VERB)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3).save(copy.folder / "a.png")
    options = ("-n", "2", "--strength", "1", "--out")
    said = copy.run(
        ["train", "digits", "--run", "edited", *SHORT],
        ["edit", "--help"],
        ["edit", "echo", "--help"],
        ["edit", "edited", "echo", "a.png", "--times", "2", "--prompt", "3", *options, "echo"],
        ["replay", "echo/sheet.png"],
        ["replay", "echo/a-2.png"],
        ["edit", "edited", "echo", "a.png", *options, "usual"],
        ["edit", "edited", "echo", "no.png"],
        failing=1,
    )
    assert "Draws a picture again, and what came of it again, and so on." in said
    assert "How far into noise it goes each time." in said and "--times" in said
    assert said.count("every pixel is the same") == 2 and "there is no picture 'no.png'" in said
    about = read_recipe(copy.folder / "echo" / "a-2.png")
    edit = about["edit"]
    assert (edit["verb"], edit["times"], edit["strength"], edit["image"]["file"]) == ("echo", 2, 1, "a.png")
    assert (about["request"]["wishes"], about["column"]) == (["3", "3"], 2)
    assert read_recipe(copy.folder / "usual" / "sheet.png")["edit"]["times"] == 3
