"""Names that anybody may have chosen, in a terminal and on pages: they are shown as they are, and nothing is hidden."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from carrara import pixels
from carrara.cli.terminal import Terminal, bold
from carrara.evaluate import page
from carrara.plots import Chart, Line

RUNS = Path(__file__).parents[1] / "golden" / "runs"
NAMES = [
    "a[/]b [red]",
    "[bold]x[/bold]",
    "with  spaces",
    'it\'s "quoted"',
    "ünï-😀 :smile:",
    "-dash",
    "[link=x]y",
    "$(x)`y`",
]
HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'><svg onload=alert(1)>", "&lt;b&gt;"]


def named(tmp_path: Path, name: str) -> Path:
    return Path(shutil.copytree(RUNS / "points", tmp_path / name))


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_as_they_are(name, tmp_path, carrara):
    run, other = named(tmp_path, name), named(tmp_path, f"{name}-2")
    commands = (
        ("inspect", run),
        ("sample", run, "-n", "1"),
        ("sample", run, "-n", "1", "--out", tmp_path / f"{name} out"),
        ("evaluate", run, "--metrics", "nll"),
        ("evaluate", run, "--report"),
        ("compare", run, other, "--out", tmp_path / f"{name}.html"),
        ("train", "--run", run, "train.steps=7"),
        ("inspect", "schedule", run),
    )
    for arguments in commands if name == NAMES[0] else commands[::5]:
        code, said = carrara(*arguments)
        assert code == 0, said
        assert name in said, arguments


def test_what_steers_a_terminal_is_written_out(tmp_path, carrara):
    run = named(tmp_path, "a\x1b[2J\x07\u202eb")
    code, said = carrara("inspect", run)
    assert code == 0 and "\x1b" not in said and "\u202e" not in said and r"a\x1b[2J\x07\u202eb" in said


def test_a_name_of_two_lines_breaks_nothing(tmp_path, carrara):
    assert carrara("sample", named(tmp_path, "a\nb"), "-n", "1")[0] == 0


def test_what_a_terminal_has_no_letters_for_is_written_out(capsys, monkeypatch):
    monkeypatch.setattr(Terminal, "encoding", property(lambda _: "ascii"))
    Terminal().print("ü ", bold("\udcff"))
    assert capsys.readouterr().out == "\\xfc \\udcff\n"


class Tags(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def check_harmless(text: str) -> None:
    for tag, attributes in Tags(text).found:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
        assert tag != "svg" or attributes["class"] == "chart"


@pytest.mark.parametrize("text", HOSTILE)
def test_blocks_write_whatever_they_are_given_as_text(text):
    picture = torch.zeros(1, 1, 4, 4)
    chart = Chart(title=text, lines=[Line(name=text, x=[1, 2], y=[1, 2])] * 2, x_label=text, y_label=text)
    blocks = [
        page.Text(text),
        page.Table(caption=text, head=(text, text), rows=[(text, text)]),
        page.Findings([("warning", text)]),
        page.Figure(image=pixels.grid(picture), alt=text, caption=text),
        page.Curves(chart),
        page.Folded(summary=text, text=text),
    ]
    written = page.page(text, text, [page.Section(text, [page.SideBySide(blocks)])])
    check_harmless(written)
    assert text not in written.replace("&amp;lt;b&amp;gt;", "") or "<" not in text
    assert len(Tags(written).found) == len(Tags(written.replace(text, "")).found)


@pytest.mark.parametrize("text", HOSTILE)
def test_pages_about_runs_write_everything_as_text(text, tmp_path, carrara):
    name = text.replace("/", "")
    runs = [named(tmp_path, f"{name}{k}") for k in (1, 2)]
    for run in runs:
        (run / "evaluation").mkdir()
        (run / "evaluation" / f"{name}.json").write_text(json.dumps({"m": text, f"k{text}": 1}))
        lines = (run / "held_out.jsonl").read_text().replace('"step"', f'"{name}"'.replace('">', ">") + ': 1.5, "step"')
        (run / "held_out.jsonl").write_text(lines)
    code, said = carrara("evaluate", runs[0], "--report")
    assert code == 0, said
    check_harmless((runs[0] / "evaluation/report.html").read_text())
    code, said = carrara("compare", *runs, "--out", tmp_path / "page.html")
    assert code == 0, said
    check_harmless((tmp_path / "page.html").read_text())
