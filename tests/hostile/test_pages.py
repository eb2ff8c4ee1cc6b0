"""Pages show what strangers wrote as text: nothing of it becomes a tag, an attribute or an address."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
import yaml
from strangers import SCRIPT, rewrite

from carrara.cli import main
from carrara.evaluate import page
from carrara.files import sealed
from carrara.measure.comparison import compare_runs
from carrara.measure.health import Finding
from carrara.measure.report import findings_block, write_report
from carrara.plots import Chart, Line
from tiny import TINY

CPU = torch.device("cpu")
STRANGE = f"{SCRIPT}' style='x' // http://example.invalid/x.png javascript:alert(1) <b>]]></style></title></svg>"
TAGS = {"html", "head", "meta", "link", "title", "style", "body", "main", "header", "h1", "h2", "p", "section", "div"}
TAGS |= {"table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li", "b", "figure", "figcaption", "img", "span"}
TAGS |= {"details", "summary", "pre", "svg", "g", "line", "path", "polyline", "text", "rect", "circle", "title", "desc"}
SOURCES = ("src", "href", "srcset", "action", "data", "poster", "xlink:href", "formaction", "background")


class Reader(HTMLParser):
    """Collects the tags and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.shape: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, *(name for name, _ in attrs)))
        if tag not in TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on"):
                self.faults.append(f"{tag} {name}")
            if name in SOURCES and not (value or "").startswith(("data:", "#")):
                self.faults.append(f"{tag} {name}={value}")
            if name == "style" and ("url(" in (value or "") or "expression" in (value or "")):
                self.faults.append(f"{tag} {name}={value}")

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}-->")


def read(text: str) -> Reader:
    """A page, of which nothing may be wrong."""
    reader = Reader(text)
    assert not reader.faults
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    return reader


def strange(folder: Path) -> Path:
    """A run in which all that is text is strange."""
    path = folder / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["data"]["source"] = {"kind": "folder", "path": STRANGE}
    path.write_text(yaml.safe_dump(recipe))
    about = {"data": STRANGE, "examples": STRANGE, "fingerprint": STRANGE, STRANGE: STRANGE}
    rewrite(folder / "model" / "config.json", lambda config: config["about"].update(about))
    rewrite(
        folder / "model" / "config.json",
        lambda config: config["model"]["conditioner"].update(classes=[f"{STRANGE}{k}" for k in range(10)]),
    )
    sealed.seal(folder / "model")
    (folder / "evaluation").mkdir(exist_ok=True)
    for name in ("nll", "strange <b> & 'x'"):
        values = {STRANGE: STRANGE, "list": [STRANGE], "deep": {STRANGE: {STRANGE: {"value": 1, "error": 2}}}}
        (folder / "evaluation" / f"{name}.json").write_text(json.dumps(values))
    for file, more in (("log.jsonl", {"images": 1, "seconds": 1.0}), ("held_out.jsonl", {})):
        line = {**more, "loss": 1.0, STRANGE: 1.0, f"loss@{STRANGE}": 1.0, f"loss@t=0.5{STRANGE}": 1.0}
        (folder / file).write_text("".join(json.dumps({"step": step, **line}) + "\n" for step in range(1, 9)))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs whose texts are strange, their names among them."""
    folder = tmp_path_factory.mktemp("pages")
    small = (*TINY, "data.size=8", "train.minutes=null", "train.steps=2", "preview.every=0")
    with pytest.raises(SystemExit) as ended:
        main(["train", "digits", "--preset", "pixel", "--run", str(folder / "run"), *small])
    assert not ended.value.code
    first = folder / SCRIPT.replace("/", "∕")
    shutil.copytree(folder / "run", first)
    second = folder / "'><img src=x> & "
    shutil.copytree(folder / "run", second)
    return [strange(first), strange(second)]


def test_a_report_shows_what_strangers_wrote(runs: list[Path]) -> None:
    for run in runs:
        reader = read(write_report(run, CPU).read_text())
        assert run.name in reader.text and reader.text.count(STRANGE) > 5


def test_a_report_has_the_same_tags_whatever_is_written(runs: list[Path], tmp_path: Path) -> None:
    strange, plain = runs[0], tmp_path / "plain"
    shutil.copytree(strange, plain)
    for path in plain.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".yaml"):
            text = path.read_text()
            for form in (json.dumps(STRANGE)[1:-1], STRANGE):
                text = text.replace(form, "plain")
            path.write_text(text if path.suffix != ".yaml" else yaml.safe_dump(_plain(yaml.safe_load(text))))
    sealed.seal(plain / "model")
    shapes = [read(write_report(run, CPU).read_text()).shape for run in (strange, plain)]
    assert shapes[0] == shapes[1]


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(below) for key, below in value.items()}
    return "plain" if value == STRANGE else value


def test_a_comparison_shows_what_strangers_wrote(runs: list[Path], tmp_path: Path) -> None:
    compared = compare_runs(runs, CPU, tmp_path / "comparison.html")
    reader = read(compared.path.read_text())
    assert all(run.name in reader.text for run in runs) and reader.text.count(STRANGE) > 5


def test_every_block_escapes_its_texts() -> None:
    from PIL import Image

    image = Image.new("L", (2, 2))
    chart = Chart(title=STRANGE, lines=[Line(name=STRANGE, x=[0, 1], y=[0, 1])] * 2, x_label=STRANGE, y_label=STRANGE)
    blocks = [
        page.Text(STRANGE),
        page.Table(caption=STRANGE, head=(STRANGE, STRANGE), rows=[(STRANGE, STRANGE)]),
        findings_block([Finding(level="warning", text=STRANGE)]),
        page.Figure(image=image, alt=STRANGE, caption=STRANGE),
        page.Folded(summary=STRANGE, text=STRANGE),
        page.Curves(chart),
    ]
    for block in blocks:
        plain = read(page.page("x", "x", [page.Section("x", [page.Text("x")])]))
        reader = read(page.page(STRANGE, STRANGE, [page.Section(STRANGE, [block])]))
        assert STRANGE in reader.text and {tag for tag, *_ in plain.shape} <= {tag for tag, *_ in reader.shape}
