"""Pages: complete, self-contained, well-formed, readable by everybody; and true to the run."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carrara.cli import main
from carrara.errors import UserError
from carrara.evaluate import page
from carrara.measure.account import read_measurements, training_time
from carrara.measure.comparison import compare_runs
from carrara.measure.report import changes_of_preset, write_report
from carrara.plots import PALETTE, Chart, Line, Scale
from carrara.recipe.loading import load
from tiny import TINY

CPU = torch.device("cpu")
VOID = {"meta", "link", "img", "line", "br"}
STEPS = ("train.steps=6", "preview.every=2", "checkpoint.every=6")


def typed(*arguments: object) -> int:
    with pytest.raises(SystemExit) as raised:
        main([str(argument) for argument in arguments])
    return int(raised.value.code or 0)


class Checker(HTMLParser):
    """Reads a page and collects what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.seen.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "iframe", "object", "embed", "base", "form"):
            self.faults.append(f"<{tag}>")
        for name, value in given.items():
            if name in ("src", "href", "data", "action", "poster", "srcset") and not (value or "").startswith("data:"):
                self.faults.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.faults.append(f"{tag} {name}")
        if tag == "img" and not given.get("alt"):
            self.faults.append("a picture without alt")
        if tag == "svg" and not (given.get("role") == "img" and given.get("aria-label")):
            self.faults.append("a chart without words")
        if tag == "th" and given.get("scope") not in ("row", "col"):
            self.faults.append("a heading without scope")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [given for name, given in self.seen if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def checked(text: str) -> Checker:
    found = Checker(text)
    assert found.faults == []
    assert text.startswith("<!DOCTYPE html>")
    assert found.all("html") == [{"lang": "en"}]
    assert len(found.all("h1")) == len(found.all("title")) == 1
    assert not re.search(r"(https?:)?//[\w.]+\.\w", re.sub(r"base64,[\w+/=]+", "", text)), "a remote address"
    assert "@import" not in text and "url(" not in text
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small runs of diffusion, ``cosine`` and ``linear``, and one of a variational autoencoder."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("cosine", "linear"):
        changes = (f"model.schedule={name}", *(["seed=1"] if name == "linear" else []))
        assert typed("train", "digits", "--run", folder / name, *TINY, *STEPS, *changes) == 0
    small = ("model.first_stage.hidden=8", "train.batch=8", "preview.count=4", "preview.held_out=8", *STEPS)
    assert typed("train", "--preset", "vae", "--run", folder / "vae", *small) == 0
    return folder


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs / "cosine", tmp_path / "cosine"))


def test_a_report_is_complete_and_stands_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "evaluation").mkdir()
    (run / "evaluation" / "kid.json").write_text(json.dumps({"kid": 0.0123456, "by_class": [0.5, 1.5], "none": None}))
    Image.new("RGB", (40, 20), (9, 99, 199)).save(run / "evaluation" / "kid.png")
    assert typed("evaluate", run, "--report") == 0
    assert "report.html" in " ".join(capsys.readouterr().out.split())
    found = checked((run / "evaluation" / "report.html").read_text())
    for words in (
        *("Health", "What it makes", "Measurements", "How it learned", "Time", "Recipe", "Sources"),
        *("kid", "0.012346", "0.5, 1.5", "images a second", "The training is complete: 6 steps"),
        *("model.backbone.channels", "Alpaydin", "Held-out loss over the noise levels"),
    ):
        assert words in found.text
    pictures = [base64.b64decode((given["src"] or "").partition(",")[2]) for given in found.all("img")]
    sizes = [Image.open(io.BytesIO(png)).size for png in pictures]
    assert len(pictures) == 3, "grid, strip, and the metric's own"
    assert (40, 20) in sizes
    assert len(found.all("svg")) == 3


def test_what_the_model_drew_is_taken_and_what_is_missing_is_drawn_once(run: Path) -> None:
    assert not list(run.glob("samples/**/strip.png"))
    write_report(run, CPU)
    drawn = list(run.glob("samples/report/*.png"))
    assert [path.name for path in drawn] == ["strip.png"], "the last preview is of these weights"
    before = drawn[0].stat().st_mtime_ns
    write_report(run, CPU)
    assert drawn[0].stat().st_mtime_ns == before
    assert "samples/step-000006.png" in (run / "evaluation" / "report.html").read_text()


def test_pictures_of_other_weights_are_not_taken(run: Path) -> None:
    write_report(run, CPU)
    assert typed("train", "--run", run, "train.steps=7", "preview.every=0") == 0
    write_report(run, CPU)
    text = (run / "evaluation" / "report.html").read_text()
    assert "step-000006.png" not in text
    assert "samples/report/grid.png" in text


def test_the_changed_keys_are_those_that_were_changed(run: Path) -> None:
    rows = {key: (own, preset) for key, own, preset in changes_of_preset(load(run / "recipe.yaml"))}
    preset = load("digits")
    assert rows["train.steps"] == ("6", "—")
    assert rows["train.batch"] == ("4", str(preset.train.batch))
    assert rows["model.backbone.channels"] == ("8", str(preset.model.backbone.channels))  # pyright: ignore
    assert "train.lr" not in rows and "seed" not in rows
    assert changes_of_preset(preset) == []


def test_time_is_read_from_the_log() -> None:
    seconds = [2.0 * k if k <= 90 else 180 + 4.0 * (k - 90) for k in range(1, 101)]
    log = [{"step": k, "images": 10 * k, "seconds": passed} for k, passed in enumerate(seconds, start=1)]
    rows = dict(training_time(log))
    assert rows["minutes"] == "3.7"
    assert rows["images a second"].startswith(f"{1000 / 220:.1f}")
    assert rows["images a second at the end"] == "2.5"
    assert training_time([]) == []
    assert "images a second at the end" not in dict(training_time(log[:1]))


def test_a_variational_autoencoder_has_a_report_too(runs: Path, tmp_path: Path) -> None:
    vae = Path(shutil.copytree(runs / "vae", tmp_path / "vae"))
    found = checked(write_report(vae, CPU).read_text())
    assert "elbo" in found.text and "kl_1" in found.text
    assert len(found.all("img")) == 1, "samples, and no way from noise"


def test_inspect_tells_the_health(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("inspect", run) == 0
    said = capsys.readouterr().out
    assert "The training is complete: 6 steps." in said
    assert "Guidance is trained" in said


def test_runs_side_by_side(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "both.html"
    for _ in range(2):
        assert typed("compare", runs / "cosine", runs / "linear", "--out", out) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "both-2.html").is_file(), "nothing is overwritten"
    found = checked(out.read_text())
    for text in (said, found.text):
        for words in ("model.schedule.kind", "cosine", "linear", "parameters", "seed", "best held-out loss"):
            assert words in text
    assert "train.batch" not in said, "what is the same is left out"
    assert len(found.all("svg")) == 2
    assert {given["alt"] for given in found.all("img")} == {"What cosine makes", "What linear makes"}


def test_runs_of_different_kinds_and_of_one_name(runs: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copytree(runs / "cosine", tmp_path / "elsewhere" / "cosine"))
    compared = compare_runs([runs / "cosine", twin, runs / "vae"], CPU, tmp_path / "page.html")
    assert list(compared.tables[0].head) == ["", str(runs / "cosine"), str(twin), str(runs / "vae")]
    rows = {row[0]: row[1:] for row in compared.tables[0].rows}
    assert rows["best held-out loss"][0] == rows["best held-out loss"][1] != "—"
    assert rows["best held-out loss"][2] == "—"
    assert len(checked(compared.path.read_text()).all("svg")) == 3, "losses and ELBO are not of one kind"


def test_mistakes(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("compare", runs / "cosine") == 2
    assert "two runs or more" in capsys.readouterr().err
    assert typed("compare", runs / "cosine", tmp_path / "nowhere") == 2
    assert typed("evaluate", tmp_path / "nowhere", "--report") == 2
    assert "no run" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"recipe\.yaml"):
        write_report(runs / "cosine" / "model", CPU)
    assert list(tmp_path.iterdir()) == []


def test_measurements_are_read_whatever_they_are(tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "m.json").write_text(
        '{"a": {"b": 1, "c": [true, null]}, "d": "text", "e": 1e-7, "f": null}'
    )
    assert read_measurements(tmp_path / "nowhere", "") == {}
    assert read_measurements(tmp_path, "") == {"m": {"a.b": "1", "a.c": "yes, —", "d": "text", "e": "1e-07"}}


@pytest.mark.parametrize("text", ["", "{", "[1, 2]"])
def test_damaged_measurements_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "m.json").write_text(text)
    with pytest.raises(UserError, match=r"m\.json.*damaged"):
        read_measurements(tmp_path, "")


def test_text_stays_text() -> None:
    """Captions and class names may hold anything."""
    evil = '</style><script>alert("1")</script>&<img src=x onerror=y>'
    chart = Chart(title=evil, lines=[Line(name=evil, x=[1, 2], y=[1, 2])] * 2, x_label=evil, y_label=evil)
    blocks = [
        page.Text(evil),
        page.Table(caption=evil, head=[evil, evil], rows=[[evil, evil]]),
        page.Findings([("note", evil)]),
        page.Figure(image=Image.new("L", (2, 2)), alt=evil, caption=evil),
        page.Curves(chart),
        page.Folded(summary=evil, text=evil),
    ]
    found = checked(page.page(evil, evil, [page.Section(evil, [page.SideBySide(blocks), *blocks])]))
    assert len(found.all("img")) == 2
    assert found.text.count("alert(") >= 20


def test_an_empty_section_is_left_out() -> None:
    assert "<h2>" not in page.page("t", "l", [page.Section("empty", [])])


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    dark, light = sorted((luminance(one), luminance(two)))
    return (light + 0.05) / (dark + 0.05)


def test_colours_can_be_told_from_the_paper_by_day_and_by_night() -> None:
    """Text 4.5 to 1 and curves 3 to 1, as WCAG 2.1 has it."""
    style = page.page("", "", [])
    themes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(themes) == 2 and "prefers-color-scheme: dark" in style
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for paper in (colours["paper"], colours["card"]):
            for name in ("ink", "soft", "good", "note", "warning"):
                assert contrast(colours[name], paper) >= 4.5, name
            for curve in PALETTE:
                assert contrast(curve, paper) >= 3, curve


def test_a_chart_puts_points_where_they_belong() -> None:
    chart = Chart(title="", lines=[Line(name="a", x=[0, 10], y=[1, 100])], x_label="x", y_label="y", log_y=True)
    found = Checker(chart.svg(480, 300))
    (x0, y0), (x1, y1) = (pair.split(",") for pair in (found.all("polyline")[0]["points"] or "").split())
    verticals = [given for given in found.all("line") if given["x1"] == given["x2"]]
    assert float(x0) == min(float(given["x1"] or 0) for given in verticals)
    assert float(x1) == max(float(given["x1"] or 0) for given in verticals)
    horizontals = {float(given["y1"] or 0) for given in found.all("line") if given["y1"] == given["y2"]}
    assert {float(y0), float(y1)} <= horizontals
    assert float(y0) > float(y1), "up is more"
    assert "a goes from 1 at 0 to 100 at 10" in chart.summary()


def test_what_cannot_be_drawn_is_left_out() -> None:
    line = Line(name="a", x=[1, 2, 3, 4], y=[float("inf"), 1.0, -1.0, float("nan")])
    for log in (False, True):
        chart = Chart(title="t", lines=[line], x_label="x", y_label="y", log_y=log)
        points = (Checker(chart.svg()).all("polyline")[0]["points"] or "").split()
        assert len(points) == (1 if log else 2)
        assert chart.picture().size == (640, 400)
    once = Chart(title="t", lines=[Line(name="a", x=[1], y=[2])], x_label="x", y_label="y")
    assert len(Checker(once.svg()).all("circle")) == 1, "a single measurement is seen"
    nothing = Chart(title="t", lines=[Line(name="a", x=[], y=[])], x_label="x", y_label="y")
    assert "Nothing to draw" in nothing.summary()
    assert nothing.picture().size == (640, 400)


def test_a_picture_of_a_chart_has_its_curve_in_its_colour() -> None:
    line = Line(name="a", x=[0, 1], y=[0.25, 0.25])
    picture = Chart(title="", lines=[line], x_label="x", y_label="y").picture(200, 200)
    rgb = np.array([int(PALETTE[0][k : k + 2], 16) for k in (1, 3, 5)])
    near = np.abs(np.asarray(picture).astype(int) - rgb).sum(-1) < 90
    rows = [y for y in range(200) if near[y].sum() > 100]
    assert rows, "a flat curve is a row of its colour"
    assert all(80 < y < 110 for y in rows), "in the middle"


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [(0, 1, False), (-3.2, 7.9, False), (1e-5, 3, True), (0.09, 0.12, True), (5, 5, False), (5, 5, True)],
)
def test_ticks_are_round_few_and_inside(low: float, high: float, log: bool) -> None:
    scale = Scale.of([low, high], log)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(-1e-6 <= scale.place(tick) <= 1 + 1e-6 for tick in ticks)
    assert all(len(f"{tick:.6g}") <= 6 for tick in ticks)
